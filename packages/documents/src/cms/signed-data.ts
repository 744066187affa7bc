/**
 * Encodes and parses SignedData within a ContentInfo: RFC 5652, 3 and 5.1. Revocation lists are skipped without
 * parsing.
 */
import { encodeOid, Tag, encodeTlv } from '@webtoki/crypto'
import { DocumentError } from '../errors.ts'
import { type BerElement, elementsIn, fieldsOf, identifierOf, octetsOf, onlyElement } from './ber.ts'
import { sequence, setOf } from './der-writer.ts'
import { oids } from './oids.ts'
import { signedBytesOf } from './signer-info.ts'

/** Limits against files that are made to take long to verify. The standard has no such limits. */
export const MAX_FILE_MEBIBYTES = 16
const MAX_SIGNERS = 200
const MAX_CERTIFICATES = 200
/** The limit for all certificates together, and for the signed attributes of all signers together. */
const MAX_PART_BYTES = 1024 * 1024

/** The fields of a SignedData to encode. */
export interface SignedDataFields {
  /** eContentType. */
  readonly contentType: string
  /** AlgorithmIdentifiers in DER. */
  readonly digestAlgorithms: readonly Uint8Array[]
  readonly certificates: readonly Uint8Array[]
  readonly signerInfos: readonly Uint8Array[]
}

/** Encodes a ContentInfo with a SignedData without content (detached). */
export function writeSignedData(fields: SignedDataFields): Uint8Array {
  const signedData = sequence(
    encodeTlv(Tag.integer, [1]),
    setOf(fields.digestAlgorithms),
    sequence(encodeOid(fields.contentType)),
    // The signer's certificate first. Not sorted as DER requires for a SET OF: the signature does not cover it.
    encodeTlv(0xa0, ...fields.certificates),
    setOf(fields.signerInfos),
  )
  return sequence(encodeOid(oids.signedData), encodeTlv(0xa0, signedData))
}

/** A parsed SignedData. Its arrays are views of the file. */
export interface SignedData {
  /** eContentType. */
  readonly contentType: string
  /** eContent: the content, if the file contains it. */
  readonly content: Uint8Array | undefined
  /** X.509 certificates; other types are omitted. */
  readonly certificates: readonly Uint8Array[]
  /** To be parsed by `readSignerInfo`, one by one, so that a damaged one does not affect the others. */
  readonly signerInfos: readonly BerElement[]
}

/** Parses a file. Throws DocumentError 'not-signed-data' and 'too-complex', and RangeError if the file is damaged. */
export function readSignedData(file: Uint8Array): SignedData {
  const [type, content, ...others] = fieldsOf(onlyElement(file, Tag.sequence).value)
  if (type === undefined || content?.tag !== 0xa0 || others.length > 0)
    throw new RangeError('not a ContentInfo')
  if (identifierOf(type) !== oids.signedData) throw new DocumentError('not-signed-data')
  const [version, digestAlgorithms, encapsulated, ...rest] = fieldsOf(
    onlyElement(content.value, Tag.sequence).value,
  )
  const certificates = rest[0]?.tag === 0xa0 ? rest.shift() : undefined
  // Revocation lists.
  if (rest[0]?.tag === 0xa1) rest.shift()
  const [signerInfos, ...more] = rest
  if (version?.tag !== Tag.integer || digestAlgorithms?.tag !== Tag.set || encapsulated?.tag !== Tag.sequence)
    throw new RangeError('not a SignedData')
  for (const { value } of elementsIn(digestAlgorithms.value)) fieldsOf(value)
  if (signerInfos?.tag !== Tag.set || more.length > 0) throw new RangeError('not a SignedData')
  const ders = (
    certificates === undefined ? [] : atMost(MAX_CERTIFICATES, 'certificates', certificates.value)
  )
    .filter(({ tag }) => tag === Tag.sequence)
    .map(({ whole }) => whole)
  const infos = atMost(MAX_SIGNERS, 'signatures', signerInfos.value)
  requirePartSize(
    'certificates',
    ders.map(({ length }) => length),
  )
  requirePartSize('signed attributes', infos.map(signedBytesOf))
  return { ...contentOf(encapsulated), certificates: ders, signerInfos: infos }
}

function contentOf({ value }: BerElement): Pick<SignedData, 'contentType' | 'content'> {
  const [type, content, ...more] = fieldsOf(value)
  if (type === undefined || more.length > 0) throw new RangeError('not an EncapsulatedContentInfo')
  if (content !== undefined && content.tag !== 0xa0) throw new RangeError('not an eContent')
  const [octets, ...others] = content === undefined ? [] : fieldsOf(content.value)
  if (others.length > 0 || (content !== undefined && octets === undefined))
    throw new RangeError('not an eContent')
  return { contentType: identifierOf(type), content: octets && octetsOf(octets) }
}

function atMost(most: number, what: string, bytes: Uint8Array): readonly BerElement[] {
  const found: BerElement[] = []
  for (const element of elementsIn(bytes))
    if (found.push(element) > most) throw new DocumentError('too-complex', { limit: `${most} ${what}` })
  return found
}

function requirePartSize(what: string, lengths: readonly number[]): void {
  if (lengths.reduce((sum, length) => sum + length, 0) > MAX_PART_BYTES)
    throw new DocumentError('too-complex', { limit: `1 MiB of ${what}` })
}
