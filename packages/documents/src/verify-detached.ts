/** Verification of detached CMS signatures: RFC 5652, 5.4 and 5.6, and the attributes that CAdES-B-B asks for. */
import {
  certificateUse,
  holderOf,
  type CertificateUse,
  nameOfScheme,
  type ReadCertificate,
} from '@webtoki/crypto'
import { copyOf, equalBytes, toHex } from '@webtoki/apdu/bytes'
import { Pace } from '@webtoki/apdu/pace'
import { notChecked, SignatureVerifier } from '@webtoki/trust'
import { PathMemory } from '@webtoki/trust/path'
import { moment, requireOptions, wrongArgument } from './arguments.ts'
import { type CertificateData, certificateList } from './certificate-list.ts'
import {
  certificateNamed,
  type Certificates,
  certificatesOf,
  isValidAt,
  type UnreadableCertificate,
} from './certificates.ts'
import type { SignedAttributes } from './cms/attributes.ts'
import type { BerElement } from './cms/ber.ts'
import { oids } from './cms/oids.ts'
import { readSignedData, type SignedData } from './cms/signed-data.ts'
import { readSignerInfo, type SignerInfo } from './cms/signer-info.ts'
import {
  algorithmsOf,
  type SignatureFindings,
  type SignedContent,
  verifySigner,
} from './cms/verify-signer.ts'
import { documentAtCall, type DocumentData, type ReadOptions } from './data.ts'
import { type DigestElsewhere, digestsOf, type HashName } from './digest.ts'
import { DocumentError } from './errors.ts'
import { kept } from './kept.ts'
import { wholeName } from './names.ts'
import { type Outcome, outcomeOf, problem, type SignatureProblem } from './outcome.ts'
import { readSignatureFile, type SignatureData } from './signature-file.ts'
import { type AskTrust, type Trust, trustIn } from './trust-answer.ts'

/** How a signature is verified. */
export interface VerifyDetachedOptions extends ReadOptions {
  /** Digests elsewhere, in a worker say; asked once for each hash. Default: here, in pieces. */
  readonly digest?: DigestElsewhere | undefined
  /**
   * Says whether the certificate is trusted: `trustedBy(anchors)`, or a function that gets the signer's certificate, the
   * others that are known, `at`, and a memory for `verifyPath`, the same for all signers. It is asked once for each
   * certificate that signed. Without an explicit yes, the certificate is not trusted; nor if it rejects.
   */
  readonly trust: AskTrust | typeof notChecked
  /** Certificates that the file may lack, in DER or PEM: signers' and those between. They are trusted no more than the file's. */
  readonly certificates?: readonly CertificateData[] | undefined
  /**
   * The moment that counts; default: now. The signing time in the file is the signer's word alone, and an expired
   * certificate would be believed by it: hand in a moment that somebody attests.
   */
  readonly at?: Date | undefined
}

/** What a file may have and what nobody has looked at here. */
export type NotChecked =
  | 'trust'
  | 'revocation'
  | 'signature-policy'
  | 'content-time-stamp'
  | 'signature-time-stamp'
  | 'archive-time-stamp'
  | 'counter-signature'

/** What a person should know of a signature that nevertheless passes. */
export type SignatureWarning =
  /** The signer claims a time at which the certificate was not valid. */
  | 'signing-time-outside-validity'
  /** The signed attribute names the certificate by SHA-1 alone. */
  | 'certificate-named-by-sha-1'

/** What was found of one signature. `indication` is the outcome; the rest says what it is made of. */
export interface FoundSigner extends Outcome, Omit<SignatureFindings, 'problems'>, Trust {
  /** In DER; undefined if it was not found. */
  readonly certificate: Uint8Array | undefined
  /** What the certificate has as a name of its holder (`holderOf`); empty without a certificate. */
  readonly subject: string
  /** The issuer's whole name; also of a certificate that is missing. */
  readonly issuer: string
  /** In hex. */
  readonly serialNumber: string
  /** Undefined without a certificate. */
  readonly notBefore: Date | undefined
  readonly notAfter: Date | undefined
  /** As the signer claims; nobody else has attested it. */
  readonly signingTime: Date | undefined
  /** For people; empty if it is not known here. */
  readonly algorithm: string
  /** CAdES-B-B names its certificate and its time under the signature; CMS without these can be had otherwise. */
  readonly level: 'CAdES-B-B' | 'CMS'
  /** Whether the certificate may sign documents; undefined without a certificate. */
  readonly use: CertificateUse | undefined
  readonly warnings: readonly SignatureWarning[]
  readonly notChecked: readonly NotChecked[]
}

