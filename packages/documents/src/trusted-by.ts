/** The usual answer to whom one trusts: a list of issuers. */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { issuerUse } from '@webtoki/trust/certificate-use'
import { verifyPath } from '@webtoki/trust/path'
import { DocumentError } from './errors.ts'

/**
 * For `verifyDetached`: a path has to lead to one of these certificates (DER), by way of those in the file. Where one
 * between is an issuer for other purposes than documents (servers, say), it does not.
 */
export function trustedBy(
  anchors: readonly ByteSource[],
): (certificate: Uint8Array, others: readonly Uint8Array[], at: Date) => Promise<readonly Uint8Array[]> {
  return async (certificate, others, at) => {
    const path = await verifyPath(certificate, { anchors, intermediates: others, at })
    // What an anchor may be used for is the caller's own decision.
    if (!path.slice(1, -1).every((issuer) => issuerUse(issuer, 'signing') === 'fitting'))
      throw new DocumentError('untrusted')
    return path
  }
}
