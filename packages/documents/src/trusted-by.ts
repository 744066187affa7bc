/** A trust function for a list of trusted issuers. */
import { issuerUse } from '@webtoki/crypto'
import { PathMemory, verifyPath } from '@webtoki/trust/path'
import { type CertificateData, certificateList } from './certificate-list.ts'
import { DocumentError } from './errors.ts'

/**
 * Returns a trust function for `verifyDetached`. A signer is trusted if a path leads from its certificate to one of
 * these certificates (DER or PEM) through the certificates of the file, and if no intermediate has an extended key
 * usage for other purposes, such as servers.
 *
 * An empty list trusts no signer. A certificate that cannot be parsed is ignored; `unusableAnchors` of PathError has
 * its index among all PEM blocks. Throws DocumentError 'wrong-argument' if `anchors` is not a list of certificates.
 */
export function trustedBy(
  anchors: readonly CertificateData[],
): (
  certificate: Uint8Array,
  others: readonly Uint8Array[],
  at: Date,
  memory?: PathMemory,
) => Promise<readonly Uint8Array[]> {
  const anchorCertificates = certificateList('anchors', anchors ?? null)
  return async (certificate, others, at, memory = new PathMemory()) => {
    const { path } = await verifyPath(certificate, {
      anchors: anchorCertificates,
      intermediates: others,
      at,
      memory,
    })
    if (path.slice(1, -1).some((der) => issuerUse(der, 'signing') !== 'fitting'))
      throw new DocumentError('untrusted')
    return path
  }
}