/** What was found. */
export interface Verification {
  /** Every signature is TOTAL-PASSED; under `notChecked`, whoever it is of. */
  readonly valid: boolean
  readonly signers: readonly FoundSigner[]
  /** Certificates that cannot be read, whether a signer needs them or not; they make no file invalid. */
  readonly unreadableCertificates: readonly UnreadableCertificate[]
}

/**
 * Rejects with DocumentError if the file or the document cannot be read, or an argument is none. Whatever is wrong with a
 * signature is a result, and says nothing of the other signatures of the file.
 */
export async function verifyDetached(
  signature: SignatureData,
  data: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Verification> {
  requireOptions(options, 'an object with `trust`, which says whom you trust')
  if (options.trust !== notChecked && typeof options.trust !== 'function')
    throw wrongArgument('trust', 'trustedBy(anchors), a function, or notChecked')
  // Whatever the caller does with them meanwhile.
  const own = documentAtCall(data)
  const at = moment('at', options.at)
  const added = certificateList('certificates', options.certificates)
  const file = await readSignatureFile(signature)
  const pace = new Pace()
  const signedData = orMalformed(() => readSignedData(file))
  if (signedData.signerInfos.length === 0) throw new DocumentError('no-signer')
  const memory = new PathMemory()
  const certificates = await certificatesOf({ file: signedData.certificates, options: added }, memory, pace)
  const readings: Reading[] = []
  for (const info of signedData.signerInfos) {
    if (pace.isDue) await pace.turn()
    readings.push(readingOf(info, certificates))
  }
  const content = await contentOf(readings, signedData, own, options)
  const judge: Judge = {
    memory,
    verifier: new SignatureVerifier(),
    trusts: new Map(),
    certificates,
    trust: options.trust,
    at,
    content,
  }
  const signers: FoundSigner[] = []
  for (const reading of readings) {
    if (pace.isDue) await pace.turn()
    signers.push(await judged(reading, judge))
  }
  return {
    valid: signers.every(({ indication }) => indication === 'TOTAL-PASSED'),
    signers,
    unreadableCertificates: certificates.unreadable,
  }
}

function orMalformed<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof DocumentError) throw cause
    throw new DocumentError('malformed', { cause })
  }
}

/** A signature as it stands in the file; `error` if it cannot be read. */
type Reading =
  | {
      readonly info: SignerInfo
      readonly hash: HashName | undefined
      readonly algorithm: string
      readonly certificate: ReadCertificate | undefined
    }
  | { readonly error: unknown }

function readingOf(element: BerElement, certificates: Certificates): Reading {
  try {
    const info = readSignerInfo(element)
    const { hash, scheme } = algorithmsOf(info)
    return {
      info,
      hash: hash === 'weak' ? undefined : hash,
      algorithm: typeof scheme === 'object' ? nameOfScheme(scheme) : '',
      certificate: certificateNamed(info.identifier, certificates),
    }
  } catch (error) {
    return { error }
  }
}

/** What the signatures are over, and whether the file contains another document. */
interface Content extends SignedContent {
  readonly isAnother: boolean
}

