/**
 * Encodes and parses BER-TLV as cards use it: tags of up to three bytes, definite lengths up to 65535 (ISO/IEC 7816-4,
 * 5.2.2).
 */
import { join } from '../bytes.ts'

/**
 * A data object: its tag as a number, such as 0x5FC105, and its value. The value of a constructed object is its encoded
 * children.
 */
export interface DataObject {
  readonly tag: number
  readonly value: Uint8Array
}

/** Encodes one data object with the shortest length field. Throws RangeError if the value is longer than 65535 bytes. */
export function tlv(tag: number, ...parts: readonly (Uint8Array | number)[]): Uint8Array {
  const value = join(...parts)
  const n = value.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : n < 0x10000 ? [0x82, n >> 8, n & 0xff] : undefined
  if (length === undefined) throw new RangeError(`A data object has at most 65535 bytes, not ${n}.`)
  return join(tagBytes(tag), ...length, value)
}

/** Encodes a tag. */
export function tagBytes(tag: number): Uint8Array {
  if (tag > 0xffff) return Uint8Array.of(tag >> 16, (tag >> 8) & 0xff, tag & 0xff)
  if (tag > 0xff) return Uint8Array.of(tag >> 8, tag & 0xff)
  return Uint8Array.of(tag)
}

/** Parses a sequence of data objects. Returns undefined if it is malformed, truncated or followed by other bytes. */
export function readObjects(bytes: Uint8Array): DataObject[] | undefined {
  const objects: DataObject[] = []
  let at = 0
  while (at < bytes.length) {
    let tag = bytes[at++] ?? 0
    if ((tag & 0x1f) === 0x1f) {
      for (let more = true; more; ) {
        const byte = bytes[at++]
        if (byte === undefined || tag > 0xffff) return undefined
        tag = (tag << 8) | byte
        more = (byte & 0x80) !== 0
      }
    }
    let length = bytes[at++]
    if (length === undefined) return undefined
    if (length > 0x7f) {
      const count = length - 0x80
      if (count < 1 || count > 2) return undefined
      length = 0
      for (let i = 0; i < count; i++) {
        const byte = bytes[at++]
        if (byte === undefined) return undefined
        length = (length << 8) | byte
      }
    }
    if (at + length > bytes.length) return undefined
    objects.push({ tag, value: bytes.slice(at, at + length) })
    at += length
  }
  return objects
}
