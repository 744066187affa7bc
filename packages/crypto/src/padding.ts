/** What raw RSA and ECDSA take, and what ECDSA gives: RFC 8017, 9.2; FIPS 186-5, 6.4; RFC 3279, 2.2.3. */
import { encodeTlv } from '@webtoki/apdu'
import { concatBytes } from '@webtoki/apdu/bytes'
import { ecdsaNumbers, Tag } from './der.ts'
import { encodeUnsigned } from './encode.ts'

/** EMSA-PKCS1-v1_5 from the point where T (a DigestInfo, or what CKM_RSA_PKCS is given) is known. Throws RangeError. */
export function padPkcs1(message: Uint8Array, keyBytes: number): Uint8Array {
  const paddingBytes = keyBytes - message.length - 3
  if (paddingBytes < 8) throw new RangeError(`${message.length} bytes are too long for a key of ${keyBytes}.`)
  return concatBytes([0, 1], new Uint8Array(paddingBytes).fill(0xff), [0], message)
}

/** A digest as ECDSA takes it: the leftmost bytes of a longer one (FIPS 186-5, 6.4.1), zeros before a shorter one. */
export function fitDigest(digest: Uint8Array, fieldBytes: number): Uint8Array {
  if (digest.length >= fieldBytes) return digest.slice(0, fieldBytes)
  return concatBytes(new Uint8Array(fieldBytes - digest.length), digest)
}

/** Ecdsa-Sig-Value in DER as r‖s, each `fieldBytes` long. Throws RangeError for whatever is not strict DER, or does not fit. */
export function ecdsaSignatureFromDer(der: Uint8Array, fieldBytes: number): Uint8Array<ArrayBuffer> {
  const raw = new Uint8Array(2 * fieldBytes)
  for (const [at, magnitude] of ecdsaNumbers(der).entries()) {
    if (magnitude.length > fieldBytes)
      throw new RangeError(`an INTEGER of ${magnitude.length} bytes for a field of ${fieldBytes}`)
    raw.set(magnitude, (at + 1) * fieldBytes - magnitude.length)
  }
  return raw
}

/** r‖s as Ecdsa-Sig-Value in DER. Throws RangeError if its halves cannot be of one length. */
export function ecdsaSignatureToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  if (half === 0 || !Number.isInteger(half)) throw new RangeError(`${raw.length} bytes are not r and s.`)
  return encodeTlv(Tag.sequence, encodeUnsigned(raw.subarray(0, half)), encodeUnsigned(raw.subarray(half)))
}
