/** The relying party: a site that lets people log in with their card. */
import {
  createLoginVerifier,
  LoginError,
  type LoginReason,
  memoryNonceStore,
  notChecked,
} from '@webtoki/login/server'
import { demoCa } from '@webtoki/simulator'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { CookieOptions } from 'hono/utils/cookie'
import { cors } from 'hono/cors'
import { pageFiles, secureHeaders } from './page-files.ts'
import { Sessions } from './sessions.ts'

const COOKIE = 'webtoki-session'
/** A login token is at most 10 000 characters. */
const MAX_BODY_BYTES = 16_384

/** What the site says for each reason; the person can do something about some of them. */
const refusals: Readonly<Record<LoginReason, string>> = {
  'nonce-missing': 'The login took too long or was used already. Try again.',
  format: 'The page sent something that is no login.',
  algorithm: 'The key on your card is of a kind that this site does not know.',
  'certificate-malformed': 'The certificate on your card cannot be read.',
  'not-yet-valid': 'The certificate on your card is not valid yet.',
  expired: 'The certificate on your card has expired.',
  'key-usage': 'The certificate on your card is not meant for logins.',
  'extended-key-usage': 'The certificate on your card is not meant for logins.',
  policy: 'This site does not accept certificates of this kind.',
  'weak-hash': 'The certificate on your card is too weak: it is signed over an old hash.',
  'weak-key':
    'The certificate on your card is too weak: its key, or its issuer’s, is too short or can be forged.',
  untrusted: 'This site does not know the issuer of your card.',
  revoked: 'The certificate on your card has been revoked.',
  'revocation-unknown': 'Nobody could say whether your certificate has been revoked. Try again later.',
  signature: 'The signature is not one for this site and this login. Try again.',
}

/** Whose pages may ask. */
export interface RelyingPartyOptions {
  /** Whether pages of this origin (scheme, host and port, as browsers print it) are the site's own. */
  readonly isOwn: (origin: string) => boolean
  /** True: the pages are an isolated app's, whose origin is not the server's. */
  readonly isCrossSite?: boolean
  /** Milliseconds; default: the system's clock. */
  readonly now?: () => number
}

/** One site with its own sessions. */
export function relyingParty({ isOwn, isCrossSite = false, now = Date.now }: RelyingPartyOptions): Hono {
  const nonces = memoryNonceStore(now)
  const verifierFor = (origin: string) =>
    createLoginVerifier({
      origin,
      anchors: [demoCa.certificate],
      // The demo CA of the virtual card publishes no revocation; a real site hands in a function here.
      revocation: notChecked,
      nonces,
    })
  const sessions = new Sessions(now)
  const app = new Hono()
  app.use(secureHeaders())
  // Only true is a yes: a promise of false is an object.
  const isOurs = (origin: string): boolean => isOwn(origin) === true
  if (isCrossSite)
    app.use('/api/*', cors({ origin: (origin) => (isOurs(origin) ? origin : null), credentials: true }))

  const cookie: CookieOptions = {
    httpOnly: true,
    path: '/',
    ...(isCrossSite ? { sameSite: 'None', secure: true, partitioned: true } : { sameSite: 'Strict' }),
  }

  /** Names that the server did not issue are nobody's: another could have planted them. */
  const sessionOf = (context: Context): string | undefined => {
    const known = getCookie(context, COOKIE)
    return known !== undefined && sessions.has(known) ? known : undefined
  }

  // Nonces and names are for who asked, once: no cache keeps them, whatever the answer is.
  app.use('/api/*', async (context, next) => {
    await next()
    context.header('cache-control', 'no-store')
  })

  // SameSite=Strict keeps other sites' requests without a session; this keeps them out altogether.
  app.use('/api/*', async (context, next) => {
    if (!isOurs(context.req.header('origin') ?? ''))
      return context.json({ message: 'Another site asked for this.' }, 403)
    return next()
  })

  app.use('/api/*', bodyLimit({ maxSize: MAX_BODY_BYTES }))

  app.post('/api/nonce', async (context) => {
    const session = sessionOf(context) ?? sessions.issue()
    setCookie(context, COOKIE, session, cookie)
    return context.json({ nonce: await nonces.issue(session) })
  })

  app.post('/api/login', async (context) => {
    const session = sessionOf(context)
    const token = await context.req.text()
    try {
      if (session === undefined) throw new LoginError('nonce-missing')
      const verifier = verifierFor(context.req.header('origin') ?? '')
      const { identity } = await verifier.verify(token, session)
      const told: Record<string, string> = {}
      if (identity.commonName !== undefined) told['name'] = identity.commonName
      told['issuer'] = identity.issuer
      told['certificate'] = identity.fingerprint
      // A new name: whoever knew the old one is not let in with this person.
      sessions.end(session)
      setCookie(context, COOKIE, sessions.issue(told), cookie)
      return context.json({ identity: told })
    } catch (error) {
      if (!(error instanceof LoginError)) throw error
      return context.json({ reason: error.reason, message: refusals[error.reason] }, 401)
    }
  })

  /** Who is logged in here; nobody is null. */
  app.post('/api/person', (context) => {
    const session = sessionOf(context)
    return context.json({
      identity: (session === undefined ? undefined : sessions.personOf(session)) ?? null,
    })
  })

  app.post('/api/logout', (context) => {
    const session = sessionOf(context)
    if (session !== undefined) sessions.end(session)
    deleteCookie(context, COOKIE, cookie)
    return context.json({})
  })

  app.get('*', pageFiles)
  return app
}
