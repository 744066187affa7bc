/** Encodes and parses SignerInfo, one signature of a SignedData: RFC 5652, 5.3. */
import { type Name, type ReadCertificate, readName, Tag, encodeTlv } from '@webtoki/crypto'
import { type BerElement, fieldsOf, octetsOf, toDer } from './ber.ts'
import { readSignedAttributes, readUnsignedTypes, type SignedAttributes } from './attributes.ts'
import { issuerOf } from './certificate-reference.ts'
import { sequence } from './der-writer.ts'

/** The fields of a SignerInfo to encode. */
export interface SignerInfoFields {
  readonly certificate: ReadCertificate
  /** AlgorithmIdentifiers in DER. */
  readonly digestAlgorithm: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  /** The signed SET OF in DER. */
  readonly signedAttributes: Uint8Array
  /** An ECDSA signature is an Ecdsa-Sig-Value. */
  readonly signature: Uint8Array
}

/** Encodes a SignerInfo in DER. */
export function writeSignerInfo(fields: SignerInfoFields): Uint8Array {
  const { certificate, signedAttributes } = fields
  const attributes = Uint8Array.from(signedAttributes)
  // RFC 5652, 5.4: signed with the tag of a SET OF, but tagged [0] in the file.
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

/**
 * Identifies the signer's certificate: by issuer and serial number (the content of the INTEGER), or by
 * subjectKeyIdentifier.
 */
export type SignerIdentifier =
  | { readonly issuer: Name; readonly serialNumber: Uint8Array }
  | { readonly subjectKeyIdentifier: Uint8Array }

/** A parsed SignerInfo. */
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

/** Parses a SignerInfo. Throws RangeError. */
export function readSignerInfo(info: BerElement): SignerInfo {
  const fields = [...fieldsOfSigner(info)]
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

/**
 * Returns the size of the signed attributes, which determines the cost of verification; 0 for a damaged SignerInfo,
 * which is not verified.
 */
export function signedBytesOf(info: BerElement): number {
  try {
    return fieldsOfSigner(info).find(({ tag }) => tag === 0xa0)?.whole.length ?? 0
  } catch {
    return 0
  }
}

function fieldsOfSigner({ tag, value }: BerElement): readonly BerElement[] {
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
