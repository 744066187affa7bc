/** Serves the demo as an Isolated Web App in developer mode, in which the browser fetches the app's files from this server. */
import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { Hono } from 'hono'
import { pageFile, pageFiles, secureHeaders } from './page-files.ts'

/**
 * Returns a function that is true for the origin of this app or, without an id, of any isolated app. In developer mode the
 * browser chooses the id when it installs the app. Throws RangeError for a malformed id.
 */
export function isolatedAppOf(id: string | undefined): (origin: string) => boolean {
  if (id === undefined) return (origin) => /^isolated-app:\/\/[a-z2-7]{56}$/.test(origin)
  if (!/^[a-z2-7]{56}$/.test(id))
    throw new RangeError(`The id of an isolated app has 56 characters from a-z and 2-7; got '${id}'.`)
  return (origin) => origin === `isolated-app://${id}`
}

/** Serves the app's files: the page, and the origin of its relying party in /site.json. */
export function isolatedAppFiles(site: string): Hono {
  const app = new Hono()
  app.use(secureHeaders(site))
  app.get('/site.json', (context) => context.json({ site }))
  // The page links to the manifest of the website and registers a service worker. An isolated app has its own manifest, and
  // no service worker, because it is installed completely.
  app.get('/manifest.webmanifest', (context) => pageFile(context, '/.well-known/manifest.webmanifest'))
  app.get('/sw.js', (context) => context.text('Not found.', 404))
  app.get('*', pageFiles)
  return app
}

/** Creates a key and a certificate for localhost with OpenSSL, valid for 30 days. They are not stored. */
export function certificateForLocalhost(): {
  readonly key: string
  readonly cert: string
  readonly spki: string
} {
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '30',
  ]
  const named = [
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
    '-keyout',
    '-',
    '-out',
    '-',
  ]
  const both = execFileSync('openssl', [...args, ...named], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const block = (name: string): string =>
    new RegExp(`-----BEGIN ${name}-----[^-]+-----END ${name}-----\n`).exec(both)?.[0] ?? ''
  const cert = block('CERTIFICATE')
  const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })
  return { key: block('PRIVATE KEY'), cert, spki: createHash('sha256').update(spki).digest('base64') }
}
