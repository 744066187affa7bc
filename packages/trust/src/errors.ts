/** Why a certificate is not trusted. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** One word for each reason. */
export type PathReason =
  | 'malformed'
  | 'expired'
  | 'not-yet-valid'
  | 'issuer-expired'
  | 'issuer-not-yet-valid'
  | 'untrusted'
  | 'bad-signature'
  | 'unsupported-algorithm'
  | 'not-a-ca'
  | 'path-too-long'
  | 'unknown-critical-extension'
  | 'name-constraints'
  | 'policy'
  | 'weak-hash'
  | 'weak-key'
  | 'too-complex'

const sentences: Readonly<Record<PathReason, string>> = {
  malformed: 'A certificate cannot be read.',
  expired: 'The certificate has expired.',
  'not-yet-valid': 'The certificate is not valid yet.',
  'issuer-expired': 'The certificate of an issuer has expired.',
  'issuer-not-yet-valid': 'The certificate of an issuer is not valid yet.',
  untrusted: 'No path leads to a certificate that is trusted here.',
  'bad-signature': 'A certificate was not signed by the issuer that it names.',
  'unsupported-algorithm':
    'A certificate is signed with an algorithm that cannot be verified here; it is neither right nor wrong.',
  'not-a-ca': 'A certificate was issued by one that may issue none.',
  'path-too-long': 'An issuer allows no path of this length.',
  'unknown-critical-extension': 'A certificate has a critical extension that is not understood.',
  'name-constraints': 'A certificate has a name that an issuer above it may not give.',
  policy: 'An issuer requires a policy that the certificates below it do not share.',
  'weak-hash': 'A certificate is signed over SHA-1 or an older hash, which can be forged.',
  'weak-key':
    'A certificate has a key that is too weak: RSA below 2048 bits or with numbers that are not RSA’s, or a curve of its own.',
  'too-complex': 'Too many certificates would have to be tried, or a path is too long.',
}

/** The outcome of a validation: ETSI EN 319 102-1, 5.1.3. */
export type Indication = 'TOTAL-PASSED' | 'TOTAL-FAILED' | 'INDETERMINATE'

/** Why the outcome is not TOTAL-PASSED: ETSI EN 319 102-1, 5.1.3, tables 5 and 6. */
export type SubIndication =
  | 'FORMAT_FAILURE'
  | 'HASH_FAILURE'
  | 'SIG_CRYPTO_FAILURE'
  | 'REVOKED'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'SIG_CONSTRAINTS_FAILURE'
  | 'CHAIN_CONSTRAINTS_FAILURE'
  | 'CERTIFICATE_CHAIN_GENERAL_FAILURE'
  | 'CRYPTO_CONSTRAINTS_FAILURE'
  | 'POLICY_PROCESSING_ERROR'
  | 'SIGNATURE_POLICY_NOT_AVAILABLE'
  | 'TIMESTAMP_ORDER_FAILURE'
  | 'NO_SIGNING_CERTIFICATE_FOUND'
  | 'NO_CERTIFICATE_CHAIN_FOUND'
  | 'REVOKED_NO_POE'
  | 'REVOKED_CA_NO_POE'
  | 'OUT_OF_BOUNDS_NO_POE'
  | 'OUT_OF_BOUNDS_NOT_REVOKED'
  | 'CRYPTO_CONSTRAINTS_FAILURE_NO_POE'
  | 'NO_POE'
  | 'TRY_LATER'
  | 'SIGNED_DATA_NOT_FOUND'
  | 'CUSTOM'

/** As EN 319 102-1, 5.2.6, has it. A time outside the validity says nothing of when the signature was made. */
const subIndications: Readonly<Record<PathReason, SubIndication>> = {
  malformed: 'CERTIFICATE_CHAIN_GENERAL_FAILURE',
  expired: 'OUT_OF_BOUNDS_NO_POE',
  'not-yet-valid': 'OUT_OF_BOUNDS_NO_POE',
  'issuer-expired': 'OUT_OF_BOUNDS_NO_POE',
  'issuer-not-yet-valid': 'OUT_OF_BOUNDS_NO_POE',
  untrusted: 'NO_CERTIFICATE_CHAIN_FOUND',
  'bad-signature': 'CERTIFICATE_CHAIN_GENERAL_FAILURE',
  'unsupported-algorithm': 'CERTIFICATE_CHAIN_GENERAL_FAILURE',
  'not-a-ca': 'CHAIN_CONSTRAINTS_FAILURE',
  'path-too-long': 'CHAIN_CONSTRAINTS_FAILURE',
  'unknown-critical-extension': 'CHAIN_CONSTRAINTS_FAILURE',
  'name-constraints': 'CHAIN_CONSTRAINTS_FAILURE',
  policy: 'CHAIN_CONSTRAINTS_FAILURE',
  'weak-hash': 'CRYPTO_CONSTRAINTS_FAILURE',
  'weak-key': 'CRYPTO_CONSTRAINTS_FAILURE',
  'too-complex': 'CERTIFICATE_CHAIN_GENERAL_FAILURE',
}

/** `PathError`'s codes. */
export type PathErrorCode = `trust/${PathReason}`

/** An argument of `@webtoki/trust` is of a wrong kind; the message names it. Nothing was verified or signed. */
export class TrustArgumentError extends WebtokiError {
  readonly code = 'trust/wrong-argument'
  /** As it is called in the function or its options: `anchors[2]`, say. */
  readonly argument: string
  /** `argument` has to be `what`. */
  constructor(argument: string, what: string, options?: ErrorOptions) {
    super(`\`${argument}\` has to be ${what}.`, options)
    this.argument = argument
  }

  override get name(): 'TrustArgumentError' {
    return 'TrustArgumentError'
  }
}

/** An anchor or an intermediate that cannot be read. */
export interface UnusableCertificate {
  /** Its place in the list that it stands in. */
  readonly index: number
  /** 'malformed'; `cause` says where. */
  readonly error: PathError
}

/** A path was refused; `reason` says why. */
export class PathError extends WebtokiError {
  readonly code: PathErrorCode
  readonly reason: PathReason
  /** A path that is not found or is refused never proves that a signature is false. */
  readonly indication = 'INDETERMINATE'
  /** The reason in the words of EN 319 102-1. */
  readonly subIndication: SubIndication
  /** Anchors that cannot be read: perhaps the one that was needed. */
  unusableAnchors: readonly UnusableCertificate[] = []
  /** Intermediates that cannot be read. */
  unusableIntermediates: readonly UnusableCertificate[] = []
  constructor(reason: PathReason, options?: ErrorOptions) {
    super(sentences[reason], options)
    this.code = `trust/${reason}`
    this.reason = reason
    this.subIndication = subIndications[reason]
  }

  override get name(): 'PathError' {
    return 'PathError'
  }
}
