/** The usual answer to whom one trusts: a list of issuers. */
import { verifyPath } from '@webtoki/trust/path'

/** For `verifyDetached`: a path has to lead to one of these certificates (DER), by way of those in the file. */
export function trustedBy(
  anchors: readonly Uint8Array[],
): (certificate: Uint8Array, others: readonly Uint8Array[], at: Date) => Promise<readonly Uint8Array[]> {
  return (certificate, others, at) => verifyPath(certificate, { anchors, intermediates: others, at })
}
