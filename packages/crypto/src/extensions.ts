/** The extensions of a certificate: RFC 5280, 4.2. Without pkijs, so that a page's bundle may have it. */
import { type DerElement, objectIdentifier, onlyElement, sequenceOf, Tag } from './der.ts'

/** One extension. */
export interface ReadExtension {
  readonly id: string
  readonly critical: boolean
  /** In DER. */
  readonly value: Uint8Array
}

/** By their identifiers. */
export type Extensions = ReadonlyMap<string, ReadExtension>

/**
 * Of what follows the key in a TBSCertificate: issuerUniqueID [1] and subjectUniqueID [2], which nobody looks at, and
 * extensions [3], each at most once and in this order. Throws RangeError.
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
    // RFC 5280, 4.2: one of each. Of two, every verifier would take another.
    if (found.has(id)) throw new RangeError('an extension twice')
    found.set(id, { id, critical: parts.length === 3 && readBoolean(flag), value: value.value })
  }
  return found
}

/** Throws RangeError. */
export function readBoolean({ tag, value }: DerElement): boolean {
  const [byte, ...more] = value
  if (tag !== Tag.boolean || more.length > 0 || (byte !== 0 && byte !== 0xff))
    throw new RangeError('not a BOOLEAN')
  return byte === 0xff
}

/** By their identifiers, what this file reads (RFC 5280, 4.2.1). */
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

/** Names of the bits of KeyUsage, RFC 5280, 4.2.1.3. */
export type KeyUsage = (typeof keyUsages)[number]

/** KeyUsage (RFC 5280, 4.2.1.3). Throws RangeError. */
export function readKeyUsage(der: Uint8Array): readonly KeyUsage[] {
  const [unused, ...bytes] = onlyElement(der, Tag.bitString).value
  // Nine bits are defined. What stands in the unused ones is not a bit of the string (X.690, 11.2.1).
  const isRead =
    unused !== undefined &&
    unused <= (bytes.length === 0 ? 0 : 7) &&
    bytes.length <= 2 &&
    ((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) === 0
  if (!isRead) throw new RangeError('not a KeyUsage')
  return keyUsages.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

/** The purposes of ExtendedKeyUsage (RFC 5280, 4.2.1.12). Throws RangeError. */
export function readExtendedKeyUsage(der: Uint8Array): readonly string[] {
  return filled(sequenceOf(der)).map(objectIdentifier)
}

/** BasicConstraints (RFC 5280, 4.2.1.9). Throws RangeError. */
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

/** A number from 0 on, under a tag of its own. One that is larger than any path is any such number. Throws RangeError. */
export function readCount({ tag, value }: DerElement, wanted: number): number {
  const [first, second] = value
  if (tag !== wanted || first === undefined || first >= 0x80) throw new RangeError('not a count')
  if (first === 0 && second !== undefined && second < 0x80)
    throw new RangeError('a count with zeros before it')
  return value.length > 4 ? 0x7fff_ffff : value.reduce((sum, byte) => sum * 0x100 + byte, 0)
}

/** One policy, and of what kinds its qualifiers are. */
export interface ReadPolicy {
  readonly id: string
  readonly qualifiers: readonly string[]
}

/** CertificatePolicies (RFC 5280, 4.2.1.4). What qualifiers say is not read. Throws RangeError. */
export function readPolicies(der: Uint8Array): readonly ReadPolicy[] {
  return filled(sequenceOf(der)).map((each) => {
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

function filled<T>(list: readonly T[]): readonly T[] {
  if (list.length === 0) throw new RangeError('an empty list')
  return list
}
