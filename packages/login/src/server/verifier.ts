/**
 * Verifies login tokens, in the order of Web eID's validation. Nothing in a token is trusted before its signature is
 * verified.
 */
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

/** A successful login. */
export interface VerifiedLogin {
  readonly identity: Identity
  /** X.509 in DER, leaf first, anchor last. */
  readonly path: readonly Uint8Array[]
}

/** Verifies the logins of one site. */
export interface LoginVerifier {
  /**
   * Verifies a token, which is the JSON text that the page sent. `session` is the site's session whose nonce was
   * signed. The nonce is consumed as soon as the signature is verified, even if the login fails after that. Rejects
   * with LoginError.
   */
  verify(token: string, session: string): Promise<VerifiedLogin>
}

/**
 * Creates a verifier. Throws LoginArgumentError, which names the option, if an option is missing or has a wrong type,
 * if the origin is invalid or not encrypted, if there is no anchor, if an anchor or intermediate is not a certificate
 * in DER, or if `now` does not return a valid Date.
 */
export function createLoginVerifier(options: LoginVerifierOptions): LoginVerifier {
  const { origin, anchors, intermediates, nonces, revocation, disallowedPolicies, now, issuers } =
    checkedOptions(options)
  return {
    verify: async (token, session) => {
      const issued = isSession(session) ? await noncesOf(session) : []
      if (issued.length === 0) throw new LoginError('nonce-missing')
      const { algorithm, certificate: der, signature } = readToken(token)
      const read = orLoginError(() => readCertificate(der))
      orLoginError(() => checkedPublicKey(read.publicKeyInfo))
      checkUse(read, disallowedPolicies)
      const path = await pathOf(der)
      // The extended key usage of an anchor is not checked: the site has chosen to trust it.
      for (const issuer of path.slice(1, -1)) checkIssuerUse(issuer)
      let signed: string | undefined
      // One verifier for all nonces, so that the key is imported once.
      const verifier = new SignatureVerifier()
      for (const nonce of issued) {
        const statement = await statementOf(algorithm, origin, nonce)
        const verdict = await verifyStatement(algorithm, read.publicKeyInfo, statement, signature, verifier)
        if (verdict === 'unsupported') throw new LoginError('algorithm')
        if (verdict === 'valid') signed = nonce
      }
      if (signed === undefined) throw new LoginError('signature')
      // Consumed before the revocation check, so that a token cannot be tried again.
      if ((await nonces.take(session, signed)) !== true) throw new LoginError('nonce-missing')
      if (revocation !== notChecked) {
        const { status, cause } = await revocationStatus(() => revocation(path))
        if (status === 'revoked') throw new LoginError('revoked')
        if (status !== 'good') throw new LoginError('revocation-unknown', { cause })
      }
      return { identity: identityOf(read, await fingerprintOf(der)), path }
    },
  }

  /** Accepts any value from a site's store, which may resolve to null if it has no entry. */
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

/** Calls the revocation check. If it throws or rejects, the status is undefined and the error is the cause. */
async function revocationStatus(
  revocation: () => ReturnType<RevocationCheck>,
): Promise<{ readonly status?: unknown; readonly cause?: unknown }> {
  try {
    return { status: await revocation() }
  } catch (cause) {
    return { cause }
  }
}

function orLoginError<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const isWeak = cause instanceof PathError && cause.reason === 'weak-key'
    throw new LoginError(isWeak ? 'weak-key' : 'certificate-malformed', { cause })
  }
}
