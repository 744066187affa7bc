/** Extraction of a certificate's public key for tokens (RFC 5280, 4.1.2.7). */
import { areRsaNumbers, type CurvePublicKey, readPublicKey, type RsaPublicKey } from '@webtoki/crypto'

export { areRsaNumbers } from '@webtoki/crypto'

/** A public key that this library supports. */
export type CertificateKey = RsaPublicKey | CurvePublicKey

/**
 * Returns the key of a SubjectPublicKeyInfo in DER. Returns undefined if its type or curve is not supported, if its point is
 * compressed, if it is malformed, or if its numbers are so weak that anybody could forge signatures.
 */
export function certificateKey(publicKeyInfo: Uint8Array): CertificateKey | undefined {
  try {
    const key = readPublicKey(publicKeyInfo)
    if (key.kind === 'rsa')
      return key.pss === undefined && areRsaNumbers(key.modulus, key.exponent) ? key : undefined
    return key.kind === 'ec' && key.curve.isInWebCrypto ? key : undefined
  } catch {
    return undefined
  }
}
