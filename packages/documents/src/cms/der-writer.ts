/** DER as it is written, beside what `crypto` writes (X.690, 8 and 11). */
import { Tag, encodeTlv } from '@webtoki/crypto'

type Bytes = Uint8Array | readonly number[]

/** A SEQUENCE of elements in DER. */
export const sequence = (...parts: readonly Bytes[]): Uint8Array => encodeTlv(Tag.sequence, ...parts)

/** A SET OF: its elements are in the order of their bytes (X.690, 11.6). */
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

/** UTCTime from 1950 to 2049, GeneralizedTime otherwise (RFC 5652, 11.3); whole seconds. */
export function time(date: Date): Uint8Array {
  const text = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
  const year = date.getUTCFullYear()
  const isShort = year >= 1950 && year < 2050
  const ascii = Array.from(isShort ? text.slice(2) : text, (each) => each.charCodeAt(0))
  return encodeTlv(isShort ? Tag.utcTime : Tag.generalizedTime, ascii)
}
