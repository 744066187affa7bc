/** BER (X.690, 8.1), as files have it, and the DER of what it says. The public readers of `crypto` are strict DER. */
import { objectIdentifier, Tag, encodeTlv } from '@webtoki/crypto'
import { concatBytes } from '@webtoki/apdu/bytes'
import { setOf } from './der-writer.ts'

/** One element, as views of the bytes that it was read from. */
export interface BerElement {
  /** The first byte. */
  readonly tag: number
  /** The content, without an end-of-contents. */
  readonly value: Uint8Array
  /** The whole element, header included. */
  readonly whole: Uint8Array
}

/** More levels of elements than this exist in no file. */
const MAX_DEPTH = 64

/** The elements that fill these bytes, one after the other. Throws RangeError where they are damaged. */
export function* elementsIn(bytes: Uint8Array): Generator<BerElement> {
  for (let at = 0; at < bytes.length; ) {
    const element = elementAt(bytes, at)
    yield element
    at += element.whole.length
  }
}

/** The fields of a structure, which never has more than sixteen. Throws RangeError. */
export function fieldsOf(bytes: Uint8Array): readonly BerElement[] {
  const found: BerElement[] = []
  for (const element of elementsIn(bytes))
    if (found.push(element) > 16) throw new RangeError('too many fields')
  return found
}

/** The one element that fills these bytes. Throws RangeError if it has another tag. */
export function onlyElement(bytes: Uint8Array, tag: number): BerElement {
  const element = elementAt(bytes, 0)
  if (element.whole.length !== bytes.length) throw new RangeError('bytes after the element')
  if (element.tag !== tag) throw new RangeError(`tag ${element.tag} instead of ${tag}`)
  return element
}

/** The object identifier, with its dots. Throws RangeError. */
export function identifierOf({ tag, value, whole }: BerElement): string {
  return objectIdentifier({ tag, value, der: whole })
}

/** The bytes of an OCTET STRING, joined if they come in pieces. Throws RangeError. */
export function octetsOf({ tag, value }: BerElement): Uint8Array {
  if (tag === Tag.octetString) return value
  if (tag !== (Tag.octetString | CONSTRUCTED)) throw new RangeError('not an OCTET STRING')
  return joined(value, Tag.octetString, 0)
}

const CONSTRUCTED = 0x20

/**
 * The same value in DER (X.690, 10 and 11). Every SET is taken for a SET OF; with order 'kept', it stays in the file's
 * order, which is not DER and how some programs sign. Throws RangeError.
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
  if (isString) return encodeTlv(tag ^ CONSTRUCTED, joined(value, tag ^ CONSTRUCTED, depth))
  const parts = Array.from(elementsIn(value), (each) => toDer(each, order, depth + 1))
  return tag === Tag.set && order === 'sorted' ? setOf(parts) : encodeTlv(tag, ...parts)
}

function joined(value: Uint8Array, tag: number, depth: number): Uint8Array {
  // Whose last piece alone may have bits that are not used.
  if (tag === Tag.bitString) throw new RangeError('a BIT STRING in pieces')
  if (depth > MAX_DEPTH) throw new RangeError('elements nested too deep')
  const pieces = Array.from(elementsIn(value), (piece) => {
    if (piece.tag === tag) return piece.value
    if (piece.tag !== (tag | CONSTRUCTED)) throw new RangeError('a string in pieces of another type')
    return joined(piece.value, tag, depth + 1)
  })
  return concatBytes(...pieces)
}

function elementAt(bytes: Uint8Array, at: number): BerElement {
  const head = headAt(bytes, at)
  if (head.length !== undefined) {
    const end = head.from + head.length
    return { tag: head.tag, value: bytes.subarray(head.from, end), whole: bytes.subarray(at, end) }
  }
  // Of an indefinite length: it ends where as many ends have come as such elements have begun.
  let end = head.from
  for (let open = 1; open > 0; ) {
    if (bytes[end] === 0 && bytes[end + 1] === 0) {
      open--
      end += 2
    } else {
      const inner = headAt(bytes, end)
      if (inner.length === undefined) open++
      end = inner.from + (inner.length ?? 0)
    }
  }
  return { tag: head.tag, value: bytes.subarray(head.from, end - 2), whole: bytes.subarray(at, end) }
}

/** `length` is undefined for the indefinite form. Throws RangeError if the element ends after the bytes do. */
function headAt(
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
