/** Serves the page and the relying party on loopback, for `npm run demo` and, with --iwa, for `npm run demo:iwa`. */
import { createServer } from 'node:https'
import { type AddressInfo } from 'node:net'
import { type ServerType, serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { certificateForLocalhost, isolatedAppFiles, isolatedAppOf } from './isolated-app.ts'
import { relyingParty } from './relying-party.ts'

const servers: ServerType[] = []

/** Listens on loopback, port 0 for any free one. `app` is called with the port. Resolves to the port. */
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
      // Browsers keep connections open, and the process would wait for them.
      if ('closeAllConnections' in server) server.closeAllConnections()
    }
  })
}

function giveUp(error: Error): never {
  console.error(
    `The demo cannot start: ${error.message}. Set PORT to another port, or unset it to use any free port.`,
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
and open it from chrome://apps. Alternatively, enable the features and install it at chrome://web-app-internals.`)
  if (appId === undefined) {
    console.log(`Its site accepts requests of every isolated app on this computer, because the browser chooses the app's id.
To accept only this app, start again with WEBTOKI_APP_ID=ID, the 56 characters after isolated-app://.`)
  }
} else {
  const bound = await listen(port, (own) =>
    relyingParty({ isOwn: (origin) => origin === `http://localhost:${own}` }),
  ).catch(giveUp)
  console.log(`Webtoki demo: http://localhost:${bound}/`)
}
