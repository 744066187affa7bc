/** The usual answer to whom one trusts: a list of issuers. */
import { issuerUse } from '@webtoki/crypto'
import { PathMemory, verifyPath } from '@webtoki/trust/path'
import { type CertificateData, certificateList } from './certificate-list.ts'
import { DocumentError } from './errors.ts'

/**
 * For `verifyDetached`: a path has to lead to one of these certificates (DER or PEM), by way of those in the file. Where one
 * between is an issuer for other purposes than documents (servers, say), it does not.
 * Throws DocumentError 'wrong-argument' if it is no list of these; an empty one trusts nobody. One that cannot be read harms
 * none of the others: `unusableAnchors` of a path's error names it, by its place among all blocks.
 */
export function trustedBy(
  anchors: readonly CertificateData[],
): (
  certificate: Uint8Array,
  others: readonly Uint8Array[],
  at: Date,
  memory?: PathMemory,
) => Promise<readonly Uint8Array[]> {
  const own = certificateList('anchors', anchors ?? null)
  return async (certificate, others, at, memory = new PathMemory()) => {
    const { path } = await verifyPath(certificate, { anchors: own, intermediates: others, at, memory })
    if (path.slice(1, -1).some((der) => issuerUse(der, 'signing') !== 'fitting'))
      throw new DocumentError('untrusted')
    return path
  }
}
