/** Strict decoding of DER (X.690, 10.1 and 8.3), for data that must have exactly one encoding. */
import { equalBytes, viewOf } from '@webtoki/apdu/bytes'

/** One DER element. Its arrays are views of the decoded bytes. */
export interface DerElement {
  readonly tag: number
  /** The content. */
  readonly value: Uint8Array
  /** The whole element, header included. */
  readonly der: Uint8Array
}

/** Identifier bytes of ASN.1 types in DER (X.680, 8.6). */
export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  visibleString: 0x1a,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** Decodes the element at `at`. Throws RangeError if it is truncated or its length is not minimal. */
function elementAt(bytes: Uint8Array, at: number): DerElement {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) throw new RangeError('an element is missing')
  if ((tag & 0x1f) === 0x1f) throw new RangeError('a tag of more than one byte')
  let from = at + 2
  let length = first
  if (first > 0x84) throw new RangeError('a length of more than four bytes')
  if (first >= 0x80) {
    const count = first & 0x7f
    length = 0
    // The indefinite form has no length bytes, so the length stays 0 and is refused below.
    for (let index = 0; index < count; index++) length = length * 0x100 + (bytes[from++] ?? 0)
    if (length < 0x80 || length < 0x100 ** (count - 1)) throw new RangeError('a length that is not minimal')
  }
  if (from + length > bytes.length) throw new RangeError('a truncated element')
  return { tag, value: bytes.subarray(from, from + length), der: bytes.subarray(at, from + length) }
}

/** Decodes the elements that fill these bytes. Throws RangeError. */
export function elementsOf(source: Uint8Array): readonly DerElement[] {
  // An ArrayBuffer has no `length`. Without `viewOf` it would seem empty.
  const bytes = viewOf(source)
  const found: DerElement[] = []
  for (let at = 0; at < bytes.length; ) {
    const element = elementAt(bytes, at)
    found.push(element)
    at += element.der.length
  }
  return found
}

/** Certificates have about ten levels. */
const MAX_DEPTH = 64

/** Throws RangeError unless the bytes are DER elements at every level of nesting. */
export function checkDer(bytes: Uint8Array, depth = 0): void {
  if (depth > MAX_DEPTH) throw new RangeError('elements nested too deep')
  for (const { tag, value } of elementsOf(bytes)) if ((tag & 0x20) !== 0) checkDer(value, depth + 1)
}

/** Decodes the one element that fills these bytes. Throws RangeError, also if it does not have the given tag. */
export function onlyElement(der: Uint8Array, tag?: number): DerElement {
  const element = elementAt(der, 0)
  if (element.der.length !== der.length) throw new RangeError('bytes after the element')
  if (tag !== undefined && element.tag !== tag) throw new RangeError(`tag ${element.tag} instead of ${tag}`)
  return element
}

/** Decodes the SEQUENCE that fills these bytes and returns its elements. Throws RangeError. */
export function sequenceOf(der: Uint8Array): readonly DerElement[] {
  return elementsOf(onlyElement(der, Tag.sequence).value)
}

/** Returns the magnitude of a positive INTEGER, without its sign byte. Throws RangeError. */
export function positiveInteger({ tag, value }: DerElement): Uint8Array {
  const [first, second] = value
  if (tag !== Tag.integer || first === undefined || first >= 0x80)
    throw new RangeError('not a positive INTEGER')
  if (first === 0 && (second === undefined || second < 0x80))
    throw new RangeError('zero or an INTEGER with leading zeros')
  return first === 0 ? value.subarray(1) : value
}

/** Returns the content of a BIT STRING of whole bytes. Throws RangeError. */
export function wholeBytes({ tag, value }: DerElement): Uint8Array {
  if (tag !== Tag.bitString || value[0] !== 0) throw new RangeError('not a BIT STRING of whole bytes')
  return value.subarray(1)
}

/** Decodes an OBJECT IDENTIFIER to its dotted form (X.690, 8.19). Throws RangeError. */
export function objectIdentifier({ tag, value }: DerElement): string {
  if (tag !== Tag.oid || value.length === 0 || (value.at(-1) ?? 0) >= 0x80)
    throw new RangeError('not an OBJECT IDENTIFIER')
  const arcs: bigint[] = []
  let arc = 0n
  let isFirstByte = true
  for (const byte of value) {
    if (isFirstByte && byte === 0x80) throw new RangeError('an OBJECT IDENTIFIER with leading zeros')
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    // Twice the length of a UUID, the longest arc in use. Without a limit the time would grow quadratically.
    if (arc >> 256n > 0n) throw new RangeError('an OBJECT IDENTIFIER with a number of more than 256 bits')
    isFirstByte = byte < 0x80
    if (!isFirstByte) continue
    arcs.push(arc)
    arc = 0n
  }
  const [head = 0n, ...others] = arcs
  const root = head < 40n ? 0n : head < 80n ? 1n : 2n
  return [root, head - root * 40n, ...others].join('.')
}

/** Decodes an Ecdsa-Sig-Value (RFC 3279, 2.2.3) to r and s, without their sign bytes. Throws RangeError. */
export function ecdsaNumbers(der: Uint8Array): readonly [r: Uint8Array, s: Uint8Array] {
  const [r, s, ...more] = sequenceOf(der).map(positiveInteger)
  if (r === undefined || s === undefined || more.length > 0) throw new RangeError('not an Ecdsa-Sig-Value')
  return [r, s]
}

/**
 * Checks the parts of a certificate that the issuer's signature does not cover (RFC 5280, 4.1.1): the outer SEQUENCE, the
 * algorithm, which must equal the signed one byte for byte, and the signature, which must be a BIT STRING of whole bytes.
 * Returns the signature. Throws RangeError.
 */
export function signatureOfCertificate(der: Uint8Array): Uint8Array {
  const [signed, algorithm, signature, ...more] = sequenceOf(der)
  if (signed === undefined || algorithm === undefined || signature === undefined || more.length > 0)
    throw new RangeError('not a Certificate')
  const fields = sequenceOf(signed.der)
  // The version, [0], is absent in certificates of version 1.
  const inner = fields[fields[0]?.tag === 0xa0 ? 2 : 1]
  if (algorithm.tag !== Tag.sequence || inner === undefined || !equalBytes(inner.der, algorithm.der))
    throw new RangeError('different signed and outer algorithms')
  return wholeBytes(signature)
}
