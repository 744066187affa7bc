/** Verifies detached CMS signatures: RFC 5652, 5.4 and 5.6, and the signed attributes of CAdES-B-B. */
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
import { dateOrNow, requireOptions, wrongArgument } from './arguments.ts'
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
import { type DigestFunction, digestsOf, type HashName } from './digest.ts'
import { DocumentError } from './errors.ts'
import { bufferedDocument } from './buffered-document.ts'
import { wholeName } from './names.ts'
import { type Outcome, outcomeOf, problem, type SignatureProblem } from './outcome.ts'
import { readSignatureFile, type SignatureData } from './signature-file.ts'
import { type TrustFunction, type Trust, evaluateTrust } from './trust-result.ts'

/** Options of `verifyDetached`. */
export interface VerifyDetachedOptions extends ReadOptions {
  /** Computes digests elsewhere, for example in a worker; called once for each hash. Default: here, in pieces. */
  readonly digest?: DigestFunction | undefined
  /**
   * Decides whether a signer's certificate is trusted: `trustedBy(anchors)`, `notChecked`, or a function that gets the
   * certificate, all other known certificates, `at`, and a cache for `verifyPath` that all signers share. It is called
   * once for each certificate that signed. The certificate is trusted only if the function resolves to `true` or a
   * path; see `TrustResult`.
   */
  readonly trust: TrustFunction | typeof notChecked
  /**
   * Certificates of signers and intermediates that the file may lack, in DER or PEM. They are not trusted by being
   * listed here.
   */
  readonly certificates?: readonly CertificateData[] | undefined
  /**
   * The time for which certificates have to be valid; default: now. Do not pass the signing time of the file, which
   * only the signer claims: an expired certificate would be accepted. Pass a time that a third party attests.
   */
  readonly at?: Date | undefined
}

/** Checks that were not made, and parts of a file that were not verified. */
export type NotChecked =
  | 'trust'
  | 'revocation'
  | 'signature-policy'
  | 'content-time-stamp'
  | 'signature-time-stamp'
  | 'archive-time-stamp'
  | 'counter-signature'

/** Observations that do not make a signature invalid, but that a person should know. */
export type SignatureWarning =
  /** The certificate was not valid at the signing time that the signer claims. */
  | 'signing-time-outside-validity'
  /** The signed attributes identify the certificate only by SHA-1. */
  | 'certificate-named-by-sha-1'

/** The result for one signature. `indication` is the overall result, which follows from the other members. */
export interface SignerResult extends Outcome, Omit<SignatureFindings, 'problems'>, Trust {
  /** The signer's certificate in DER; undefined if it was not found. */
  readonly certificate: Uint8Array | undefined
  /** The holder's name in the certificate (`holderOf`); empty without a certificate. */
  readonly subject: string
  /** The full name of the issuer; also present if the certificate is missing. */
  readonly issuer: string
  /** The serial number of the certificate in hex; also present if the certificate is missing. */
  readonly serialNumber: string
  /** Undefined without a certificate. */
  readonly notBefore: Date | undefined
  /** Undefined without a certificate. */
  readonly notAfter: Date | undefined
  /** The time that the signer claims, which is not attested. */
  readonly signingTime: Date | undefined
  /** The name of the signature algorithm for people; empty if it is unknown. */
  readonly algorithm: string
  /** CAdES-B-B if the signed attributes identify the certificate and state a signing time, otherwise CMS. */
  readonly level: 'CAdES-B-B' | 'CMS'
  /** 'fitting' if the certificate may sign documents, otherwise why not; undefined without a certificate. */
  readonly use: CertificateUse | undefined
  readonly warnings: readonly SignatureWarning[]
  readonly notChecked: readonly NotChecked[]
}

/** The result of `verifyDetached`. */
export interface Verification {
  /** True if every signature is TOTAL-PASSED. With `trust: notChecked`, the signers may be anybody. */
  readonly valid: boolean
  readonly signers: readonly SignerResult[]
  /** Certificates that cannot be parsed. They do not make the file invalid. */
  readonly unreadableCertificates: readonly UnreadableCertificate[]
}

/**
 * Verifies all signatures of a file over a document. A problem of one signature is part of its result and does not
 * affect the other signatures of the file. Rejects with DocumentError if the file or the document cannot be read, or an
 * argument has a wrong type.
 */