async function contentOf(
  readings: readonly Reading[],
  { contentType, content }: SignedData,
  own: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Content> {
  const signers = readings.filter((each) => 'info' in each)
  const hashes = [...new Set(signers.flatMap(({ hash }) => hash ?? []))]
  const isWholeSigned = signers.some(({ info }) => info.attributes === undefined)
  const document = isWholeSigned ? kept(own, options) : undefined
  const digests =
    document === undefined
      ? await digestsOf(hashes, own, options)
      : await digestsOf(hashes, document.data, { signal: options.signal })
  const embedded = content && (await digestsOf(hashes, content, {}))
  return {
    type: contentType,
    digests,
    bytes: document?.bytes(),
    isAnother: embedded !== undefined && hashes.some((hash) => !equalBytes(embedded[hash], digests[hash])),
  }
}

/** What all signers of a file are judged with. */
interface Judge {
  readonly memory: PathMemory
  readonly verifier: SignatureVerifier
  /** Of each certificate that signed. */
  readonly trusts: Map<ReadCertificate, Promise<Trust>>
  readonly certificates: Certificates
  readonly trust: VerifyDetachedOptions['trust']
  readonly at: Date
  readonly content: Content
}

const nobody = {
  certificate: undefined,
  subject: '',
  issuer: '',
  serialNumber: '',
  notBefore: undefined,
  notAfter: undefined,
  use: undefined,
  trust: 'untrusted',
  path: [],
  digestMatches: undefined,
  signatureValid: undefined,
  signingCertificateMatches: undefined,
} as const satisfies Partial<FoundSigner>

async function judged(reading: Reading, judge: Judge): Promise<FoundSigner> {
  if ('error' in reading) {
    const outcome = outcomeOf([problem('malformed', reading.error)])
    return {
      ...nobody,
      ...outcome,
      signingTime: undefined,
      algorithm: '',
      level: 'CMS',
      warnings: [],
      notChecked: [],
    }
  }
  const { info, algorithm, certificate } = reading
  const { attributes } = info
  const references = attributes?.certificates ?? []
  const common = {
    signingTime: attributes?.signingTime,
    algorithm,
    level: references.length > 0 && attributes?.signingTime !== undefined ? 'CAdES-B-B' : 'CMS',
    notChecked: notCheckedOf(info, judge),
  } as const
  const problems: SignatureProblem[] = judge.content.isAnother ? [problem('other-embedded-document')] : []
  if (certificate === undefined) {
    const { identifier } = info
    const named =
      'issuer' in identifier
        ? { issuer: wholeName(identifier.issuer), serialNumber: toHex(identifier.serialNumber) }
        : {}
    const outcome = outcomeOf([...problems, problem('certificate-missing')])
    return { ...nobody, ...common, ...named, ...outcome, warnings: [] }
  }
  const { problems: found, ...findings } = await verifySigner(
    info,
    certificate,
    judge.content,
    judge.verifier,
  )
  const trust = await trustOf(certificate, judge)
  const use = certificateUse(certificate.der, 'signing')
  problems.push(...found)
  if (use !== 'fitting') problems.push(problem('wrong-use'))
  if (trust.trust === 'untrusted') problems.push(problem('untrusted', trust.trustError))
  return {
    certificate: copyOf(certificate.der),
    subject: holderOf(certificate),
    issuer: wholeName(certificate.issuer),
    serialNumber: toHex(certificate.serialNumber),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    ...common,
    ...findings,
    use,
    ...trust,
    ...outcomeOf(problems),
    warnings: warningsOf(attributes, certificate),
  }
}

function warningsOf(
  attributes: SignedAttributes | undefined,
  certificate: ReadCertificate,
): SignatureWarning[] {
  const warnings: SignatureWarning[] = []
  const { signingTime, certificates = [] } = attributes ?? {}
  if (signingTime !== undefined && !isValidAt(certificate, signingTime))
    warnings.push('signing-time-outside-validity')
  if (certificates.length > 0 && certificates.every(({ hash }) => hash === 'SHA-1'))
    warnings.push('certificate-named-by-sha-1')
  return warnings
}

const attributesNotChecked: readonly (readonly [type: string, what: NotChecked])[] = [
  [oids.signaturePolicy, 'signature-policy'],
  [oids.contentTimeStamp, 'content-time-stamp'],
  [oids.signatureTimeStamp, 'signature-time-stamp'],
  [oids.validationDataTimeStamp, 'archive-time-stamp'],
  [oids.referencesTimeStamp, 'archive-time-stamp'],
  [oids.archiveTimeStamp, 'archive-time-stamp'],
  [oids.archiveTimeStampV2, 'archive-time-stamp'],
  [oids.archiveTimeStampV3, 'archive-time-stamp'],
  [oids.counterSignature, 'counter-signature'],
]

function notCheckedOf({ attributes, unsignedTypes }: SignerInfo, { trust }: Judge): readonly NotChecked[] {
  const has = (type: string): boolean => unsignedTypes.has(type) || attributes?.types.has(type) === true
  const found = attributesNotChecked.flatMap(([type, what]) => (has(type) ? [what] : []))
  return [...(trust === notChecked ? (['trust'] as const) : []), 'revocation', ...new Set(found)]
}

function trustOf(certificate: ReadCertificate, judge: Judge): Promise<Trust> {
  const { trusts, certificates } = judge
  const others = (): Uint8Array[] =>
    certificates.all.filter((each) => each !== certificate).map(({ der }) => copyOf(der))
  const trust =
    trusts.get(certificate) ?? trustIn(certificate.der, others, judge.trust, judge.at, judge.memory)
  trusts.set(certificate, trust)
  return trust
}
