/** The demo as an Isolated Web App in developer mode: its files for the browser's proxy, and its site over https. */
import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { Hono } from 'hono'
import { pageFile, pageFiles, secureHeaders } from './page-files.ts'

/**
 * Says whether an origin is this app's own; without an id, whether it is any isolated app's. In developer mode the id is
 * the browser's choice and is known only after the app was installed.
 */
export function isolatedAppOf(id: string | undefined): (origin: string) => boolean {
  if (id === undefined) return (origin) => /^isolated-app:\/\/[a-z2-7]{56}$/.test(origin)
  if (!/^[a-z2-7]{56}$/.test(id)) throw new RangeError(`'${id}' is no id of an isolated app.`)
  return (origin) => origin === `isolated-app://${id}`
}

/** What the app is made of: the page, and where its site is. The browser's proxy fetches by GET alone. */
export function isolatedAppFiles(site: string): Hono {
  const app = new Hono()
  app.use(secureHeaders(site))
  app.get('/site.json', (context) => context.json({ site }))
  // The page links the web's manifest and registers a service worker; an app that is installed whole has its own
  // manifest, and no worker.
  app.get('/manifest.webmanifest', (context) => pageFile(context, '/.well-known/manifest.webmanifest'))
  app.get('/sw.js', (context) => context.text('Not found.', 404))
  app.get('*', pageFiles)
  return app
}

/** A key and a certificate for localhost, good for a month, made by OpenSSL and kept nowhere. */
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
