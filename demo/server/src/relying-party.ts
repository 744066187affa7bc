/** The relying party: a site that lets people log in with their card. */
import { randomBytes } from 'node:crypto'
import { createLoginVerifier, LoginError, memoryNonceStore, notChecked } from '@webtoki/login/server'
import { demoCa } from '@webtoki/simulator'
import { Hono } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { pageFiles, secureHeaders } from './page-files.ts'

const COOKIE = 'webtoki-session'

/** What the site says for each reason; the person can do something about some of them. */
const refusals: Readonly<Record<string, string>> = {
  expired: 'The certificate on your card has expired.',
  'not-yet-valid': 'The certificate on your card is not valid yet.',
  untrusted: 'This site does not know the issuer of your card.',
  revoked: 'The certificate on your card has been revoked.',
  'nonce-missing': 'The login took too long or was used already. Try again.',
  'nonce-expired': 'The login took too long. Try again.',
}

/** Whose pages may ask. */
export interface RelyingPartyOptions {
  /** Whether pages of this origin (scheme, host and port, as browsers print it) are the site's own. */
  readonly isOwn: (origin: string) => boolean
  /** True: the pages are an isolated app's, whose origin is not the server's. */
  readonly isCrossSite?: boolean
}

/** One site with its own sessions. */
export function relyingParty({ isOwn, isCrossSite = false }: RelyingPartyOptions): Hono {
  const nonces = memoryNonceStore()
  const verifierFor = (origin: string) =>
    createLoginVerifier({
      origin,
      anchors: [demoCa.certificate],
      // The demo CA of the virtual card publishes no revocation; a real site hands in a function here.
      revocation: notChecked,
      nonces,
    })
  const people = new Map<string, Record<string, string>>()
  const app = new Hono()
  app.use(secureHeaders())
  if (isCrossSite) {
    app.use('/api/*', cors({ origin: (origin) => (isOwn(origin) ? origin : null), credentials: true }))
    app.use('/api/*', async (context, next) => {
      await next()
      context.header('cross-origin-resource-policy', 'cross-origin')
    })
  }

  const sessionOf = (context: Parameters<typeof getCookie>[0]): string => {
    const known = getCookie(context, COOKIE)
    if (known !== undefined && /^[0-9a-f]{64}$/.test(known)) return known
    const session = randomBytes(32).toString('hex')
    setCookie(context, COOKIE, session, {
      httpOnly: true,
      path: '/',
      ...(isCrossSite ? { sameSite: 'None', secure: true, partitioned: true } : { sameSite: 'Strict' }),
    })
    return session
  }

  // SameSite=Strict keeps other sites' requests without a session; this keeps them out altogether.
  app.use('/api/*', async (context, next) => {
    if (!isOwn(context.req.header('origin') ?? ''))
      return context.json({ message: 'Another site asked for this.' }, 403)
    return next()
  })

  app.post('/api/nonce', async (context) => context.json({ nonce: await nonces.issue(sessionOf(context)) }))

  app.post('/api/login', async (context) => {
    const session = sessionOf(context)
    const token = await context.req.text()
    try {
      const verifier = verifierFor(context.req.header('origin') ?? '')
      const { identity } = await verifier.verify(token, session)
      const told: Record<string, string> = {}
      if (identity.commonName !== undefined) told['name'] = identity.commonName
      told['issuer'] = identity.issuer
      told['certificate'] = identity.fingerprint
      people.set(session, told)
      return context.json({ identity: told })
    } catch (error) {
      if (!(error instanceof LoginError)) throw error
      const message = refusals[error.reason] ?? 'The site could not accept this login.'
      return context.json({ reason: error.reason, message }, 401)
    }
  })

  app.post('/api/logout', (context) => {
    people.delete(sessionOf(context))
    return context.json({})
  })

  app.get('*', pageFiles)
  return app
}
