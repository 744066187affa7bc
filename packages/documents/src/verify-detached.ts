/** Verification of detached CMS signatures: RFC 5652, 5.4 and 5.6, and the attributes that CAdES-B-B asks for. */
import { type Constructed, fromBER, type Integer, type OctetString, type Sequence } from 'asn1js'
import {
  type Attribute,
  Certificate,
  ContentInfo,
  IssuerAndSerialNumber,
  RelativeDistinguishedNames,
  SignedData,
  type SignerInfo,
} from 'pkijs'
import { type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { ecdsaNumbers } from '@webtoki/trust'
import { type CertificateUse, certificateUse } from '@webtoki/trust/certificate-use'
import { foundAlgorithm, type FoundAlgorithm, foundHash } from './algorithms.ts'
import type { DocumentData, ReadOptions } from './data.ts'
import { type DigestElsewhere, digestDocument, digestElsewhere, hash, type HashName } from './digest.ts'
import { DocumentError } from './errors.ts'
import { oids } from './oids.ts'

/** Said where nobody is asked whom to trust: it can be chosen, and not forgotten. */
export const notChecked: unique symbol = Symbol('trust is not checked')

/**
 * Whether a certificate is trusted. Yes is `true`, or a path in DER that begins with the certificate, as `verifyPath`
 * resolves to it. Whatever else comes is a no.
 */
export type TrustAnswer = boolean | readonly Uint8Array[]

/** How a signature is verified. */
export interface VerifyDetachedOptions extends ReadOptions {
  /** Digests elsewhere, in a worker say; asked once for each hash. Default: here, in pieces. */
  readonly digest?: DigestElsewhere
  /**
   * Says whether the certificate is trusted: `trustedBy(anchors)`, or a function that gets the signer's certificate, the
   * others of the file, and `at`. Without an explicit yes, the certificate is not trusted; nor if it rejects.
   */
  readonly trust:
    | ((certificate: Uint8Array, others: readonly Uint8Array[], at: Date) => Promise<TrustAnswer>)
    | typeof notChecked
  /**
   * The moment that counts; default: now. The signing time in the file is the signer's word alone, and an expired
   * certificate would be believed by it: hand in a moment that somebody attests.
   */
  readonly at?: Date
}

/** What was found of one signature. */
export interface FoundSigner {
  /** In DER. */
  readonly certificate: Uint8Array
  /** The certificate's common name; empty where it has none. */
  readonly subject: string
  /** As the signer claims; nobody else has attested it. */
  readonly signingTime: Date | undefined
  readonly algorithm: string
  /** The document is the one that was signed. False too where no signed attribute says which one that was. */
  readonly digestMatches: boolean
  /** The signature was made with the certificate's key. */
  readonly signatureValid: boolean
  /** The signed attribute names this certificate; undefined where the attribute is absent. */
  readonly signingCertificateMatches: boolean | undefined
  /** CAdES-B-B names its certificate and its time under the signature; CMS without these can be had otherwise. */
  readonly level: 'CAdES-B-B' | 'CMS'
  /** Whether the certificate may sign documents. */
  readonly use: CertificateUse
  readonly trust: 'trusted' | 'untrusted' | 'not-checked'
  /** Why it is not trusted. */
  readonly trustError?: unknown
}

/** What was found. */
export interface Verification {
  /**
   * Every signature fits the document and its certificate, which may sign documents and is trusted; under `notChecked`,
   * whoever it is of.
   */
  readonly valid: boolean
  readonly signers: readonly FoundSigner[]
}

/** The signed attributes that are looked at. */
const once: ReadonlySet<string> = new Set([
  oids.contentType,
  oids.messageDigest,
  oids.signingTime,
  oids.signingCertificateV2,
])

/** Rejects with DocumentError where the file cannot be read as a signature; a signature that is wrong is a result. */
export async function verifyDetached(
  signature: ByteSource,
  data: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Verification> {
  const signed = readSignedData(signature)
  if (signed.signerInfos.length === 0) throw new DocumentError('no-signer')
  const certificates = (signed.certificates ?? []).filter((each) => each instanceof Certificate)
  const readings = signed.signerInfos.map((info) => guarded(() => readSigner(info, certificates)))
  const names = [...new Set(readings.map(({ digestHash }) => digestHash))]
  const digests = await digestsOf(names, data, options)
  const signers = await Promise.all(
    readings.map((reading) =>
      check(reading, digests[reading.digestHash] as Uint8Array, certificates, options),
    ),
  )
  const valid = signers.every(
    (each) =>
      each.digestMatches &&
      each.signatureValid &&
      each.signingCertificateMatches !== false &&
      each.use === 'fitting' &&
      each.trust !== 'untrusted',
  )
  return { valid, signers }
}

async function digestsOf(
  names: readonly HashName[],
  data: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Readonly<Partial<Record<HashName, Uint8Array>>>> {
  const { digest } = options
  if (digest === undefined) return digestDocument(names, data, options)
  const digests: Partial<Record<HashName, Uint8Array>> = {}
  for (const name of names) digests[name] = await digestElsewhere(digest, name, data, options)
  return digests
}

function readSignedData(bytes: ByteSource): SignedData {
  const content = guarded(() => {
    const parsed = fromBER(copyOf(bytes))
    if (parsed.offset === -1) throw new RangeError(parsed.result.error)
    return new ContentInfo({ schema: parsed.result })
  })
  if (content.contentType !== oids.signedData) throw new DocumentError('not-signed-data')
  return guarded(() => new SignedData({ schema: content.content }))
}

interface Reading {
  readonly certificate: Certificate
  readonly der: Uint8Array
  readonly algorithm: FoundAlgorithm
  readonly digestHash: HashName
  readonly signature: Uint8Array
  /** The signed attributes as SET OF; undefined where the document itself is signed. */
  readonly attributes: Uint8Array | undefined
  readonly messageDigest: Uint8Array | undefined
  readonly contentType: string | undefined
  readonly signingTime: Date | undefined
  readonly namedCertificate: NamedCertificate | undefined
}

/** What the signed attribute says of the certificate. */
interface NamedCertificate {
  readonly name: HashName
  readonly digest: Uint8Array
  /** Undefined where the attribute leaves issuer and serial number to the hash. */
  readonly issuerSerial: Sequence | undefined
}

function readSigner(info: SignerInfo, certificates: readonly Certificate[]): Reading {
  const certificate = certificates.find((each) => isNamed(info, each))
  if (certificate === undefined) throw new DocumentError('certificate-missing')
  const values = onlyValues(info.signedAttrs?.attributes ?? [])
  const attributes =
    info.signedAttrs === undefined ? undefined : new Uint8Array(info.signedAttrs.encodedValue.slice(0))
  // Tagged [0] in the file, signed as the SET that they are (RFC 5652, 5.4).
  if (attributes !== undefined) attributes[0] = 0x31
  const digestValue = values.get(oids.messageDigest) as OctetString | undefined
  const time: unknown = values.get(oids.signingTime)
  const type = values.get(oids.contentType) as { getValue?: () => string } | undefined
  return {
    certificate,
    der: new Uint8Array(certificate.toSchema().toBER()),
    algorithm: foundAlgorithm(info.signatureAlgorithm, info.digestAlgorithm),
    digestHash: foundHash(info.digestAlgorithm),
    signature: copyOf(info.signature.valueBlock.valueHexView),
    attributes,
    messageDigest: digestValue?.valueBlock.valueHexView.slice(),
    contentType: type?.getValue?.(),
    signingTime: time !== undefined && time !== null ? dateOf(time) : undefined,
    namedCertificate: namedCertificateOf(values.get(oids.signingCertificateV2) as Sequence | undefined),
  }
}

/**
 * Of an attribute that stands there twice, or with two values, each verifier would take another: one signature over two
 * documents. RFC 5652, 11.1 to 11.3, and RFC 5035, 3, allow one attribute of one value.
 */
function onlyValues(attributes: readonly Attribute[]): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>()
  for (const attribute of attributes) {
    if (!once.has(attribute.type)) continue
    if (values.has(attribute.type) || attribute.values.length !== 1) throw new DocumentError('malformed')
    values.set(attribute.type, attribute.values[0])
  }
  return values
}

function isNamed({ sid }: SignerInfo, certificate: Certificate): boolean {
  if (sid instanceof IssuerAndSerialNumber) {
    return sid.issuer.isEqual(certificate.issuer) && sid.serialNumber.isEqual(certificate.serialNumber)
  }
  const identifier = certificate.extensions?.find(({ extnID }) => extnID === '2.5.29.14')?.parsedValue as
    | OctetString
    | undefined
  const wanted = (sid as { valueBlock?: { valueHexView?: Uint8Array } } | undefined)?.valueBlock?.valueHexView
  return identifier !== undefined && wanted !== undefined && same(identifier.valueBlock.valueHexView, wanted)
}

function dateOf(time: unknown): Date | undefined {
  const { toDate } = time as { toDate?: () => Date }
  return toDate?.call(time)
}

/** The first ESSCertIDv2: a hash, if it is not SHA-256, then the digest, then issuer and serial number (RFC 5035, 4). */
function namedCertificateOf(attribute: Sequence | undefined): NamedCertificate | undefined {
  if (attribute === undefined) return undefined
  const certs = attribute.valueBlock.value[0] as Sequence | undefined
  const values = (certs?.valueBlock.value[0] as Sequence | undefined)?.valueBlock.value ?? []
  const [first, second, third] = values
  if (first === undefined) throw new DocumentError('malformed')
  if ('valueHexView' in first.valueBlock && first.idBlock.tagNumber === 4) {
    const digest = (first as OctetString).valueBlock.valueHexView.slice()
    return { name: 'SHA-256', digest, issuerSerial: second as Sequence | undefined }
  }
  const [oid] = (first as Sequence).valueBlock.value
  const algorithmId = (oid as unknown as { getValue(): string }).getValue()
  const name = foundHash({ algorithmId } as Parameters<typeof foundHash>[0])
  const digest = (second as OctetString).valueBlock.valueHexView.slice()
  return { name, digest, issuerSerial: third as Sequence | undefined }
}

/** All that the attribute says has to be true of the certificate: of two answers, verifiers would take either. */
function isThatNamed(
  { name, digest, issuerSerial }: NamedCertificate,
  { der, certificate }: Reading,
): boolean {
  if (!same(hash(name, der), digest)) return false
  if (issuerSerial === undefined) return true
  try {
    const [names, serial] = issuerSerial.valueBlock.value as [Sequence, Integer]
    const [directoryName, ...more] = names.valueBlock.value as [Constructed, ...unknown[]]
    const issuer = new RelativeDistinguishedNames({ schema: directoryName.valueBlock.value[0] })
    return more.length === 0 && issuer.isEqual(certificate.issuer) && serial.isEqual(certificate.serialNumber)
  } catch {
    return false
  }
}

async function check(
  reading: Reading,
  digest: Uint8Array,
  certificates: readonly Certificate[],
  options: VerifyDetachedOptions,
): Promise<FoundSigner> {
  const { certificate, der, algorithm, attributes, namedCertificate, signingTime } = reading
  const digestMatches =
    reading.contentType === oids.data &&
    reading.messageDigest !== undefined &&
    same(reading.messageDigest, digest)
  // Without attributes the document itself is signed, and its bytes are not kept: such a file is not taken.
  const signatureValid = attributes !== undefined && (await isSigned(reading, attributes))
  const others = certificates
    .filter((each) => each !== certificate)
    .map((each) => new Uint8Array(each.toSchema().toBER()))
  const trust = await trustOf(der, others, options)
  const names: readonly { type: string; value: { valueBlock: { value: unknown } } }[] =
    certificate.subject.typesAndValues
  const subject: unknown = names.findLast(({ type }) => type === oids.commonName)?.value.valueBlock.value
  return {
    certificate: der,
    subject: typeof subject === 'string' ? subject : '',
    signingTime,
    algorithm: `${{ rsa: 'RSA', pss: 'RSA-PSS', ecdsa: 'ECDSA' }[algorithm.kind]} with ${algorithm.hash}`,
    digestMatches,
    signatureValid,
    signingCertificateMatches:
      namedCertificate === undefined ? undefined : isThatNamed(namedCertificate, reading),
    level: namedCertificate !== undefined && signingTime !== undefined ? 'CAdES-B-B' : 'CMS',
    use: certificateUse(der, 'signing'),
    ...trust,
  }
}

async function trustOf(
  der: Uint8Array,
  others: readonly Uint8Array[],
  { trust, at = new Date() }: VerifyDetachedOptions,
): Promise<Pick<FoundSigner, 'trust' | 'trustError'>> {
  if (trust === notChecked) return { trust: 'not-checked' }
  try {
    const answer: unknown = await trust(der, others, at)
    if (isYes(answer, der)) return { trust: 'trusted' }
    if (answer === false) throw new DocumentError('untrusted')
    const came = Array.isArray(answer) ? 'another path' : typeof answer
    throw new DocumentError('untrusted', {
      cause: new TypeError(
        `Yes is true, or a path that begins with the certificate; \`trust\` gave ${came}.`,
      ),
    })
  } catch (trustError) {
    return { trust: 'untrusted', trustError }
  }
}

function isYes(answer: unknown, der: Uint8Array): boolean {
  const first: unknown = Array.isArray(answer) ? answer[0] : undefined
  return answer === true || (ArrayBuffer.isView(first) && same(first as Uint8Array, der))
}

interface Subtle {
  importKey(
    format: 'spki',
    key: ArrayBuffer,
    algorithm: object,
    extractable: boolean,
    uses: readonly string[],
  ): Promise<object>
  verify(
    algorithm: object,
    key: object,
    signature: Uint8Array<ArrayBuffer>,
    data: Uint8Array<ArrayBuffer>,
  ): Promise<boolean>
}

const fieldBytes: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }
const curveOids: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
  '1.3.132.0.35': 'P-521',
}

