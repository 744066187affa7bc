/** A signature made by a signer over the digest of its content. */
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

/** What a signature is made of, beside the signer and the content. */
export interface SignatureRequest {
  readonly profile: SignatureProfile
  /** eContentType. */
  readonly contentType: string
  readonly signingTime: Date
  /** Certificates beside the signer's own and its chain, in DER. */
  readonly chain: readonly Uint8Array[]
}

/** A signature that lacks its content's digest. */
export interface PreparedSignature {
  /** `digest` is by the signer's hash. Resolves to ContentInfo in DER; rejects with what the signer says. */
  sign(digest: Uint8Array, options?: SignOptions): Promise<Uint8Array>
}

/**
 * Checks all that can be wrong before a person gives a PIN. Throws DocumentError 'certificate-missing' if a certificate cannot be read and 'outside-validity', and CertificateUseError.
 */
export function prepareSignature(signer: Signer, request: SignatureRequest): PreparedSignature {
  const { profile, contentType, signingTime } = request
  const certificate = ownCertificate(signer.certificate)
  const chain = [...signer.chain, ...request.chain].map(ownCertificate)
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

/** What a card keeps may be longer than the certificate. */
function ownCertificate(bytes: Uint8Array): ReadCertificate {
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
    detail: `It is ${time}; the certificate is valid from ${from} to ${to}.`,
  })
}
