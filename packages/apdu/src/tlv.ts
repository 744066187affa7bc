/** BER-TLV data objects, ISO/IEC 7816-4:2013 clause 5.2.2 and ITU-T X.690 clause 8.1 (definite lengths only). */
import { concatBytes, viewOf } from './bytes.ts'
import { MalformedError } from './errors.ts'

/** One data object. */
export interface Tlv {
  /** All tag bytes as one number: 0x53, 0x5f2f, 0x7f49. */
  readonly tag: number
  readonly value: Uint8Array
}

/** Tag and length of a data object, whose value may not have arrived yet. */
export interface TlvHeader {
  readonly tag: number
  readonly headerBytes: number
  readonly valueBytes: number
}

/** Longest accepted tag field; the standards of the applets have no longer tags. */
const MAX_TAG_BYTES = 3
/** Longest accepted length field: 84 and four bytes. */
const MAX_LENGTH_BYTES = 4

/** Reads tag and length at `offset`. Returns undefined if the bytes end inside the header. Throws MalformedError. */
export function readTlvHeader(bytes: Uint8Array, offset = 0): TlvHeader | undefined {
  return headerAt(viewOf(bytes), offset)
}

function headerAt(bytes: Uint8Array, offset: number): TlvHeader | undefined {
  let at = offset
  const first = bytes[at++]
  if (first === undefined) return undefined
  let tag = first
  if ((first & 0x1f) === 0x1f) {
    for (let count = 2; ; count++) {
      const next = bytes[at++]
      if (next === undefined) return undefined
      if (count > MAX_TAG_BYTES) throw new MalformedError('TLV', 'a tag field of more than three bytes')
      tag = tag * 0x100 + next
      if ((next & 0x80) === 0) break
    }
  }
  const head = bytes[at++]
  if (head === undefined) return undefined
  if (head < 0x80) return { tag, headerBytes: at - offset, valueBytes: head }
  const count = head & 0x7f
  if (count === 0) throw new MalformedError('TLV', 'an indefinite length')
  if (count > MAX_LENGTH_BYTES) throw new MalformedError('TLV', `a length field of ${count} bytes`)
  let valueBytes = 0
  for (let i = 0; i < count; i++) {
    const next = bytes[at++]
    if (next === undefined) return undefined
    valueBytes = valueBytes * 0x100 + next
  }
  return { tag, headerBytes: at - offset, valueBytes }
}

/** Decodes one data object that fills `bytes`. The value is a view. Throws MalformedError. */
export function decodeTlv(bytes: Uint8Array): Tlv {
  const [only, ...others] = decodeTlvs(bytes)
  if (only === undefined || others.length > 0) {
    throw new MalformedError(
      'TLV',
      `${others.length + (only ? 1 : 0)} data objects in ${bytes.length} bytes instead of 1`,
    )
  }
  return only
}

/** Decodes the data objects that fill `source`. Values are views. Throws MalformedError. */
export function decodeTlvs(source: Uint8Array): Tlv[] {
  return [...tlvsOf(source)]
}

/**
 * Returns the value of the first data object with this tag, or undefined if there is none. Throws MalformedError if any of
 * the bytes is not part of a whole data object.
 */
export function findTlv(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  return decodeTlvs(bytes).find((tlv) => tlv.tag === tag)?.value
}

/**
 * Returns the first data object, or the first with this tag, and ignores the bytes after it, because some cards return more
 * than the object. Returns undefined if there is none. Throws MalformedError if this object or one before it is not whole.
 */
export function firstTlv(source: Uint8Array, tag?: number): Tlv | undefined {
  for (const tlv of tlvsOf(source)) if (tag === undefined || tlv.tag === tag) return tlv
  return undefined
}

function* tlvsOf(source: Uint8Array): Generator<Tlv, void> {
  // An ArrayBuffer has no `length`. Without `viewOf` it would seem empty.
  const bytes = viewOf(source)
  let offset = 0
  while (offset < bytes.length) {
    const header = headerAt(bytes, offset)
    if (header === undefined)
      throw new MalformedError('TLV', `the bytes end inside a header at offset ${offset}`)
    const start = offset + header.headerBytes
    const end = start + header.valueBytes
    if (end > bytes.length) {
      throw new MalformedError(
        'TLV',
        `a value of ${header.valueBytes} bytes, but only ${bytes.length - start} bytes follow`,
      )
    }
    yield { tag: header.tag, value: bytes.subarray(start, end) }
    offset = end
  }
}

/** Encodes one data object with the shortest length field. `tag` has up to four bytes; `values` are concatenated. */
export function encodeTlv(tag: number, ...values: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const value = concatBytes(...values)
  return concatBytes(bigEndian(tag), lengthField(value.length), value)
}

function lengthField(length: number): number[] {
  if (length < 0x80) return [length]
  const bytes = bigEndian(length)
  return [0x80 | bytes.length, ...bytes]
}

function bigEndian(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; rest > 0; rest = Math.floor(rest / 0x100)) bytes.unshift(rest % 0x100)
  return bytes.length === 0 ? [0] : bytes
}
