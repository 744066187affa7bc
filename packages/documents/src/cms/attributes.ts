/** Encodes and parses signed attributes: RFC 5652, 5.3 and 11. */
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

/** The values of the signed attributes. */
export interface SignedFacts {
  /** eContentType. */
  readonly contentType: string
  readonly messageDigest: Uint8Array
  readonly signingTime: Date
  readonly certificate: ReadCertificate
}

/** The attributes that can be encoded, by their names in `oids`. */
export type AttributeName = 'contentType' | 'messageDigest' | 'signingTime' | 'signingCertificateV2'

const encoders: Readonly<Record<AttributeName, (facts: SignedFacts) => Uint8Array>> = {
  contentType: ({ contentType }) => encodeOid(contentType),
  messageDigest: ({ messageDigest }) => encodeTlv(Tag.octetString, messageDigest),
  signingTime: ({ signingTime }) => time(signingTime),
  signingCertificateV2: ({ certificate }) => signingCertificateV2(certificate),
}

/** A signature format, defined by its signed attributes. */
export interface SignatureProfile {
  readonly name: string
  readonly attributes: readonly AttributeName[]
}

/** CAdES-B-B: ETSI EN 319 122-1, 6.3. */
export const cadesBB: SignatureProfile = {
  name: 'CAdES-B-B',
  attributes: ['contentType', 'messageDigest', 'signingTime', 'signingCertificateV2'],
}

/** Encodes the signed attributes as a SET OF in DER, which is what is signed. */
export function writeSignedAttributes(profile: SignatureProfile, facts: SignedFacts): Uint8Array {
  return setOf(
    profile.attributes.map((name) =>
      sequence(encodeOid(oids[name]), encodeTlv(Tag.set, encoders[name](facts))),
    ),
  )
}

/** The signed attributes of one signer. Absent attributes are undefined. */
export interface SignedAttributes {
  /**
   * The encodings that may have been signed, each a SET OF: the DER encoding, and the encoding in the file if it
   * differs from DER only in the order of elements.
   */
  readonly signed: readonly Uint8Array[]
  readonly contentType: string
  readonly messageDigest: Uint8Array
  readonly signingTime: Date | undefined
  /** The certificate references of signing-certificate (by SHA-1) and signing-certificate-v2, in this order. */
  readonly certificates: readonly CertificateReference[]
  /** The types of all attributes. */
  readonly types: ReadonlySet<string>
}

/** Attributes that may occur only once and with one value (RFC 5652, 11.1 to 11.3; RFC 5035, 3 and 4). */
const singleValued: ReadonlySet<string> = new Set([
  oids.contentType,
  oids.messageDigest,
  oids.signingTime,
  oids.signingCertificate,
  oids.signingCertificateV2,
])

/** Parses SignedAttributes, tagged [0] in the file. Throws RangeError. */
export function readSignedAttributes({
  value,
  whole,
}: Pick<BerElement, 'value' | 'whole'>): SignedAttributes {
  // RFC 5652, 5.4: the signature is over the DER encoding as a SET OF, even if the file has BER and the tag [0].
  const set = { tag: Tag.set, value, whole }
  const der = toDer(set)
  const unsorted = toDer(set, 'kept')
  const isInDerButForOrder = equalBytes(unsorted.subarray(1), whole.subarray(1)) && !equalBytes(unsorted, der)
  const types = new Set<string>()
  const found = new Map<string, Uint8Array>()
  for (const [type, values] of attributesIn(onlyBer(der, Tag.set).value)) {
    if (singleValued.has(type)) {
      // Verifiers might use different ones of two, so that one signature would be valid for two documents.
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
    signed: isInDerButForOrder ? [der, unsorted] : [der],
    contentType,
    messageDigest,
    // Parsed strictly although it is only reported, so that no wrong time is shown.
    signingTime: valueOf(oids.signingTime, readTime),
    certificates: [
      valueOf(oids.signingCertificate, (each) => readReference(each, 'SHA-1')),
      valueOf(oids.signingCertificateV2, (each) => readReference(each, 'SHA-256')),
    ].filter((each) => each !== undefined),
    types,
  }
}

/**
 * Parses the types of UnsignedAttributes, tagged [1] in the file. Throws RangeError, also for an attribute that has to
 * be signed (RFC 5652, 11.1 to 11.3): anybody could have added an unsigned digest.
 */
export function readUnsignedTypes({ value }: BerElement): ReadonlySet<string> {
  const types = new Set<string>()
  for (const [type] of attributesIn(value)) {
    if (singleValued.has(type)) throw new RangeError('an unsigned attribute that has to be signed')
    types.add(type)
  }
  return types
}

/** Parses the type and values of each attribute. Throws RangeError. */
function* attributesIn(bytes: Uint8Array): Generator<readonly [type: string, values: Uint8Array]> {
  for (const { tag, value } of elementsIn(bytes)) {
    const [type, values, ...more] = tag === Tag.sequence ? fieldsOf(value) : []
    if (type === undefined || values?.tag !== Tag.set || more.length > 0)
      throw new RangeError('not an attribute')
    yield [identifierOf(type), values.value]
  }
}
