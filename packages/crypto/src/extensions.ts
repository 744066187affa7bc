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

/** Of the fields of a TBSCertificate: none if there is no [3]. Throws RangeError. */
export function extensionsOf(fields: readonly DerElement[]): Extensions {
  const found = new Map<string, ReadExtension>()
  const [field, ...others] = fields.filter(({ tag }) => tag === 0xa3)
  if (others.length > 0) throw new RangeError('extensions twice')
  if (field === undefined) return found
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

/** The first byte of KeyUsage, its first bit the highest (RFC 5280, 4.2.1.3); 0 if it is empty. Throws RangeError. */
export function readKeyUsage(der: Uint8Array): number {
  const [unused, first] = onlyElement(der, Tag.bitString).value
  if (unused === undefined || unused > 7) throw new RangeError('not a KeyUsage')
  return first ?? 0
}
