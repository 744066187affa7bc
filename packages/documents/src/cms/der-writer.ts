/** DER encoders in addition to those of `@webtoki/crypto`: X.690, 8 and 11. */
import { Tag, encodeTlv } from '@webtoki/crypto'

type Bytes = Uint8Array | readonly number[]

/** Encodes a SEQUENCE of elements. */
export const sequence = (...parts: readonly Bytes[]): Uint8Array => encodeTlv(Tag.sequence, ...parts)

/** Encodes a SET OF, whose elements are sorted by their bytes (X.690, 11.6). */
export function setOf(elements: readonly Uint8Array[]): Uint8Array {
  return encodeTlv(Tag.set, ...elements.toSorted(compare))
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const difference = (a[at] as number) - (b[at] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Encodes a time in whole seconds: UTCTime from 1950 to 2049, otherwise GeneralizedTime (RFC 5652, 11.3). */
export function time(date: Date): Uint8Array {
  const text = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
  const year = date.getUTCFullYear()
  const isShort = year >= 1950 && year < 2050
  const ascii = Array.from(isShort ? text.slice(2) : text, (each) => each.charCodeAt(0))
  return encodeTlv(isShort ? Tag.utcTime : Tag.generalizedTime, ascii)
}
