/** `npm run demo` ends here: the page and the relying party on loopback. */
import { serve } from '@hono/node-server'
import { relyingParty } from './relying-party.ts'

const port = Number(process.env['PORT'] ?? 0)

const server = serve(
  { fetch: (request) => app.fetch(request), port, hostname: 'localhost' },
  ({ port: bound }) => {
    origin = `http://localhost:${bound}`
    app = relyingParty({ origin })
    console.log(`Webtoki demo: ${origin}/`)
  },
)
let origin = `http://localhost:${port}`
let app = relyingParty({ origin })

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    server.close(() => process.exit(0))
    // Browsers keep connections open; nobody waits for them.
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
}
