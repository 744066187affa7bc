/** BER-TLV as PIV uses it (ISO 7816-4 §5.2.2): definite lengths of up to two length bytes, tags of up to three bytes. */
import { join } from '../bytes.ts'

/** One data object: its tag as a number (0x5FC105), its value, and its children's bytes are the value. */
export interface DataObject {
  readonly tag: number
  readonly value: Uint8Array
}

/** Writes one data object with the shortest length field. */
export function tlv(tag: number, ...parts: readonly (Uint8Array | number)[]): Uint8Array {
  const value = join(...parts)
  const n = value.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : n < 0x10000 ? [0x82, n >> 8, n & 0xff] : undefined
  if (length === undefined) throw new RangeError('A card holds no object of more than 65535 bytes.')
  return join(tagBytes(tag), ...length, value)
}

/** The bytes of a tag. */
export function tagBytes(tag: number): Uint8Array {
  if (tag > 0xffff) return Uint8Array.of(tag >> 16, (tag >> 8) & 0xff, tag & 0xff)
  if (tag > 0xff) return Uint8Array.of(tag >> 8, tag & 0xff)
  return Uint8Array.of(tag)
}

/** Reads a whole string of data objects; undefined where it is malformed, truncated or has a rest. */
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
