/** The public key of a certificate, as far as tokens use it. */
import { areRsaNumbers, type CurvePublicKey, readPublicKey, type RsaPublicKey } from '@webtoki/crypto'

export { areRsaNumbers } from '@webtoki/crypto'

/** A public key that this library can use. */
export type CertificateKey = RsaPublicKey | CurvePublicKey

/**
 * The key of a SubjectPublicKeyInfo in DER; undefined if it is of another kind, on a curve that no card here has, compressed
 * or malformed, or anybody could sign under it.
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
