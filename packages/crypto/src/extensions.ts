/** Decodes the extensions of a certificate: RFC 5280, 4.2. Needs no ASN.1 library, so that page bundles stay small. */
import { type DerElement, objectIdentifier, onlyElement, sequenceOf, Tag } from './der.ts'

/** One extension. */
export interface ReadExtension {
  /** Object identifier. */
  readonly id: string
  readonly critical: boolean
  /** Content in DER. */
  readonly value: Uint8Array
}

/** Extensions by their object identifiers. */
export type Extensions = ReadonlyMap<string, ReadExtension>

/**
 * Decodes the extensions from the fields after the key in a TBSCertificate: issuerUniqueID [1] and subjectUniqueID [2],
 * which are ignored, and extensions [3]. Each may occur once, in this order. Throws RangeError.
 */
export function extensionsOf(fields: readonly DerElement[]): Extensions {
  const found = new Map<string, ReadExtension>()
  let before = 0
  for (const { tag } of fields) {
    const place = [0x81, 0x82, 0xa3].indexOf(tag) + 1
    if (place <= before) throw new RangeError('not a TBSCertificate')
    before = place
  }
  if (before < 3) return found
  const field = fields.at(-1) as DerElement
  for (const each of sequenceOf(field.value)) {
    const parts = sequenceOf(each.der)
    const [oid, flag] = parts
    const value = parts.at(-1)
    if (oid === undefined || flag === undefined || value?.tag !== Tag.octetString || parts.length > 3)
      throw new RangeError('not an Extension')
    const id = objectIdentifier(oid)
    // RFC 5280, 4.2 forbids duplicates. Verifiers would differ in which one they use.
    if (found.has(id)) throw new RangeError('a duplicate extension')
    found.set(id, { id, critical: parts.length === 3 && readBoolean(flag), value: value.value })
  }
  return found
}

/** Decodes a BOOLEAN. Throws RangeError. */
export function readBoolean({ tag, value }: DerElement): boolean {
  const [byte, ...more] = value
  if (tag !== Tag.boolean || more.length > 0 || (byte !== 0 && byte !== 0xff))
    throw new RangeError('not a BOOLEAN')
  return byte === 0xff
}

/** Object identifiers of extensions (RFC 5280, 4.2.1). */
export const ExtensionId = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  cRLDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  policyMappings: '2.5.29.33',
  policyConstraints: '2.5.29.36',
  extendedKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
} as const

const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

/** Name of a bit of KeyUsage (RFC 5280, 4.2.1.3). */
export type KeyUsage = (typeof keyUsages)[number]

/** Decodes KeyUsage (RFC 5280, 4.2.1.3). Throws RangeError. */
export function readKeyUsage(der: Uint8Array): readonly KeyUsage[] {
  const [unused, ...bytes] = onlyElement(der, Tag.bitString).value
  // Nine bits are defined, so two bytes suffice. The unused bits of the last byte must be zero (X.690, 11.2.1).
  const isValid =
    unused !== undefined &&
    unused <= (bytes.length === 0 ? 0 : 7) &&
    bytes.length <= 2 &&
    ((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) === 0
  if (!isValid) throw new RangeError('not a KeyUsage')
  return keyUsages.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

/** Decodes ExtendedKeyUsage (RFC 5280, 4.2.1.12) to the object identifiers of its purposes. Throws RangeError. */
export function readExtendedKeyUsage(der: Uint8Array): readonly string[] {
  return nonEmpty(sequenceOf(der)).map(objectIdentifier)
}

/** Decodes BasicConstraints (RFC 5280, 4.2.1.9). `pathLength` is Infinity if it is absent. Throws RangeError. */
export function readBasicConstraints(der: Uint8Array): {
  readonly isCa: boolean
  readonly pathLength: number
} {
  const parts = [...sequenceOf(der)]
  const isCa = parts[0]?.tag === Tag.boolean && readBoolean(parts.shift() as DerElement)
  const [length, ...more] = parts
  if (more.length > 0) throw new RangeError('not BasicConstraints')
  return { isCa, pathLength: length === undefined ? Infinity : readCount(length, Tag.integer) }
}

/** Decodes a non-negative number with the given tag. Numbers of more than four bytes become 2^31 - 1. Throws RangeError. */
export function readCount({ tag, value }: DerElement, expectedTag: number): number {
  const [first, second] = value
  if (tag !== expectedTag || first === undefined || first >= 0x80)
    throw new RangeError('not a non-negative number')
  if (first === 0 && second !== undefined && second < 0x80)
    throw new RangeError('a number with leading zeros')
  return value.length > 4 ? 0x7fff_ffff : value.reduce((sum, byte) => sum * 0x100 + byte, 0)
}

/** One certificate policy. */
export interface ReadPolicy {
  /** Object identifier. */
  readonly id: string
  /** Object identifiers of the qualifiers. */
  readonly qualifiers: readonly string[]
}

/** Decodes CertificatePolicies (RFC 5280, 4.2.1.4), without the content of qualifiers. Throws RangeError. */
export function readPolicies(der: Uint8Array): readonly ReadPolicy[] {
  return nonEmpty(sequenceOf(der)).map((each) => {
    const [id, qualifiers, ...more] = sequenceOf(each.der)
    if (id === undefined || more.length > 0) throw new RangeError('not a PolicyInformation')
    return {
      id: objectIdentifier(id),
      qualifiers: qualifiers === undefined ? [] : sequenceOf(qualifiers.der).map(qualifierOf),
    }
  })
}

function qualifierOf({ der }: DerElement): string {
  const [id, content, ...more] = sequenceOf(der)
  if (id === undefined || content === undefined || more.length > 0)
    throw new RangeError('not a PolicyQualifierInfo')
  return objectIdentifier(id)
}

function nonEmpty<T>(list: readonly T[]): readonly T[] {
  if (list.length === 0) throw new RangeError('an empty list')
  return list
}
