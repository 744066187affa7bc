/** The server's half of a login, in the order of Web eID's validation: nothing the client sends is believed before its signature is. */
import { readCertificate } from '@webtoki/crypto'
import { checkedPublicKey, notChecked, SignatureVerifier } from '@webtoki/trust'
import { PathError, PathMemory, verifyPath } from '@webtoki/trust/path'
import { isNonce, statementOf } from '../statement.ts'
import { LoginError } from './errors.ts'
import { checkIssuerUse, checkUse, fingerprintOf, type Identity, identityOf } from './identity.ts'
import { isSession } from './nonces.ts'
import { checkedOptions, type LoginVerifierOptions, type RevocationCheck } from './options.ts'
import { verifyStatement } from './signature.ts'
import { readToken } from './token.ts'

/** Whom the site may believe to be there. */
export interface VerifiedLogin {
  readonly identity: Identity
  /** X.509 in DER, leaf first, anchor last. */
  readonly path: readonly Uint8Array[]
}

/** One for a site. */
export interface LoginVerifier {
  /**
   * `session` is the site's own session, one of whose nonces was signed. Rejects with LoginError. The nonce is used up as
   * soon as the signature fits, whatever becomes of the login.
   */
  verify(token: string, session: string): Promise<VerifiedLogin>
}

/**
 * Throws LoginArgumentError, which names the option, if one is missing or of another kind, if the origin is not one or is
 * reached without encryption, if there is no anchor, if an anchor or intermediate is no certificate in DER, or if `now` gives
 * no moment.
 */
export function createLoginVerifier(options: LoginVerifierOptions): LoginVerifier {
  const { origin, anchors, intermediates, nonces, revocation, disallowedPolicies, now, issuers } =
    checkedOptions(options)
  return {
    verify: async (token, session) => {
      const issued = isSession(session) ? await noncesOf(session) : []
      if (issued.length === 0) throw new LoginError('nonce-missing')
      const { algorithm, certificate: der, signature } = readToken(token)
      const read = wrapped(() => readCertificate(der))
      wrapped(() => checkedPublicKey(read.publicKeyInfo))
      checkUse(read, disallowedPolicies)
      const path = await pathOf(der)
      // What an anchor may be used for is the site's own decision.
      for (const issuer of path.slice(1, -1)) checkIssuerUse(issuer)
      let signed: string | undefined
      // The key is imported once, however many pages of the session wait.
      const verifier = new SignatureVerifier()
      for (const nonce of issued) {
        const statement = await statementOf(algorithm, origin, nonce)
        const verdict = await verifyStatement(algorithm, read.publicKeyInfo, statement, signature, verifier)
        if (verdict === 'unsupported') throw new LoginError('algorithm')
        if (verdict === 'valid') signed = nonce
      }
      if (signed === undefined) throw new LoginError('signature')
      // Before anybody is asked about it, so that no token is good for a second try.
      if ((await nonces.take(session, signed)) !== true) throw new LoginError('nonce-missing')
      if (revocation !== notChecked) {
        const { answer, cause } = await asked(() => revocation(path))
        if (answer === 'revoked') throw new LoginError('revoked')
        if (answer !== 'good') throw new LoginError('revocation-unknown', { cause })
      }
      return { identity: identityOf(read, await fingerprintOf(der)), path }
    },
  }

  /** A site's own store may answer null, or whatever its database has for nothing. */
  async function noncesOf(session: string): Promise<readonly string[]> {
    const issued: unknown = await nonces.issued(session)
    return Array.isArray(issued) ? issued.filter(isNonce) : []
  }

  async function pathOf(der: Uint8Array): Promise<readonly Uint8Array[]> {
    try {
      const memory = new PathMemory(issuers)
      const { path } = await verifyPath(der, { anchors, intermediates, memory, at: now() })
      return path
    } catch (error) {
      if (!(error instanceof PathError)) throw error
      switch (error.reason) {
        case 'expired':
        case 'not-yet-valid':
        case 'weak-hash':
        case 'weak-key':
          throw new LoginError(error.reason, { cause: error })
        case 'unsupported-algorithm':
          throw new LoginError('algorithm', { cause: error })
        default:
          throw new LoginError('untrusted', { cause: error })
      }
    }
  }
}

/** One that throws, at once or later, could not say; why is kept. */
async function asked(
  revocation: () => ReturnType<RevocationCheck>,
): Promise<{ readonly answer?: unknown; readonly cause?: unknown }> {
  try {
    return { answer: await revocation() }
  } catch (cause) {
    return { cause }
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
