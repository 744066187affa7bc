/** The relying party: a site where people log in with their card. */
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

/** The sentences that the site shows for each reason to refuse a login. */
const refusals: Readonly<Record<LoginReason, string>> = {
  'nonce-missing': 'The login took too long or was already used. Try again.',
  format: 'The page sent an invalid login. Reload the page and try again.',
  algorithm: 'This site does not support the kind of key on your card.',
  'certificate-malformed': 'The certificate on your card cannot be read.',
  'not-yet-valid': 'The certificate on your card is not valid yet.',
  expired: 'The certificate on your card has expired.',
  'key-usage': 'The certificate on your card is not meant for logins.',
  'extended-key-usage': 'The certificate on your card is not meant for logins.',
  policy: 'This site does not accept certificates of this kind.',
  'weak-hash': 'The certificate on your card is too weak: its signature uses an outdated hash.',
  'weak-key': 'The certificate on your card is too weak: its key or its issuer’s key is not secure.',
  untrusted: 'This site does not trust the issuer of your card.',
  revoked: 'The certificate on your card has been revoked.',
  'revocation-unknown':
    'The site could not check whether your certificate has been revoked. Try again later.',
  signature: 'The signature does not match this site and this login. Try again.',
}

/** Options of the relying party. */
export interface RelyingPartyOptions {
  /** Returns true if pages of this origin (scheme, host and port, as browsers serialize it) may send requests. */
  readonly isOwn: (origin: string) => boolean
  /** True if the pages are those of an isolated app, whose origin is not the server's. */
  readonly isCrossSite?: boolean
  /** Returns the time in milliseconds since 1970. Default: Date.now. */
  readonly now?: () => number
}

/** Creates a site with its own sessions. */
export function relyingParty({ isOwn, isCrossSite = false, now = Date.now }: RelyingPartyOptions): Hono {
  const nonces = memoryNonceStore(now)
  const verifierFor = (origin: string) =>
    createLoginVerifier({
      origin,
      anchors: [demoCa.certificate],
      // The demo CA of the virtual card does not publish revocations. A real site passes a function here.
      revocation: notChecked,
      nonces,
    })
  const sessions = new Sessions(now)
  const app = new Hono()
  app.use(secureHeaders())
  // Compares with true, because isOwn might return a promise of false, which is truthy.
  const isOwnOrigin = (origin: string): boolean => isOwn(origin) === true
  if (isCrossSite)
    app.use('/api/*', cors({ origin: (origin) => (isOwnOrigin(origin) ? origin : null), credentials: true }))

  const cookie: CookieOptions = {
    httpOnly: true,
    path: '/',
    ...(isCrossSite ? { sameSite: 'None', secure: true, partitioned: true } : { sameSite: 'Strict' }),
  }

  /** Accepts only names that the server issued. An attacker could have set another one (session fixation). */
  const sessionOf = (context: Context): string | undefined => {
    const known = getCookie(context, COOKIE)
    return known !== undefined && sessions.has(known) ? known : undefined
  }

  // Nonces and names are for one request only, so no cache may store a response, not even an error.
  app.use('/api/*', async (context, next) => {
    await next()
    context.header('cache-control', 'no-store')
  })

  // SameSite=Strict only withholds the session from requests of other sites. This refuses the requests.
  app.use('/api/*', async (context, next) => {
    if (!isOwnOrigin(context.req.header('origin') ?? ''))
      return context.json({ message: 'The request came from another site.' }, 403)
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
      const person: Record<string, string> = {}
      if (identity.commonName !== undefined) person['name'] = identity.commonName
      person['issuer'] = identity.issuer
      person['certificate'] = identity.fingerprint
      // A new session name, because an attacker might know the old one.
      sessions.end(session)
      setCookie(context, COOKIE, sessions.issue(person), cookie)
      return context.json({ identity: person })
    } catch (error) {
      if (!(error instanceof LoginError)) throw error
      return context.json({ reason: error.reason, message: refusals[error.reason] }, 401)
    }
  })

  /** Responds with the person who is logged in, or null. */
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
