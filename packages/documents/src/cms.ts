/**
 * The parts of a SignedData that signatures are verified by: RFC 5652, 3 and 5.1, in BER (X.690, 8.1). Revocation lists,
 * unsigned attributes and content are stepped over, so that their size costs nothing.
 */
import { objectIdentifier, Tag } from '@webtoki/crypto'
import { type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { DocumentError } from './errors.ts'
import { oids } from './oids.ts'

/** Limits of what is read. An honest file needs far less; a larger one is refused as 'too-complex'. */
const MAX_FILE_BYTES = 16 * 1024 * 1024
const MAX_SIGNERS = 200
const MAX_CERTIFICATES = 200
const MAX_ATTRIBUTES = 100
const MAX_VALUES = 100
/** Within an element of indefinite length, whose end has to be looked for. */
const MAX_INNER_ELEMENTS = 100_000
/** Of all certificates together, and of all signers' signed attributes together. */
const MAX_PART_BYTES = 1024 * 1024

/** What the verification needs, as views of a copy of the file. */
export interface SignedDataParts {
  /** Each in DER; other kinds of certificates are left out. */
  readonly certificates: readonly Uint8Array[]
  readonly signers: readonly SignerParts[]
}

/** What stands in a SignerInfo. */
export interface SignerParts {
  /** Which certificate signed: Name in DER and the INTEGER's content, or its subjectKeyIdentifier. */
  readonly certificate:
    | { readonly issuer: Uint8Array; readonly serialNumber: Uint8Array }
    | { readonly subjectKeyIdentifier: Uint8Array }
  /** AlgorithmIdentifiers in DER. */
  readonly digestAlgorithm: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  readonly signedAttributes: SignedAttributes | undefined
  readonly signature: Uint8Array
}

/** The signed attributes of one signer. */
export interface SignedAttributes {
  /** As they were signed: a SET OF in the file's own bytes (RFC 5652, 5.4). */
  readonly signed: Uint8Array
  readonly all: readonly { readonly type: string; readonly values: readonly Uint8Array[] }[]
}

interface BerElement {
  readonly tag: number
  /** Views of the content, without an end-of-contents, and of the whole element. */
  readonly value: Uint8Array
  readonly whole: Uint8Array
}

/** Throws DocumentError 'not-signed-data' and 'too-complex'; RangeError if the file is damaged. */
export function readSignedData(bytes: ByteSource): SignedDataParts {
  if (bytes.byteLength > MAX_FILE_BYTES) throw new DocumentError('too-complex')
  // The caller may write into its own while the signatures are verified.
  const file = copyOf(bytes)
  const [type, content] = elementsOf(elementAt(file, 0, Tag.sequence).value)
  if (type === undefined || content?.tag !== 0xa0) throw new RangeError('not a ContentInfo')
  if (identifier(type) !== oids.signedData) throw new DocumentError('not-signed-data')
  // version, digestAlgorithms, encapContentInfo, certificates [0], crls [1], signerInfos.
  const [, , , ...sets] = elementsOf(elementAt(content.value, 0, Tag.sequence).value)
  const signers = sets.at(-1)
  const certificates = sets.find(({ tag }) => tag === 0xa0)
  if (signers?.tag !== Tag.set) throw new RangeError('no SignerInfos')
  const infos = elementsOf(signers.value, MAX_SIGNERS).map(signerOf)
  const found = certificates === undefined ? [] : elementsOf(certificates.value, MAX_CERTIFICATES)
  const ders = found.filter(({ tag }) => tag === Tag.sequence).map(({ whole }) => whole)
  limit(ders)
  limit(infos.map(({ signedAttributes }) => signedAttributes?.signed ?? new Uint8Array()))
  return { certificates: ders, signers: infos }
}

/** Unsigned attributes, [1], stand last and are not looked at. */
function signerOf(info: BerElement): SignerParts {
  if (info.tag !== Tag.sequence) throw new RangeError('not a SignerInfo')
  const [version, sid, digestAlgorithm, ...rest] = elementsOf(info.value)
  const attributes = rest[0]?.tag === 0xa0 ? rest.shift() : undefined
  const [signatureAlgorithm, signature, unsigned, ...more] = rest
  if (version?.tag !== Tag.integer || sid === undefined || digestAlgorithm === undefined)
    throw new RangeError('not a SignerInfo')
  if (signatureAlgorithm === undefined || signature?.tag !== Tag.octetString)
    throw new RangeError('not a SignerInfo')
  if ((unsigned !== undefined && unsigned.tag !== 0xa1) || more.length > 0)
    throw new RangeError('not a SignerInfo')
  return {
    certificate: certificateOf(sid),
    digestAlgorithm: digestAlgorithm.whole,
    signatureAlgorithm: signatureAlgorithm.whole,
    signedAttributes: attributes && attributesOf(attributes),
    signature: signature.value,
  }
}

function certificateOf({ tag, value }: BerElement): SignerParts['certificate'] {
  if (tag === 0x80) return { subjectKeyIdentifier: value }
  const [issuer, serialNumber, ...more] = tag === Tag.sequence ? elementsOf(value) : []
  if (issuer === undefined || serialNumber?.tag !== Tag.integer || more.length > 0)
    throw new RangeError('not a SignerIdentifier')
  return { issuer: issuer.whole, serialNumber: serialNumber.value }
}

function attributesOf({ value, whole }: BerElement): SignedAttributes {
  // Tagged [0] in the file, signed as the SET that they are.
  const signed = copyOf(whole)
  signed[0] = Tag.set
  const all = elementsOf(value, MAX_ATTRIBUTES).map((attribute) => {
    const [type, values, ...more] = attribute.tag === Tag.sequence ? elementsOf(attribute.value) : []
    if (type === undefined || values?.tag !== Tag.set || more.length > 0)
      throw new RangeError('not an attribute')
    return { type: identifier(type), values: elementsOf(values.value, MAX_VALUES).map((each) => each.whole) }
  })
  return { signed, all }
}

function identifier({ tag, value, whole }: BerElement): string {
  return objectIdentifier({ tag, value, der: whole })
}

function limit(parts: readonly Uint8Array[]): void {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0)
  if (bytes > MAX_PART_BYTES) throw new DocumentError('too-complex')
}

/** The elements that fill these bytes. Throws DocumentError 'too-complex' for more than `max`, RangeError if damaged. */
function elementsOf(bytes: Uint8Array, max = 16): readonly BerElement[] {
  const found: BerElement[] = []
  for (let at = 0; at < bytes.length; ) {
    if (found.length === max) throw new DocumentError('too-complex')
    const element = elementAt(bytes, at)
    found.push(element)
    at += element.whole.length
  }
  return found
}

function elementAt(bytes: Uint8Array, at: number, tag?: number): BerElement {
  const head = headAt(bytes, at)
  if (tag !== undefined && head.tag !== tag) throw new RangeError(`tag ${head.tag} instead of ${tag}`)
  if (head.length !== undefined) {
    const end = head.from + head.length
    return { tag: head.tag, value: bytes.subarray(head.from, end), whole: bytes.subarray(at, end) }
  }
  // Of an indefinite length: it ends where as many ends have come as such elements have begun.
  let end = head.from
  for (let open = 1, count = 0; open > 0; count++) {
    if (count > MAX_INNER_ELEMENTS) throw new DocumentError('too-complex')
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
    if ((tag & 0x20) === 0) throw new RangeError('a primitive element of indefinite length')
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
