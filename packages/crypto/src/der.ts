/** Strict DER (X.690, 10.1 and 8.3), for what has to have one reading and one way to be written. */
import { equalBytes, viewOf } from '@webtoki/apdu/bytes'

/** One element, as views of the bytes that it was read from. */
export interface DerElement {
  readonly tag: number
  /** The content. */
  readonly value: Uint8Array
  /** The whole element, header included. */
  readonly der: Uint8Array
}

/** Tags of ASN.1 (X.680, 8.6) as their byte in DER. */
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

/** Throws RangeError if the element ends after its bytes do, or its length is not the shortest way to write it. */
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
    // The indefinite form has no length bytes: it stays 0 and is refused.
    for (let index = 0; index < count; index++) length = length * 0x100 + (bytes[from++] ?? 0)
    if (length < 0x80 || length < 0x100 ** (count - 1))
      throw new RangeError('a length that is not the shortest')
  }
  if (from + length > bytes.length) throw new RangeError('an element that ends after its bytes')
  return { tag, value: bytes.subarray(from, from + length), der: bytes.subarray(at, from + length) }
}

/** The elements that fill these bytes. Throws RangeError. */
export function elementsOf(source: Uint8Array): readonly DerElement[] {
  // An ArrayBuffer has no length, and would hold nothing.
  const bytes = viewOf(source)
  const found: DerElement[] = []
  for (let at = 0; at < bytes.length; ) {
    const element = elementAt(bytes, at)
    found.push(element)
    at += element.der.length
  }
  return found
}

/** Certificates nest about ten deep. */
const MAX_DEPTH = 64

/** Throws RangeError unless these bytes are elements in DER, down to the innermost. */
export function checkDer(bytes: Uint8Array, depth = 0): void {
  if (depth > MAX_DEPTH) throw new RangeError('elements nested too deep')
  for (const { tag, value } of elementsOf(bytes)) if ((tag & 0x20) !== 0) checkDer(value, depth + 1)
}

/** The one element that fills these bytes. Throws RangeError if it has another tag. */
export function onlyElement(der: Uint8Array, tag?: number): DerElement {
  const element = elementAt(der, 0)
  if (element.der.length !== der.length) throw new RangeError('bytes after the element')
  if (tag !== undefined && element.tag !== tag) throw new RangeError(`tag ${element.tag} instead of ${tag}`)
  return element
}

/** The elements of the SEQUENCE that fills these bytes. Throws RangeError. */
export function sequenceOf(der: Uint8Array): readonly DerElement[] {
  return elementsOf(onlyElement(der, Tag.sequence).value)
}

/** The magnitude of a positive INTEGER, without its sign byte. Throws RangeError. */
export function positiveInteger({ tag, value }: DerElement): Uint8Array {
  const [first, second] = value
  if (tag !== Tag.integer || first === undefined || first >= 0x80)
    throw new RangeError('not a positive INTEGER')
  if (first === 0 && (second === undefined || second < 0x80))
    throw new RangeError('not a positive INTEGER, or zeros before it')
  return first === 0 ? value.subarray(1) : value
}

/** The content of a BIT STRING of whole bytes. Throws RangeError. */
export function wholeBytes({ tag, value }: DerElement): Uint8Array {
  if (tag !== Tag.bitString || value[0] !== 0) throw new RangeError('not a BIT STRING of whole bytes')
  return value.subarray(1)
}

/** An object identifier with its dots (X.690, 8.19). Throws RangeError. */
export function objectIdentifier({ tag, value }: DerElement): string {
  if (tag !== Tag.oid || value.length === 0 || (value.at(-1) ?? 0) >= 0x80)
    throw new RangeError('not an OBJECT IDENTIFIER')
  const arcs: bigint[] = []
  let arc = 0n
  let isFirstByte = true
  for (const byte of value) {
    if (isFirstByte && byte === 0x80) throw new RangeError('a number with zeros before it')
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    // Twice a UUID, the largest in use; without a bound each byte would cost as much as all before it.
    if (arc >> 256n > 0n) throw new RangeError('an object identifier with an endless number')
    isFirstByte = byte < 0x80
    if (!isFirstByte) continue
    arcs.push(arc)
    arc = 0n
  }
  const [head = 0n, ...others] = arcs
  const root = head < 40n ? 0n : head < 80n ? 1n : 2n
  return [root, head - root * 40n, ...others].join('.')
}

/** The numbers r and s of an Ecdsa-Sig-Value (RFC 3279, 2.2.3), each without its sign byte. Throws RangeError. */
export function ecdsaNumbers(der: Uint8Array): readonly [r: Uint8Array, s: Uint8Array] {
  const [r, s, ...more] = sequenceOf(der).map(positiveInteger)
  if (r === undefined || s === undefined || more.length > 0) throw new RangeError('not two numbers')
  return [r, s]
}

/**
 * The parts of a certificate around tbsCertificate, which its issuer's signature does not cover (RFC 5280, 4.1.1):
 * the outer SEQUENCE, the algorithm byte for byte as in the signed part, and a BIT STRING of whole bytes. Returns the
 * signature. Throws RangeError.
 */
export function signatureOfCertificate(der: Uint8Array): Uint8Array {
  const [signed, algorithm, signature, ...more] = sequenceOf(der)
  if (signed === undefined || algorithm === undefined || signature === undefined || more.length > 0)
    throw new RangeError('not three parts')
  const fields = sequenceOf(signed.der)
  // The version, [0], is absent in certificates of version 1.
  const inner = fields[fields[0]?.tag === 0xa0 ? 2 : 1]
  if (algorithm.tag !== Tag.sequence || inner === undefined || !equalBytes(inner.der, algorithm.der))
    throw new RangeError('two algorithms')
  return wholeBytes(signature)
}
