/** Encoding of public keys as SubjectPublicKeyInfo: RFC 5280, 4.1; RFC 3279, 2.3.1; RFC 5480, 2; RFC 8410, 4. */
import { encodeTlv } from '@webtoki/apdu'
import type { Curve } from './curves.ts'
import { Tag } from './der.ts'
import { encodeAlgorithmIdentifier, encodeOid, encodeUnsigned } from './encode.ts'
import { KeyOid, type RsaPublicKey } from './public-key.ts'

/** Encodes SubjectPublicKeyInfo. `algorithm` is in DER; `key` becomes the content of the BIT STRING. */
export function encodePublicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeTlv(Tag.sequence, algorithm, encodeTlv(Tag.bitString, [0], key))
}

/** Encodes SubjectPublicKeyInfo of an RSA key with rsaEncryption, because platforms do not import id-RSASSA-PSS. */
export function encodeRsaKeyInfo({
  modulus,
  exponent,
}: Pick<RsaPublicKey, 'modulus' | 'exponent'>): Uint8Array {
  const key = encodeTlv(Tag.sequence, encodeUnsigned(modulus), encodeUnsigned(exponent))
  return encodePublicKeyInfo(encodeAlgorithmIdentifier(KeyOid.rsaEncryption, encodeTlv(Tag.null)), key)
}

/** Encodes SubjectPublicKeyInfo of a point in the form of `CurvePublicKey.point`. */
export function encodePointInfo({ oid, isEdwards }: Curve, point: Uint8Array): Uint8Array {
  const algorithm = isEdwards
    ? encodeAlgorithmIdentifier(oid)
    : encodeAlgorithmIdentifier(KeyOid.ecPublicKey, encodeOid(oid))
  return encodePublicKeyInfo(algorithm, point)
}
