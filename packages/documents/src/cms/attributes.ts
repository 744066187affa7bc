/** Signed attributes (RFC 5652, 5.3 and 11): a profile makes them, and they are read as the bytes that were signed. */
import {
  encodeOid,
  objectIdentifier,
  onlyElement,
  type ReadCertificate,
  readTime,
  Tag,
  encodeTlv,
} from '@webtoki/crypto'
import { equalBytes } from '@webtoki/apdu/bytes'
import { type BerElement, elementsIn, fieldsOf, identifierOf, onlyElement as onlyBer, toDer } from './ber.ts'
import { type CertificateReference, readReference, signingCertificateV2 } from './certificate-reference.ts'
import { sequence, setOf, time } from './der-writer.ts'
import { oids } from './oids.ts'

/** What the signed attributes say. */
export interface SignedFacts {
  /** eContentType. */
  readonly contentType: string
  readonly messageDigest: Uint8Array
  readonly signingTime: Date
  readonly certificate: ReadCertificate
}

/** The attributes that can be made, by their names in `oids`. */
export type AttributeName = 'contentType' | 'messageDigest' | 'signingTime' | 'signingCertificateV2'

const values: Readonly<Record<AttributeName, (facts: SignedFacts) => Uint8Array>> = {
  contentType: ({ contentType }) => encodeOid(contentType),
  messageDigest: ({ messageDigest }) => encodeTlv(Tag.octetString, messageDigest),
  signingTime: ({ signingTime }) => time(signingTime),
  signingCertificateV2: ({ certificate }) => signingCertificateV2(certificate),
}

/** A format of signatures: the signed attributes that it has, and no others. */
export interface SignatureProfile {
  readonly name: string
  readonly attributes: readonly AttributeName[]
}

/** CAdES-B-B: ETSI EN 319 122-1, 6.3. */
export const cadesBB: SignatureProfile = {
  name: 'CAdES-B-B',
  attributes: ['contentType', 'messageDigest', 'signingTime', 'signingCertificateV2'],
}

/** A SET OF in DER: what is signed. */
export function writeSignedAttributes(profile: SignatureProfile, facts: SignedFacts): Uint8Array {
  return setOf(
    profile.attributes.map((name) =>
      sequence(encodeOid(oids[name]), encodeTlv(Tag.set, values[name](facts))),
    ),
  )
}

/** The signed attributes of one signer. Those that are absent are undefined. */
export interface SignedAttributes {
  /**
   * What may have been signed, each a SET OF: its DER, and the file's own bytes if they differ from it by the order of
   * elements alone.
   */
  readonly signed: readonly Uint8Array[]
  readonly contentType: string
  readonly messageDigest: Uint8Array
  readonly signingTime: Date | undefined
  /** What signing-certificate (by SHA-1) and signing-certificate-v2 name, in this order. */
  readonly certificates: readonly CertificateReference[]
  /** Of all attributes. */
  readonly types: ReadonlySet<string>
}

/** Those that are looked at: each once, with one value (RFC 5652, 11.1 to 11.3; RFC 5035, 3 and 4). */
const once: ReadonlySet<string> = new Set([
  oids.contentType,
  oids.messageDigest,
  oids.signingTime,
  oids.signingCertificate,
  oids.signingCertificateV2,
])

/** Reads SignedAttributes, tagged [0] in the file. Throws RangeError. */
export function readSignedAttributes({
  value,
  whole,
}: Pick<BerElement, 'value' | 'whole'>): SignedAttributes {
  // Signed as the SET that they are (RFC 5652, 5.4), in DER whatever the file has.
  const set = { tag: Tag.set, value, whole }
  const der = toDer(set)
  const kept = toDer(set, 'kept')
  const isInDerButForOrder = equalBytes(kept.subarray(1), whole.subarray(1)) && !equalBytes(kept, der)
  const types = new Set<string>()
  const found = new Map<string, Uint8Array>()
  for (const [type, values] of attributesIn(onlyBer(der, Tag.set).value)) {
    if (once.has(type)) {
      // Of two, each verifier would take another: one signature over two documents.
      if (types.has(type)) throw new RangeError('an attribute twice')
      found.set(type, onlyElement(values).der)
    }
    types.add(type)
  }
  const valueOf = <T>(type: string, read: (der: Uint8Array) => T): T | undefined => {
    const der = found.get(type)
    return der && read(der)
  }
  const contentType = valueOf(oids.contentType, (each) => objectIdentifier(onlyElement(each)))
  const messageDigest = valueOf(oids.messageDigest, (each) => onlyElement(each, Tag.octetString).value)
  if (contentType === undefined || messageDigest === undefined)
    throw new RangeError('no content type, or no digest')
  return {
    signed: isInDerButForOrder ? [der, kept] : [der],
    contentType,
    messageDigest,
    // Strict, though it is only reported: a file that names no time is not shown with some other one.
    signingTime: valueOf(oids.signingTime, readTime),
    certificates: [
      valueOf(oids.signingCertificate, (each) => readReference(each, 'SHA-1')),
      valueOf(oids.signingCertificateV2, (each) => readReference(each, 'SHA-256')),
    ].filter((each) => each !== undefined),
    types,
  }
}

/**
 * The types of UnsignedAttributes, tagged [1] in the file. Throws RangeError, also for one that has to be signed: a digest
 * beside the signature would be anybody's (RFC 5652, 11.1 to 11.3).
 */
export function readUnsignedTypes({ value }: BerElement): ReadonlySet<string> {
  const types = new Set<string>()
  for (const [type] of attributesIn(value)) {
    if (once.has(type)) throw new RangeError('an attribute that is not signed and has to be')
    types.add(type)
  }
  return types
}

/** Type and values of each attribute. Throws RangeError. */
function* attributesIn(bytes: Uint8Array): Generator<readonly [type: string, values: Uint8Array]> {
  for (const { tag, value } of elementsIn(bytes)) {
    const [type, values, ...more] = tag === Tag.sequence ? fieldsOf(value) : []
    if (type === undefined || values?.tag !== Tag.set || more.length > 0)
      throw new RangeError('not an attribute')
    yield [identifierOf(type), values.value]
  }
}