export async function verifyDetached(
  signature: SignatureData,
  data: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Verification> {
  requireOptions(options, 'an object with `trust`, which decides whom you trust')
  if (options.trust !== notChecked && typeof options.trust !== 'function')
    throw wrongArgument('trust', 'trustedBy(anchors), a function, or notChecked')
  // Copied before the first await, so that changes by the caller have no effect.
  const document = documentAtCall(data)
  const at = dateOrNow('at', options.at)
  const extraCertificates = certificateList('certificates', options.certificates)
  const file = await readSignatureFile(signature)
  const pace = new Pace()
  const signedData = orMalformed(() => readSignedData(file))
  if (signedData.signerInfos.length === 0) throw new DocumentError('no-signer')
  const memory = new PathMemory()
  const certificates = await certificatesOf(
    { file: signedData.certificates, options: extraCertificates },
    memory,
    pace,
  )
  const parsedSigners: ParsedSigner[] = []
  for (const info of signedData.signerInfos) {
    if (pace.isDue) await pace.turn()
    parsedSigners.push(parseSigner(info, certificates))
  }
  const content = await contentOf(parsedSigners, signedData, document, options)
  const context: VerificationContext = {
    memory,
    verifier: new SignatureVerifier(),
    trusts: new Map(),
    certificates,
    trust: options.trust,
    at,
    content,
  }
  const signers: SignerResult[] = []
  for (const parsed of parsedSigners) {
    if (pace.isDue) await pace.turn()
    signers.push(await verifyParsedSigner(parsed, context))
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

/** A parsed SignerInfo with its certificate; `error` if it cannot be parsed. */
type ParsedSigner =
  | {
      readonly info: SignerInfo
      readonly hash: HashName | undefined
      readonly algorithm: string
      readonly certificate: ReadCertificate | undefined
    }
  | { readonly error: unknown }

function parseSigner(element: BerElement, certificates: Certificates): ParsedSigner {
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

/** The signed content, and whether the file contains a different document. */
interface Content extends SignedContent {
  readonly isAnother: boolean
}

async function contentOf(
  parsedSigners: readonly ParsedSigner[],
  { contentType, content }: SignedData,
  data: DocumentData,
  options: VerifyDetachedOptions,
): Promise<Content> {
  const signers = parsedSigners.filter((each) => 'info' in each)
  const hashes = [...new Set(signers.flatMap(({ hash }) => hash ?? []))]
  const isWholeSigned = signers.some(({ info }) => info.attributes === undefined)
  const document = isWholeSigned ? bufferedDocument(data, options) : undefined
  const digests =
    document === undefined
      ? await digestsOf(hashes, data, options)
      : await digestsOf(hashes, document.data, { signal: options.signal })
  const embedded = content && (await digestsOf(hashes, content, {}))
  return {
    type: contentType,
    digests,
    bytes: document?.bytes(),
    isAnother: embedded !== undefined && hashes.some((hash) => !equalBytes(embedded[hash], digests[hash])),
  }
}

/** What the verification of all signers of a file shares. */
interface VerificationContext {
  readonly memory: PathMemory
  readonly verifier: SignatureVerifier
  /** The trust in each certificate that signed, evaluated once. */
  readonly trusts: Map<ReadCertificate, Promise<Trust>>
  readonly certificates: Certificates
  readonly trust: VerifyDetachedOptions['trust']
  readonly at: Date
  readonly content: Content
}

const withoutCertificate = {
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
} as const satisfies Partial<SignerResult>

async function verifyParsedSigner(parsed: ParsedSigner, context: VerificationContext): Promise<SignerResult> {
  if ('error' in parsed) {
    const outcome = outcomeOf([problem('malformed', parsed.error)])
    return {
      ...withoutCertificate,
      ...outcome,
      signingTime: undefined,
      algorithm: '',
      level: 'CMS',
      warnings: [],
      notChecked: [],
    }
  }
  const { info, algorithm, certificate } = parsed
  const { attributes } = info
  const references = attributes?.certificates ?? []
  const common = {
    signingTime: attributes?.signingTime,
    algorithm,
    level: references.length > 0 && attributes?.signingTime !== undefined ? 'CAdES-B-B' : 'CMS',
    notChecked: notCheckedOf(info, context),
  } as const
  const problems: SignatureProblem[] = context.content.isAnother ? [problem('other-embedded-document')] : []
  if (certificate === undefined) {
    const { identifier } = info
    const named =
      'issuer' in identifier
        ? { issuer: wholeName(identifier.issuer), serialNumber: toHex(identifier.serialNumber) }
        : {}
    const outcome = outcomeOf([...problems, problem('certificate-missing')])
    return { ...withoutCertificate, ...common, ...named, ...outcome, warnings: [] }
  }
  const { problems: found, ...findings } = await verifySigner(
    info,
    certificate,
    context.content,
    context.verifier,
  )
  const trust = await trustOf(certificate, context)
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

function notCheckedOf(
  { attributes, unsignedTypes }: SignerInfo,
  { trust }: VerificationContext,
): readonly NotChecked[] {
  const has = (type: string): boolean => unsignedTypes.has(type) || attributes?.types.has(type) === true
  const found = attributesNotChecked.flatMap(([type, what]) => (has(type) ? [what] : []))
  return [...(trust === notChecked ? (['trust'] as const) : []), 'revocation', ...new Set(found)]
}

function trustOf(certificate: ReadCertificate, context: VerificationContext): Promise<Trust> {
  const { trusts, certificates } = context
  const others = (): Uint8Array[] =>
    certificates.all.filter((each) => each !== certificate).map(({ der }) => copyOf(der))
  const trust =
    trusts.get(certificate) ??
    evaluateTrust(certificate.der, others, context.trust, context.at, context.memory)
  trusts.set(certificate, trust)
  return trust
}
