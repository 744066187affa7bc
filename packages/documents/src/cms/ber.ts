/**
 * Parses BER (X.690, 8.1), which signature files may use, and converts it to DER. The parsers of `@webtoki/crypto`
 * accept only DER.
 */
import { objectIdentifier, Tag, encodeTlv } from '@webtoki/crypto'
import { concatBytes } from '@webtoki/apdu/bytes'
import { setOf } from './der-writer.ts'

/** One element. Its arrays are views of the parsed bytes. */
export interface BerElement {
  /** The first byte. */
  readonly tag: number
  /** The content octets, without end-of-contents octets. */
  readonly value: Uint8Array
  /** The whole element, header included. */
  readonly whole: Uint8Array
}

/** The maximum depth of nested elements. Genuine files have far fewer levels. */
const MAX_DEPTH = 64

/** Iterates over the elements that fill these bytes. Throws RangeError at a damaged element. */
export function* elementsIn(bytes: Uint8Array): Generator<BerElement> {
  for (let at = 0; at < bytes.length; ) {
    const element = elementAt(bytes, at)
    yield element
    at += element.whole.length
  }
}

/** Parses the fields of a structure, at most sixteen. Throws RangeError. */
export function fieldsOf(bytes: Uint8Array): readonly BerElement[] {
  const found: BerElement[] = []
  for (const element of elementsIn(bytes))
    if (found.push(element) > 16) throw new RangeError('too many fields')
  return found
}

/** Parses the single element that fills these bytes. Throws RangeError, also if it has another tag. */
export function onlyElement(bytes: Uint8Array, tag: number): BerElement {
  const element = elementAt(bytes, 0)
  if (element.whole.length !== bytes.length) throw new RangeError('bytes after the element')
  if (element.tag !== tag) throw new RangeError(`tag ${element.tag} instead of ${tag}`)
  return element
}

/** Returns an object identifier in dotted form. Throws RangeError. */
export function identifierOf({ tag, value, whole }: BerElement): string {
  return objectIdentifier({ tag, value, der: whole })
}

/** Returns the content of an OCTET STRING, whose segments are joined if it is constructed. Throws RangeError. */
export function octetsOf({ tag, value }: BerElement): Uint8Array {
  if (tag === Tag.octetString) return value
  if (tag !== (Tag.octetString | CONSTRUCTED)) throw new RangeError('not an OCTET STRING')
  return joinSegments(value, Tag.octetString, 0)
}

const CONSTRUCTED = 0x20

/**
 * Encodes the same value in DER (X.690, 10 and 11). Every SET is treated as a SET OF. With the order 'kept', the
 * elements of a SET keep the order of the file: this is not DER, but some programs sign it. Throws RangeError.
 */
export function toDer(
  { tag, value }: BerElement,
  order: 'sorted' | 'kept' = 'sorted',
  depth = 0,
): Uint8Array {
  if (depth > MAX_DEPTH) throw new RangeError('elements nested too deep')
  if ((tag & 0x1f) === 0x1f || tag === 0) throw new RangeError('a tag that no attribute has')
  if (tag === Tag.boolean && value.length === 1) return encodeTlv(tag, [value[0] === 0 ? 0 : 0xff])
  if ((tag & CONSTRUCTED) === 0) return encodeTlv(tag, value)
  const isString = tag < 0x40 && tag !== Tag.sequence && tag !== Tag.set
  if (isString) return encodeTlv(tag ^ CONSTRUCTED, joinSegments(value, tag ^ CONSTRUCTED, depth))
  const parts = Array.from(elementsIn(value), (each) => toDer(each, order, depth + 1))
  return tag === Tag.set && order === 'sorted' ? setOf(parts) : encodeTlv(tag, ...parts)
}

function joinSegments(value: Uint8Array, tag: number, depth: number): Uint8Array {
  // Only the last segment may have unused bits, so joining the contents of the segments would not be enough.
  if (tag === Tag.bitString) throw new RangeError('a BIT STRING in pieces')
  if (depth > MAX_DEPTH) throw new RangeError('elements nested too deep')
  const pieces = Array.from(elementsIn(value), (piece) => {
    if (piece.tag === tag) return piece.value
    if (piece.tag !== (tag | CONSTRUCTED)) throw new RangeError('a string in pieces of another type')
    return joinSegments(piece.value, tag, depth + 1)
  })
  return concatBytes(...pieces)
}

function elementAt(bytes: Uint8Array, at: number): BerElement {
  const header = headerAt(bytes, at)
  if (header.length !== undefined) {
    const end = header.from + header.length
    return { tag: header.tag, value: bytes.subarray(header.from, end), whole: bytes.subarray(at, end) }
  }
  // Indefinite length: the element ends when each indefinite-length element that has begun has its end-of-contents
  // octets.
  let end = header.from
  for (let open = 1; open > 0; ) {
    if (bytes[end] === 0 && bytes[end + 1] === 0) {
      open--
      end += 2
    } else {
      const inner = headerAt(bytes, end)
      if (inner.length === undefined) open++
      end = inner.from + (inner.length ?? 0)
    }
  }
  return { tag: header.tag, value: bytes.subarray(header.from, end - 2), whole: bytes.subarray(at, end) }
}

/**
 * Parses a header. `length` is undefined for the indefinite form. Throws RangeError if the element extends beyond the
 * bytes.
 */
function headerAt(
  bytes: Uint8Array,
  start: number,
): { readonly tag: number; readonly from: number; readonly length: number | undefined } {
  let at = start
  const next = (): number => {
    const byte = bytes[at++]
    if (byte === undefined) throw new RangeError('an element ends too early')
    return byte
  }
  const tag = next()
  if ((tag & 0x1f) === 0x1f) while (next() >= 0x80);
  const first = next()
  if (first === 0x80) {
    if ((tag & CONSTRUCTED) === 0) throw new RangeError('a primitive element of indefinite length')
    return { tag, from: at, length: undefined }
  }
  let length = first
  if (first > 0x80) {
    length = 0
    for (let count = first & 0x7f; count > 0; count--) length = length * 0x100 + next()
  }
  if (at + length > bytes.length) throw new RangeError('an element ends too early')
  return { tag, from: at, length }
}
