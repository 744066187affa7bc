/** DER as it is written: X.690, 8.1, 8.3 and 8.19; SubjectPublicKeyInfo of RFC 5280, 4.1. */
import { encodeTlv } from '@webtoki/apdu'
import { Tag } from './der.ts'

// For packages that may import no cards.
export { encodeTlv }

/** An OBJECT IDENTIFIER, of the numbers that its dots separate. Each number is at most 2^31 - 1. */
export function encodeOid(oid: string): Uint8Array {
  const [root = 0, second = 0, ...others] = oid.split('.').map(Number)
  return encodeTlv(Tag.oid, [40 * root + second, ...others].flatMap(base128))
}

function base128(arc: number): number[] {
  const bytes = [arc & 0x7f]
  for (let rest = arc >>> 7; rest > 0; rest >>>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}

/** An INTEGER of a magnitude, big-endian: a zero byte before a high bit, none that is not needed. */
export function encodeUnsigned(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0)
  const digits = start < 0 ? [0] : magnitude.subarray(start)
  return encodeTlv(Tag.integer, (digits[0] ?? 0) >= 0x80 ? [0] : [], digits)
}

/** AlgorithmIdentifier; `parameters` in DER, absent if there are none. */
export function encodeAlgorithmIdentifier(oid: string, parameters?: Uint8Array): Uint8Array {
  return encodeTlv(Tag.sequence, encodeOid(oid), parameters ?? [])
}

/** SubjectPublicKeyInfo; the key becomes a BIT STRING of whole bytes. */
export function encodePublicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeTlv(Tag.sequence, algorithm, encodeTlv(Tag.bitString, [0], key))
}
