/** Strict DER (X.690, 10.1 and 8.3): what of a signed thing is not itself signed may be written in one way only. */

/** One element: where its content stands. */
export interface Element {
  readonly tag: number
  readonly from: number
  readonly to: number
}

const SEQUENCE = 0x30
const INTEGER = 0x02
const BIT_STRING = 0x03

/** Throws RangeError where the element ends behind `end`, or its length is not the shortest way to write it. */
function elementAt(bytes: Uint8Array, at: number, end: number): Element {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) throw new RangeError('no element')
  let from = at + 2
  let length = first
  if (first > 0x82) throw new RangeError('a length of more than two bytes')
  if (first >= 0x80) {
    const count = first & 0x7f
    length = 0
    // Without one, of the indefinite form, it stays 0.
    for (let index = 0; index < count; index++) length = length * 256 + (bytes[from++] ?? 0)
    if (length < 0x80 || (count === 2 && length < 0x100))
      throw new RangeError('a length that is not the shortest')
  }
  if (from + length > end) throw new RangeError('an element beyond its end')
  return { tag, from, to: from + length }
}

/** The elements of a SEQUENCE that fills the bytes from `at` to `end`. */
export function sequenceAt(bytes: Uint8Array, at: number, end: number): readonly Element[] {
  const whole = elementAt(bytes, at, end)
  if (whole.tag !== SEQUENCE || whole.to !== end) throw new RangeError('no SEQUENCE')
  return elementsIn(bytes, whole)
}

/** The elements within another one. Throws RangeError. */
export function elementsIn(bytes: Uint8Array, { from, to }: Element): readonly Element[] {
  const found: Element[] = []
  for (let next = from; next < to; ) {
    const element = elementAt(bytes, next, to)
    found.push(element)
    next = element.to
  }
  return found
}

/** The numbers r and s of an Ecdsa-Sig-Value (RFC 3279, 2.2.3), each without its sign byte. Throws RangeError. */
export function ecdsaNumbers(der: Uint8Array): readonly [r: Uint8Array, s: Uint8Array] {
  const elements = sequenceAt(der, 0, der.length)
  const numbers = elements.map(({ tag, from, to }) => {
    const [first, second] = der.subarray(from, to)
    if (tag !== INTEGER || first === undefined || first >= 0x80) throw new RangeError('no positive INTEGER')
    if (first === 0 && (second === undefined || second < 0x80))
      throw new RangeError('an INTEGER with zeros in front')
    return der.slice(first === 0 ? from + 1 : from, to)
  })
  const [r, s] = numbers
  if (r === undefined || s === undefined || numbers.length !== 2) throw new RangeError('not two numbers')
  return [r, s]
}

/**
 * The parts of a certificate around tbsCertificate, which its issuer's signature does not cover (RFC 5280, 4.1.1):
 * the outer SEQUENCE, the algorithm byte for byte as in the signed part, and a BIT STRING of whole bytes. Gives the
 * signature. Throws RangeError.
 */
export function signatureOfCertificate(der: Uint8Array): Uint8Array {
  const [signed, algorithm, signature, ...more] = sequenceAt(der, 0, der.length)
  if (signed === undefined || algorithm === undefined || signature === undefined || more.length > 0)
    throw new RangeError('not three parts')
  const fields: Element[] = []
  for (let next = signed.from; next < signed.to && fields.length < 3; ) {
    const field = elementAt(der, next, signed.to)
    fields.push(field)
    next = field.to
  }
  // The version, [0], is absent in certificates of version 1.
  const inner = fields[fields[0]?.tag === 0xa0 ? 2 : 1]
  const same =
    signed.tag === SEQUENCE &&
    algorithm.tag === SEQUENCE &&
    inner?.tag === SEQUENCE &&
    inner.to - inner.from === algorithm.to - algorithm.from &&
    der.subarray(inner.from, inner.to).every((byte, at) => byte === der[algorithm.from + at])
  if (!same) throw new RangeError('two algorithms')
  if (signature.tag !== BIT_STRING || der[signature.from] !== 0)
    throw new RangeError('no BIT STRING of whole bytes')
  return der.slice(signature.from + 1, signature.to)
}
