/** Creates a CMS signature over a digest with a `Signer`: RFC 5652, 5.4 and 5.5. */
import {
  ecdsaSignatureToDer,
  encodeAlgorithmIdentifier,
  encodeSignatureScheme,
  hashes,
  type ReadCertificate,
  readCertificate,
  requireCertificateUse,
  schemeOf,
  Tag,
} from '@webtoki/crypto'
import { copyOf, viewOf } from '@webtoki/apdu/bytes'
import type { Signer, SignOptions } from '@webtoki/trust'
import { isValidAt } from '../certificates.ts'
import { DocumentError } from '../errors.ts'
import { type SignatureProfile, writeSignedAttributes } from './attributes.ts'
import { elementsIn } from './ber.ts'
import { writeSignedData } from './signed-data.ts'
import { writeSignerInfo } from './signer-info.ts'

/** The inputs of a signature besides the signer and the content. */
export interface SignatureRequest {
  readonly profile: SignatureProfile
  /** eContentType. */
  readonly contentType: string
  readonly signingTime: Date
  /** Certificates in DER, in addition to that of the signer and its chain. */
  readonly chain: readonly Uint8Array[]
}

/** A signature that is complete except for the digest of its content. */
export interface PreparedSignature {
  /**
   * Signs a digest that was computed with the hash of the signer's algorithm. Resolves to ContentInfo in DER; rejects
   * with the errors of the signer.
   */
  sign(digest: Uint8Array, options?: SignOptions): Promise<Uint8Array>
}

/**
 * Makes all checks that are possible before the card is used and a person enters a PIN. Throws CertificateUseError, and
 * DocumentError 'certificate-missing' if a certificate cannot be parsed, or 'outside-validity'.
 */
export function prepareSignature(signer: Signer, request: SignatureRequest): PreparedSignature {
  const { profile, contentType, signingTime } = request
  const certificate = leadingCertificate(signer.certificate)
  const chain = [...signer.chain, ...request.chain].map(leadingCertificate)
  requireCertificateUse(certificate.der, 'signing')
  requireValidity(certificate, signingTime)
  const certificates = new Map([certificate, ...chain].map(({ key, der }) => [key, der]))
  const scheme = schemeOf(signer.algorithm)
  const digestAlgorithm = encodeAlgorithmIdentifier(hashes[scheme.hash].oid)
  return {
    async sign(messageDigest, options = {}) {
      const facts = { contentType, messageDigest, signingTime, certificate }
      const signedAttributes = writeSignedAttributes(profile, facts)
      const signature = viewOf(await signer.sign(copyOf(signedAttributes), options))
      const info = writeSignerInfo({
        certificate,
        digestAlgorithm,
        signatureAlgorithm: encodeSignatureScheme(scheme),
        signedAttributes,
        signature: scheme.family === 'ecdsa' ? ecdsaSignatureToDer(signature) : signature,
      })
      return writeSignedData({
        contentType,
        digestAlgorithms: [digestAlgorithm],
        certificates: [...certificates.values()],
        signerInfos: [info],
      })
    },
  }
}

/** Parses the certificate at the start of the bytes: a card's data object may have padding after it. */
function leadingCertificate(bytes: Uint8Array): ReadCertificate {
  try {
    const [element] = elementsIn(viewOf(bytes))
    if (element?.tag !== Tag.sequence) throw new RangeError('not a certificate')
    return readCertificate(element.whole)
  } catch (cause) {
    throw new DocumentError('certificate-missing', { cause })
  }
}

function requireValidity(certificate: ReadCertificate, signingTime: Date): void {
  if (isValidAt(certificate, signingTime)) return
  const { notBefore, notAfter } = certificate
  const [time, from, to] = [signingTime, notBefore, notAfter].map((each) => each.toISOString())
  throw new DocumentError('outside-validity', {
    detail: `The time is ${time}; the certificate is valid from ${from} to ${to}.`,
  })
}
