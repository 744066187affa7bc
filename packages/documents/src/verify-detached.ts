/** Verification of detached CMS signatures: RFC 5652, 5.4 and 5.6, and the attributes that CAdES-B-B asks for. */
import {
  certificateUse,
  type CertificateUse,
  type DerElement,
  holderOf,
  type Name,
  nameOfScheme,
  objectIdentifier,
  onlyElement,
  type ReadCertificate,
  readName,
  readTime,
  sequenceOf,
  type SignatureScheme,
  Tag,
} from '@webtoki/crypto'
import { keyOf, type ByteSource, copyOf, equalBytes, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { Pace } from '@webtoki/apdu/pace'
import { type SignatureVerdict, SignatureVerifier } from '@webtoki/trust'
import { PathMemory } from '@webtoki/trust/path'
import { foundAlgorithm, foundHash } from './algorithms.ts'
import { readSignedData, type SignedAttributes, type SignedDataParts, type SignerParts } from './cms.ts'
import { documentAtCall, type DocumentData, type ReadOptions } from './data.ts'
import { type DigestElsewhere, digestsOf, hash, type HashName } from './digest.ts'
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
   * others of the file, `at`, and a memory for `verifyPath`, the same for all signers. It is asked once for each certificate
   * that signed. Without an explicit yes, the certificate is not trusted; nor if it rejects.
   */
  readonly trust:
    | ((
        certificate: Uint8Array,
        others: readonly Uint8Array[],
        at: Date,
        memory: PathMemory,
      ) => Promise<TrustAnswer>)
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
  /** Tells a signature that was not made with the key from one that cannot be verified here. */
  readonly signature: SignatureVerdict
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
  // Whatever the caller does with them meanwhile.
  const own = documentAtCall(data)
  const at = new Date(options.at ?? Date.now())
  const pace = new Pace()
  const parts = guarded(() => readSignedData(signature))
  if (parts.signers.length === 0) throw new DocumentError('no-signer')
  const memory = new PathMemory()
  const certificates = await certificatesOf(parts, memory, pace)
  const readings: Reading[] = []
  for (const info of parts.signers) {
    if (pace.isDue) await pace.turn()
    readings.push(guarded(() => readSigner(info, certificates)))
  }
  const names = [...new Set(readings.map(({ digestHash }) => digestHash))]
  const digests = await digestsOf(names, own, options)
  const judge: Judge = {
    memory,
    verifier: new SignatureVerifier(),
    trusts: new Map(),
    certificates,
    trust: options.trust,
    at,
  }
  const signers: FoundSigner[] = []
  for (const reading of readings) {
    if (pace.isDue) await pace.turn()
    signers.push(await check(reading, digests[reading.digestHash], judge))
  }
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

/** The certificates of a file, each once. */
interface Certificates {
  readonly all: readonly ReadCertificate[]
  readonly byIssuerAndSerial: ReadonlyMap<string, ReadCertificate>
  readonly bySubjectKey: ReadonlyMap<string, ReadCertificate>
  /** One or more could not be read. They lead nowhere, unless one of them is a signer's. */
  readonly areDamaged: boolean
}

async function certificatesOf(
  { certificates }: SignedDataParts,
  memory: PathMemory,
  pace: Pace,
): Promise<Certificates> {
  const all = new Set<ReadCertificate>()
  const byIssuerAndSerial = new Map<string, ReadCertificate>()
  const bySubjectKey = new Map<string, ReadCertificate>()
  let areDamaged = false
  for (const der of certificates) {
    if (pace.isDue) await pace.turn()
    try {
      const read = memory.read(der)
      if (all.has(read)) continue
      all.add(read)
      const name = issuerAndSerial(read.issuer, read.serialNumber)
      // Of two that are named alike, the first, as ever.
      if (!byIssuerAndSerial.has(name)) byIssuerAndSerial.set(name, read)
      const identifier = read.extensions.get(SUBJECT_KEY_IDENTIFIER)?.value
      // An OCTET STRING of less than 128 bytes: what stands after its two bytes of header.
      const id = identifier === undefined ? undefined : keyOf(identifier.subarray(2))
      if (id !== undefined && !bySubjectKey.has(id)) bySubjectKey.set(id, read)
    } catch {
      areDamaged = true
    }
  }
  return { all: [...all], byIssuerAndSerial, bySubjectKey, areDamaged }
}

const SUBJECT_KEY_IDENTIFIER = '2.5.29.14'

function issuerAndSerial(issuer: Name, serialNumber: Uint8Array): string {
  return `${keyOf(serialNumber)} ${issuer.key}`
}

interface Reading {
  readonly read: ReadCertificate
  readonly algorithm: SignatureScheme
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
  /** IssuerSerial in DER; undefined if the attribute leaves issuer and serial number to the hash. */
  readonly issuerSerial: Uint8Array | undefined
}

function readSigner(signer: SignerParts, certificates: Certificates): Reading {
  const read = certificateNamed(signer, certificates)
  if (read === undefined)
    throw new DocumentError(certificates.areDamaged ? 'malformed' : 'certificate-missing')
  const values = onlyValues(signer.signedAttributes?.all ?? [])
  const value = <T>(type: string, reader: (der: Uint8Array) => T): T | undefined => {
    const der = values.get(type)
    return der && reader(der)
  }
  return {
    read,
    algorithm: foundAlgorithm(signer.signatureAlgorithm, signer.digestAlgorithm),
    digestHash: foundHash(signer.digestAlgorithm),
    signature: signer.signature,
    attributes: signer.signedAttributes?.signed,
    messageDigest: value(oids.messageDigest, (der) => onlyElement(der, Tag.octetString).value),
    contentType: value(oids.contentType, (der) => objectIdentifier(onlyElement(der))),
    // Strict, though it is only reported: a file that names no time is not shown with some other one.
    signingTime: value(oids.signingTime, readTime),
    namedCertificate: value(oids.signingCertificateV2, readNamedCertificate),
  }
}

/**
 * Of an attribute that stands there twice, or with two values, each verifier would take another: one signature over two
 * documents. RFC 5652, 11.1 to 11.3, and RFC 5035, 3, allow one attribute of one value.
 */
function onlyValues(attributes: SignedAttributes['all']): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  for (const { type, values } of attributes) {
    if (!once.has(type)) continue
    const [value, ...more] = values
    if (found.has(type) || value === undefined || more.length > 0) throw new DocumentError('malformed')
    found.set(type, value)
  }
  return found
}

