/** Detached CMS signatures: RFC 5652, with the signed attributes of CAdES-B-B (ETSI EN 319 122-1, 5.1 and 5.2). */
import { requireCertificateUse } from '@webtoki/crypto'
import {
  fromBER,
  Constructed,
  type Integer,
  ObjectIdentifier,
  OctetString,
  Sequence,
  Set as AsnSet,
  UTCTime,
  GeneralizedTime,
} from 'asn1js'
import {
  Attribute,
  Certificate,
  ContentInfo,
  EncapsulatedContentInfo,
  IssuerAndSerialNumber,
  SignedAndUnsignedAttributes,
  SignedData,
  SignerInfo,
} from 'pkijs'
import { copyOf, viewOf } from '@webtoki/apdu/bytes'
import type { Signer, SignSignal } from '@webtoki/trust'
import { digestIdentifier, hashOf, signatureIdentifier, unsignedInteger } from './algorithms.ts'
import { documentAtCall, type DocumentData, type ReadOptions } from './data.ts'
import { type DigestElsewhere, digestsOf, hash } from './digest.ts'
import { DocumentError } from './errors.ts'
import { oids } from './oids.ts'

/** How a document is signed. */
export interface SignDetachedOptions extends ReadOptions {
  /** Default: now. */
  readonly signingTime?: Date
  readonly signal?: SignSignal
  /** Digests elsewhere, in a worker say. Default: here, in pieces. */
  readonly digest?: DigestElsewhere
}

/**
 * Resolves to ContentInfo in DER, the `.p7s`. Rejects with CertificateUseError before anything is read or signed if the
 * certificate may not sign documents, with DocumentError, with RangeError if the signing time is an invalid Date, and with
 * whatever the signer says.
 */
export async function signDetached(
  signer: Signer,
  data: DocumentData,
  options: SignDetachedOptions = {},
): Promise<Uint8Array> {
  const { signal } = options
  const signingTime = new Date(options.signingTime ?? Date.now())
  // It could not be written, and the person would have given the PIN for it.
  if (Number.isNaN(signingTime.getTime())) throw new RangeError('The signing time is an invalid Date.')
  const name = hashOf(signer.algorithm)
  // Read before anything else: a certificate that cannot be named would cost the person a PIN for nothing.
  const certificate = readCertificate(signer.certificate)
  // As it stands in the file: who verifies asks the same.
  requireCertificateUse(new Uint8Array(certificate.toSchema().toBER()), 'signing')
  const chain = signer.chain.map(readCertificate)
  const digest = (await digestsOf([name], documentAtCall(data), options))[name]
  const attributes = inDerOrder([
    new Attribute({ type: oids.contentType, values: [new ObjectIdentifier({ value: oids.data })] }),
    new Attribute({ type: oids.messageDigest, values: [octets(digest)] }),
    new Attribute({ type: oids.signingTime, values: [timeOf(signingTime)] }),
    new Attribute({
      type: oids.signingCertificateV2,
      values: [signingCertificate(certificate)],
    }),
  ])
  const signed = new AsnSet({ value: attributes.map((attribute) => attribute.toSchema()) }).toBER()
  const signature = viewOf(await signer.sign(new Uint8Array(signed), signal === undefined ? {} : { signal }))
  const signedData = new SignedData({
    version: 1,
    digestAlgorithms: [digestIdentifier(name)],
    encapContentInfo: new EncapsulatedContentInfo({ eContentType: oids.data }),
    certificates: [certificate, ...chain],
    signerInfos: [
      new SignerInfo({
        version: 1,
        sid: new IssuerAndSerialNumber({
          issuer: certificate.issuer,
          serialNumber: certificate.serialNumber,
        }),
        digestAlgorithm: digestIdentifier(name),
        signedAttrs: new SignedAndUnsignedAttributes({ type: 0, attributes: [...attributes] }),
        signatureAlgorithm: signatureIdentifier(signer.algorithm),
        signature: octets(signer.algorithm.startsWith('ES') ? derSignature(signature) : signature),
      }),
    ],
  })
  const content = new ContentInfo({ contentType: oids.signedData, content: signedData.toSchema(true) })
  return new Uint8Array(content.toSchema().toBER())
}

function readCertificate(der: Uint8Array): Certificate {
  try {
    return new Certificate({ schema: fromBER(copyOf(der)).result })
  } catch (cause) {
    throw new DocumentError('certificate-missing', { cause })
  }
}

/** DER orders a SET OF by its encoded elements (X.690, 11.6). */
function inDerOrder(attributes: readonly Attribute[]): readonly Attribute[] {
  const encoded = attributes.map(
    (attribute) => [attribute, new Uint8Array(attribute.toSchema().toBER())] as const,
  )
  encoded.sort(([, a], [, b]) => compare(a, b))
  return encoded.map(([attribute]) => attribute)
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const difference = (a[at] as number) - (b[at] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/**
 * SigningCertificateV2, RFC 5035, 3: SHA-256 is the default hash and is not written. It is of the certificate as it
 * stands in the file: what a card keeps may be longer.
 */
function signingCertificate(certificate: Certificate): Sequence {
  const digest = hash('SHA-256', new Uint8Array(certificate.toSchema().toBER()))
  const issuer = new Constructed({
    idBlock: { tagClass: 3, tagNumber: 4 },
    value: [certificate.issuer.toSchema()],
  })
  const issuerSerial = new Sequence({
    value: [new Sequence({ value: [issuer] }), certificate.serialNumber],
  })
  const identifier = new Sequence({ value: [octets(digest), issuerSerial] })
  return new Sequence({ value: [new Sequence({ value: [identifier] })] })
}

/** UTCTime until 2049, GeneralizedTime from then on (RFC 5652, 11.3); whole seconds. */
function timeOf(date: Date): UTCTime | GeneralizedTime {
  const valueDate = new Date(Math.floor(date.getTime() / 1000) * 1000)
  const year = valueDate.getUTCFullYear()
  return year >= 1950 && year < 2050 ? new UTCTime({ valueDate }) : new GeneralizedTime({ valueDate })
}

function octets(bytes: Uint8Array): OctetString {
  return new OctetString({ valueHex: copyOf(bytes) })
}

/** r‖s as Ecdsa-Sig-Value (RFC 3279, 2.2.3). */
function derSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  const value: Integer[] = [unsignedInteger(raw.subarray(0, half)), unsignedInteger(raw.subarray(half))]
  return new Uint8Array(new Sequence({ value }).toBER())
}
