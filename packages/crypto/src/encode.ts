/**
 * Encoding of DER: X.690, 8.1, 8.3 and 8.19; AlgorithmIdentifier of RFC 5280, 4.1.1.2; Ecdsa-Sig-Value of RFC 3279,
 * 2.2.3.
 */
import { encodeTlv } from '@webtoki/apdu'
import { ecdsaNumbers, Tag } from './der.ts'

// For packages that must not import the card code of `@webtoki/apdu`.
export { encodeTlv }

/** Encodes an OBJECT IDENTIFIER from its dotted form. Each number is at most 2^31 - 1. */
export function encodeOid(oid: string): Uint8Array {
  const [root = 0, second = 0, ...others] = oid.split('.').map(Number)
  return encodeTlv(Tag.oid, [40 * root + second, ...others].flatMap(base128))
}

function base128(arc: number): number[] {
  const bytes = [arc & 0x7f]
  for (let rest = arc >>> 7; rest > 0; rest >>>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}

/** Encodes a big-endian magnitude as a positive INTEGER in its shortest form, with a sign byte if needed. */
export function encodeUnsigned(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0)
  const digits = start < 0 ? [0] : magnitude.subarray(start)
  return encodeTlv(Tag.integer, (digits[0] ?? 0) >= 0x80 ? [0] : [], digits)
}

/** Encodes an AlgorithmIdentifier. `parameters` are in DER. */
export function encodeAlgorithmIdentifier(oid: string, parameters?: Uint8Array): Uint8Array {
  return encodeTlv(Tag.sequence, encodeOid(oid), parameters ?? [])
}

/**
 * Converts an Ecdsa-Sig-Value in DER to r‖s, each with `fieldBytes` bytes. Throws RangeError if it is not strict DER or
 * does not fit.
 */
export function ecdsaSignatureFromDer(der: Uint8Array, fieldBytes: number): Uint8Array<ArrayBuffer> {
  const raw = new Uint8Array(2 * fieldBytes)
  for (const [at, magnitude] of ecdsaNumbers(der).entries()) {
    if (magnitude.length > fieldBytes)
      throw new RangeError(`an INTEGER of ${magnitude.length} bytes for a field of ${fieldBytes}`)
    raw.set(magnitude, (at + 1) * fieldBytes - magnitude.length)
  }
  return raw
}

/** Converts r‖s to an Ecdsa-Sig-Value in DER. Throws RangeError if it is empty or has an odd length. */
export function ecdsaSignatureToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  if (half === 0 || !Number.isInteger(half)) throw new RangeError(`${raw.length} bytes are not r and s.`)
  return encodeTlv(Tag.sequence, encodeUnsigned(raw.subarray(0, half)), encodeUnsigned(raw.subarray(half)))
}