function certificateNamed(
  { certificate }: SignerParts,
  { byIssuerAndSerial, bySubjectKey }: Certificates,
): ReadCertificate | undefined {
  if ('subjectKeyIdentifier' in certificate) return bySubjectKey.get(keyOf(certificate.subjectKeyIdentifier))
  return byIssuerAndSerial.get(issuerAndSerial(readName(certificate.issuer), certificate.serialNumber))
}

/** The first ESSCertIDv2: a hash, if it is not SHA-256, then the digest, then issuer and serial number (RFC 5035, 4). */
function readNamedCertificate(attribute: Uint8Array): NamedCertificate {
  const [certificates] = sequenceOf(attribute)
  const [first] = certificates === undefined ? [] : sequenceOf(certificates.der)
  const values: DerElement[] = first === undefined ? [] : [...sequenceOf(first.der)]
  const algorithm = values[0]?.tag === Tag.sequence ? values.shift() : undefined
  const [digest, issuerSerial] = values
  if (digest?.tag !== Tag.octetString) throw new DocumentError('malformed')
  return {
    name: algorithm === undefined ? 'SHA-256' : foundHash(algorithm.der),
    digest: digest.value,
    issuerSerial: issuerSerial?.der,
  }
}

/** All that the attribute says has to be true of the certificate: of two answers, verifiers would take either. */
function isThatNamed(
  { name, digest, issuerSerial }: NamedCertificate,
  { der, issuer, serialNumber }: ReadCertificate,
): boolean {
  if (!equalBytes(hash(name, der), digest)) return false
  if (issuerSerial === undefined) return true
  try {
    const [names, serial] = sequenceOf(issuerSerial)
    const [directoryName, ...more] = names === undefined ? [] : sequenceOf(names.der)
    return (
      serial !== undefined &&
      directoryName?.tag === 0xa4 &&
      more.length === 0 &&
      readName(directoryName.value).key === issuer.key &&
      equalBytes(serial.value, serialNumber)
    )
  } catch {
    return false
  }
}

/** What all signers of a file are checked with. */
interface Judge {
  readonly memory: PathMemory
  readonly verifier: SignatureVerifier
  /** Of each certificate that signed. */
  readonly trusts: Map<ReadCertificate, ReturnType<typeof trustOf>>
  readonly certificates: Certificates
  readonly trust: VerifyDetachedOptions['trust']
  readonly at: Date
}

async function check(reading: Reading, digest: Uint8Array, judge: Judge): Promise<FoundSigner> {
  const { read, algorithm, attributes, namedCertificate, signingTime, signature } = reading
  const { verifier, trusts, certificates } = judge
  const digestMatches =
    reading.contentType === oids.data &&
    reading.messageDigest !== undefined &&
    equalBytes(reading.messageDigest, digest)
  // Without attributes the document itself is signed, and its bytes are not kept: such a file is not taken.
  const verdict =
    attributes === undefined
      ? 'unsupported'
      : await verifier.verify(read.publicKeyInfo, algorithm, signature, attributes)
  const others = (): Uint8Array[] =>
    certificates.all.filter((each) => each !== read).map(({ der }) => copyOf(der))
  const trust = trusts.get(read) ?? trustOf(read.der, others, judge)
  trusts.set(read, trust)
  return {
    certificate: copyOf(read.der),
    subject: holderOf(read),
    signingTime,
    algorithm: nameOfScheme(algorithm),
    digestMatches,
    signatureValid: verdict === 'valid',
    signature: verdict,
    signingCertificateMatches:
      namedCertificate === undefined ? undefined : isThatNamed(namedCertificate, read),
    level: namedCertificate !== undefined && signingTime !== undefined ? 'CAdES-B-B' : 'CMS',
    use: certificateUse(read.der, 'signing'),
    ...(await trust),
  }
}

async function trustOf(
  der: Uint8Array,
  others: () => readonly Uint8Array[],
  { trust, at, memory }: Judge,
): Promise<Pick<FoundSigner, 'trust' | 'trustError'>> {
  if (trust === notChecked) return { trust: 'not-checked' }
  try {
    const answer: unknown = await trust(copyOf(der), others(), at, memory)
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
  return answer === true || (isByteSource(first) && equalBytes(viewOf(first), der))
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
