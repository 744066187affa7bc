/** The usual answer to whom one trusts: a list of issuers. */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { readCertificate, verifyPath } from '@webtoki/trust/path'
import { DocumentError } from './errors.ts'
import { purposesFit } from './signing-use.ts'

/**
 * For `verifyDetached`: a path has to lead to one of these certificates (DER), by way of those in the file. Where one
 * between is an issuer for other purposes than documents (servers, say), it does not.
 */
export function trustedBy(
  anchors: readonly ByteSource[],
): (certificate: Uint8Array, others: readonly Uint8Array[], at: Date) => Promise<readonly Uint8Array[]> {
  return async (certificate, others, at) => {
    const path = await verifyPath(certificate, { anchors, intermediates: others, at })
    const between = path.slice(1, -1).map((der) => readCertificate(der).certificate)
    if (!between.every(purposesFit)) throw new DocumentError('untrusted')
    return path
  }
}
