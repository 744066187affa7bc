/**
 * The parts of a SignedData that signatures are verified by: RFC 5652, 3 and 5.1, in BER (X.690, 8.1). Revocation lists,
 * unsigned attributes and content are stepped over, so that their size costs nothing.
 */
import { fromBER } from 'asn1js'
import { SignerInfo } from 'pkijs'
import { DocumentError } from './errors.ts'
import { oids } from './oids.ts'

/** Files that nobody writes who only wants to be believed. Each is told as 'too-complex'. */
const MAX_FILE_BYTES = 16 * 1024 * 1024
const MAX_SIGNERS = 200
const MAX_CERTIFICATES = 200
/** Of all certificates together, and of all signers together without their unsigned attributes. */
const MAX_PART_BYTES = 1024 * 1024

/** What the verification needs, as views of the file. */
export interface SignedDataParts {
  /** Each in DER; other kinds of certificates are left out. */
  readonly certificates: readonly Uint8Array[]
  /** SignerInfos without their unsigned attributes. */
  readonly signerInfos: readonly Uint8Array[]
}

interface BerElement {
  readonly tag: number
  /** Views of the content, without an end-of-contents, and of the whole element. */
  readonly value: Uint8Array
  readonly whole: Uint8Array
}

/** Throws DocumentError 'not-signed-data' and 'too-complex'; RangeError if the file is damaged. */
export function readSignedData(file: Uint8Array): SignedDataParts {
  if (file.length > MAX_FILE_BYTES) throw new DocumentError('too-complex')
  const [type, content] = elementsOf(elementAt(file, 0, SEQUENCE).value)
  if (type?.tag !== OBJECT_IDENTIFIER || content?.tag !== 0xa0) throw new RangeError('not a ContentInfo')
  if (!isSignedData(type.whole)) throw new DocumentError('not-signed-data')
  // version, digestAlgorithms, encapContentInfo, certificates [0], crls [1], signerInfos.
  const [, , , ...sets] = elementsOf(elementAt(content.value, 0, SEQUENCE).value)
  const signers = sets.at(-1)
  const certificates = sets.find(({ tag }) => tag === 0xa0)
  if (signers?.tag !== SET) throw new RangeError('no SignerInfos')
  const infos = elementsOf(signers.value, MAX_SIGNERS).map(({ value }) => withoutUnsigned(value))
  const found = certificates === undefined ? [] : elementsOf(certificates.value, MAX_CERTIFICATES)
  return {
    certificates: limited(found.filter(({ tag }) => tag === SEQUENCE).map(({ whole }) => whole)),
    signerInfos: limited(infos),
  }
}

const OBJECT_IDENTIFIER = 0x06
const SEQUENCE = 0x30
const SET = 0x31

function isSignedData(type: Uint8Array): boolean {
  const { result } = fromBER(new Uint8Array(type))
  return (result as unknown as { getValue?: () => string }).getValue?.() === oids.signedData
}

/** Unsigned attributes, [1], stand last: a SEQUENCE of what stands before them. */
function withoutUnsigned(info: Uint8Array): Uint8Array {
  const kept = elementsOf(info, 8).filter(({ tag }, at) => at < 3 || tag !== 0xa1)
  const bytes = kept.reduce((sum, { whole }) => sum + whole.length, 0)
  const rebuilt = new Uint8Array(6 + bytes)
  rebuilt.set([SEQUENCE, 0x84, bytes >>> 24, (bytes >> 16) & 0xff, (bytes >> 8) & 0xff, bytes & 0xff])
  let at = 6
  for (const { whole } of kept) {
    rebuilt.set(whole, at)
    at += whole.length
  }
  return rebuilt
}

function limited(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0)
  if (bytes > MAX_PART_BYTES) throw new DocumentError('too-complex')
  return parts
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

/** Reads one of `signerInfos`. Throws whatever asn1js and pkijs throw. */
export function readSignerInfo(bytes: Uint8Array): SignerInfo {
  const parsed = fromBER(new Uint8Array(bytes))
  if (parsed.offset !== -1) return new SignerInfo({ schema: parsed.result })
  // asn1js counts elements and depth, which says nothing of whether they are damaged.
  if (parsed.result.error.startsWith('Maximum ASN.1')) throw new DocumentError('too-complex')
  throw new RangeError(parsed.result.error)
}
