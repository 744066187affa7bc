/** One signature of a SignedData: RFC 5652, 5.3. */
import { type Name, type ReadCertificate, readName, Tag, encodeTlv } from '@webtoki/crypto'
import { type BerElement, fieldsOf, octetsOf, toDer } from './ber.ts'
import { readSignedAttributes, readUnsignedTypes, type SignedAttributes } from './attributes.ts'
import { issuerOf } from './certificate-reference.ts'
import { sequence } from './der-writer.ts'

/** What a SignerInfo is written from. */
export interface SignerInfoFields {
  readonly certificate: ReadCertificate
  /** AlgorithmIdentifiers in DER. */
  readonly digestAlgorithm: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  /** SET OF in DER: what was signed. */
  readonly signedAttributes: Uint8Array
  /** ECDSA as Ecdsa-Sig-Value. */
  readonly signature: Uint8Array
}

/** A SignerInfo in DER. */
export function writeSignerInfo(fields: SignerInfoFields): Uint8Array {
  const { certificate, signedAttributes } = fields
  const attributes = Uint8Array.from(signedAttributes)
  // Signed as the SET that they are, tagged [0] in the file (RFC 5652, 5.4).
  attributes[0] = 0xa0
  return sequence(
    encodeTlv(Tag.integer, [1]),
    sequence(issuerOf(certificate), encodeTlv(Tag.integer, certificate.serialNumber)),
    fields.digestAlgorithm,
    attributes,
    fields.signatureAlgorithm,
    encodeTlv(Tag.octetString, fields.signature),
  )
}

/** Which certificate signed: Name and the INTEGER's content, or its subjectKeyIdentifier. */
export type SignerIdentifier =
  | { readonly issuer: Name; readonly serialNumber: Uint8Array }
  | { readonly subjectKeyIdentifier: Uint8Array }

/** What stands in a SignerInfo. */
export interface SignerInfo {
  readonly identifier: SignerIdentifier
  /** AlgorithmIdentifiers in DER. */
  readonly digestAlgorithm: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  /** Undefined if the content itself is signed. */
  readonly attributes: SignedAttributes | undefined
  readonly unsignedTypes: ReadonlySet<string>
  readonly signature: Uint8Array
}

/** Reads a SignerInfo. Throws RangeError. */
export function readSignerInfo(info: BerElement): SignerInfo {
  const fields = [...split(info)]
  const [version, identifier, digestAlgorithm] = fields.splice(0, 3)
  const attributes = fields[0]?.tag === 0xa0 ? fields.shift() : undefined
  const [signatureAlgorithm, signature, unsigned, ...more] = fields
  if (version?.tag !== Tag.integer || identifier === undefined || digestAlgorithm === undefined)
    throw new RangeError('not a SignerInfo')
  if (signatureAlgorithm === undefined || signature === undefined || more.length > 0)
    throw new RangeError('not a SignerInfo')
  if (unsigned !== undefined && unsigned.tag !== 0xa1) throw new RangeError('not UnsignedAttributes')
  return {
    identifier: readIdentifier(identifier),
    digestAlgorithm: toDer(digestAlgorithm),
    signatureAlgorithm: toDer(signatureAlgorithm),
    attributes: attributes && readSignedAttributes(attributes),
    unsignedTypes: unsigned === undefined ? new Set() : readUnsignedTypes(unsigned),
    signature: octetsOf(signature),
  }
}

/** How many bytes its signed attributes have, which cost time to read and to verify. One that is damaged costs none. */
export function signedBytesOf(info: BerElement): number {
  try {
    return split(info).find(({ tag }) => tag === 0xa0)?.whole.length ?? 0
  } catch {
    return 0
  }
}

function split({ tag, value }: BerElement): readonly BerElement[] {
  if (tag !== Tag.sequence) throw new RangeError('not a SignerInfo')
  return fieldsOf(value)
}

/** Throws RangeError. */
function readIdentifier({ tag, value }: BerElement): SignerIdentifier {
  if (tag === 0x80) return { subjectKeyIdentifier: value }
  const [issuer, serialNumber, ...more] = tag === Tag.sequence ? fieldsOf(value) : []
  if (issuer === undefined || serialNumber?.tag !== Tag.integer || more.length > 0)
    throw new RangeError('not a SignerIdentifier')
  return { issuer: readName(toDer(issuer)), serialNumber: serialNumber.value }
}
