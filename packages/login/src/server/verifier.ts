/** The server's half of a login, in the order of Web eID's validation: nothing the client sends is believed before its signature is. */
import { readCertificate } from '@webtoki/crypto'
import { type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { readPublicKey } from '@webtoki/trust'
import { PathError, PathMemory, verifyPath } from '@webtoki/trust/path'
import { isNonce, statementOf } from '../statement.ts'
import { LoginError } from './errors.ts'
import { checkIssuerUse, checkUse, fingerprintOf, type Identity, identityOf } from './identity.ts'
import { isSession, type NonceStore } from './nonces.ts'
import { isSigned } from './signature.ts'
import { readToken } from './token.ts'

/** Says whether a certificate was revoked. `path` is in DER, leaf first. */
export type RevocationCheck = (path: readonly Uint8Array[]) => Promise<'good' | 'revoked' | 'unknown'>

/** Said where nobody is asked about revocation: it can be chosen, and not forgotten. */
export const notChecked: unique symbol = Symbol('revocation is not checked')

/** All that could be forgotten is required. */
export interface LoginVerifierOptions {
  /** The site's own, as browsers print it: 'https://example.org' or 'isolated-app://…', no path, no slash at the end. */
  readonly origin: string
  /** The issuing CAs that are trusted, in DER. */
  readonly anchors: readonly ByteSource[]
  readonly intermediates?: readonly ByteSource[]
  readonly revocation: RevocationCheck | typeof notChecked
  readonly nonces: NonceStore
  /** Certificate policies that are not accepted, as object identifiers. */
  readonly disallowedPolicies?: readonly string[]
  readonly now?: () => Date
}

/** Whom the site may believe to be there. */
export interface VerifiedLogin {
  readonly identity: Identity
  /** X.509 in DER, leaf first, anchor last. */
  readonly path: readonly Uint8Array[]
}

/** One for a site. */
export interface LoginVerifier {
  /** `session` is the site's own session, whose nonce was signed. Rejects with LoginError; the nonce is used up. */
  verify(token: string, session: string): Promise<VerifiedLogin>
}

/** Throws RangeError where the origin is not one, and where an anchor is no certificate in DER. */
export function createLoginVerifier(options: LoginVerifierOptions): LoginVerifier {
  const { origin, nonces, revocation, now } = options
  if (!isOrigin(origin)) throw new RangeError(`'${origin}' is no origin as browsers print it.`)
  // Else everybody would be told later that nobody knows the issuer of their card.
  const issuers = new PathMemory()
  const anchors = options.anchors.map((anchor, at) => checkedAnchor(anchor, at, issuers))
  const intermediates = (options.intermediates ?? []).map(copyOf)
  const disallowedPolicies = [...(options.disallowedPolicies ?? [])]
  return {
    verify: async (token, session) => {
      // First of all, so that no token can be tried twice.
      const nonce: unknown = isSession(session) ? await nonces.take(session) : undefined
      // A site's own store may answer null, or whatever its database has for nothing.
      if (!isNonce(nonce)) throw new LoginError('nonce-missing')
      const { algorithm, certificate: der, signature } = readToken(token)
      const read = wrapped(() => readCertificate(der))
      wrapped(() => readPublicKey(read.publicKeyInfo))
      checkUse(read, disallowedPolicies)
      const path = await pathOf(der)
      // What an anchor may be used for is the site's own decision.
      for (const issuer of path.slice(1, -1)) checkIssuerUse(issuer)
      if (revocation !== notChecked) {
        const answer = await asked(() => revocation(path))
        if (answer === 'revoked') throw new LoginError('revoked')
        if (answer !== 'good') throw new LoginError('revocation-unknown')
      }
      const statement = await statementOf(algorithm, origin, nonce)
      if (!(await isSigned(algorithm, read.publicKeyInfo, statement, signature)))
        throw new LoginError('signature')
      return { identity: identityOf(read, await fingerprintOf(der)), path }
    },
  }

  async function pathOf(der: Uint8Array): Promise<readonly Uint8Array[]> {
    try {
      const memory = new PathMemory(issuers)
      return await verifyPath(der, { anchors, intermediates, memory, at: now?.() ?? new Date() })
    } catch (error) {
      if (!(error instanceof PathError)) throw error
      switch (error.reason) {
        case 'expired':
        case 'not-yet-valid':
        case 'weak-hash':
        case 'weak-key':
          throw new LoginError(error.reason, { cause: error })
        default:
          throw new LoginError('untrusted', { cause: error })
      }
    }
  }
}

/** A copy: whom a site trusts is what it said when the verifier was made. */
function checkedAnchor(der: ByteSource, at: number, issuers: PathMemory): Uint8Array {
  try {
    return issuers.read(der).der
  } catch (cause) {
    throw new RangeError(`Anchor ${at} is no X.509 certificate in DER; PEM has to be decoded first.`, {
      cause,
    })
  }
}

function isOrigin(text: string): boolean {
  // Of this scheme, the platform says 'null'.
  if (/^isolated-app:\/\/[a-z2-7]{56}$/.test(text)) return true
  try {
    return /^https?:/.test(text) && new URL(text).origin === text
  } catch {
    return false
  }
}

/** One that throws, at once or later, could not say. */
async function asked(revocation: () => ReturnType<RevocationCheck>): ReturnType<RevocationCheck> {
  try {
    return await revocation()
  } catch {
    return 'unknown'
  }
}

function wrapped<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const isWeak = cause instanceof PathError && cause.reason === 'weak-key'
    throw new LoginError(isWeak ? 'weak-key' : 'certificate-malformed', { cause })
  }
}
