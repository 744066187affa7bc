/** `npm run demo` and `npm run demo:iwa` end here: the page and the relying party on loopback. */
import { createServer } from 'node:https'
import { type AddressInfo } from 'node:net'
import { type ServerType, serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { certificateForLocalhost, isolatedAppFiles, isolatedAppOf } from './isolated-app.ts'
import { relyingParty } from './relying-party.ts'

const servers: ServerType[] = []

/** Listens on loopback; resolves to the port. The app may depend on it. */
function listen(
  port: number,
  app: (port: number) => Hono,
  tls?: { key: string; cert: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    let ready: Hono | undefined
    const server = serve(
      {
        fetch: (request) => ready?.fetch(request) ?? new Response(null, { status: 503 }),
        port,
        hostname: 'localhost',
        ...(tls === undefined ? {} : { createServer, serverOptions: tls }),
      },
      ({ port: bound }: AddressInfo) => {
        ready = app(bound)
        resolve(bound)
      },
    )
    server.once('error', reject)
    servers.push(server)
  })
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const server of servers) {
      server.close()
      // Browsers keep connections open; nobody waits for them.
      if ('closeAllConnections' in server) server.closeAllConnections()
    }
  })
}

function giveUp(error: Error): never {
  console.error(
    `The demo cannot serve: ${error.message}. PORT chooses another port; without it, any free one is taken.`,
  )
  process.exit(1)
}

const port = Number(process.env['PORT'] ?? 0)
if (process.argv.includes('--iwa')) {
  const appId = process.env['WEBTOKI_APP_ID']
  const { spki, ...tls } = certificateForLocalhost()
  const site = relyingParty({ isOwn: isolatedAppOf(appId), isCrossSite: true })
  const sitePort = await listen(0, () => site, tls)
  const bound = await listen(port, () => isolatedAppFiles(`https://localhost:${sitePort}`)).catch(giveUp)
  console.log(`Webtoki demo: http://localhost:${bound}/`)
  console.log(`It is an Isolated Web App: start Chromium with
  --enable-features=IsolatedWebApps,IsolatedWebAppDevMode --ignore-certificate-errors-spki-list=${spki} --user-data-dir=PROFILE
  --install-isolated-web-app-from-url=http://localhost:${bound}
and open it from chrome://apps; or, with the features on, install it at chrome://web-app-internals.`)
  if (appId === undefined) {
    console.log(`Its site lets any isolated app of this computer ask, for the browser chooses the app's id when it installs it.
To let one alone ask, start again with WEBTOKI_APP_ID=ID, the 56 letters behind isolated-app://.`)
  }
} else {
  const bound = await listen(port, (own) =>
    relyingParty({ isOwn: (origin) => origin === `http://localhost:${own}` }),
  ).catch(giveUp)
  console.log(`Webtoki demo: http://localhost:${bound}/`)
}