/** False for whatever the platform cannot verify: it is not shown as valid. */
async function isSigned(reading: Reading, attributes: Uint8Array): Promise<boolean> {
  const { subtle } = (globalThis as unknown as { crypto: { subtle: Subtle } }).crypto
  const { kind, hash: hashName, saltBytes } = reading.algorithm
  try {
    const { subjectPublicKeyInfo } = reading.certificate
    const spki = subjectPublicKeyInfo.toSchema().toBER()
    let imported: object = { name: kind === 'pss' ? 'RSA-PSS' : 'RSASSA-PKCS1-v1_5', hash: hashName }
    let verified: object =
      kind === 'pss' ? { name: 'RSA-PSS', saltLength: saltBytes ?? 20 } : { name: 'RSASSA-PKCS1-v1_5' }
    let { signature } = reading
    if (kind === 'ecdsa') {
      const curve = (subjectPublicKeyInfo.algorithm.algorithmParams as { getValue(): string }).getValue()
      const namedCurve = curveOids[curve] ?? ''
      imported = { name: 'ECDSA', namedCurve }
      verified = { name: 'ECDSA', hash: hashName }
      signature = rawSignature(signature, fieldBytes[namedCurve] ?? 0)
    }
    const key = await subtle.importKey('spki', spki, imported, false, ['verify'])
    return await subtle.verify(verified, key, copyOf(signature), copyOf(attributes))
  } catch {
    return false
  }
}

/** Ecdsa-Sig-Value, in strict DER, as r‖s. */
function rawSignature(der: Uint8Array, bytes: number): Uint8Array {
  const raw = new Uint8Array(2 * bytes)
  for (const [at, magnitude] of ecdsaNumbers(der).entries()) {
    if (magnitude.length > bytes) throw new RangeError('An integer does not fit its curve.')
    raw.set(magnitude, (at + 1) * bytes - magnitude.length)
  }
  return raw
}

/** pkijs and asn1js throw many things at what is not what they expect. */
function guarded<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof DocumentError) throw error
    throw new DocumentError('malformed', { cause: error })
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at])
}
