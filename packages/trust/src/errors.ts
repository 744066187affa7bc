/** Errors of certificate paths, with the indications of ETSI EN 319 102-1, 5.1.3. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** Why a path was refused. */
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

const messages: Readonly<Record<PathReason, string>> = {
  malformed: 'A certificate cannot be parsed.',
  expired: 'The certificate has expired.',
  'not-yet-valid': 'The certificate is not valid yet.',
  'issuer-expired': 'The certificate of an issuer has expired.',
  'issuer-not-yet-valid': 'The certificate of an issuer is not valid yet.',
  untrusted: 'No path leads from the certificate to a trusted certificate.',
  'bad-signature': 'The signature of a certificate does not verify with the key of its issuer.',
  'unsupported-algorithm':
    'A certificate is signed with an unsupported algorithm, so its signature could not be checked.',
  'not-a-ca': 'A certificate was issued by a certificate that may not issue certificates.',
  'path-too-long': 'The path is longer than an issuer allows.',
  'unknown-critical-extension': 'A certificate has a critical extension that is not supported.',
  'name-constraints': 'A certificate has a name outside the name constraints of an issuer.',
  policy: 'The path is not valid for a required certificate policy.',
  'weak-hash': 'A certificate is signed with SHA-1 or an older hash, which can be forged.',
  'weak-key':
    'A certificate has a weak key: RSA below 2048 bits or with invalid parameters, or an unnamed curve.',
  'too-complex': 'The search for a path exceeded its limits: too many certificates, or too long a path.',
}

/** The result of a validation: ETSI EN 319 102-1, 5.1.3. */
export type Indication = 'TOTAL-PASSED' | 'TOTAL-FAILED' | 'INDETERMINATE'

/** Why the result is not TOTAL-PASSED: ETSI EN 319 102-1, 5.1.3, tables 5 and 6. */
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

/**
 * The mapping of EN 319 102-1, 5.2.6. Dates map to OUT_OF_BOUNDS_NO_POE, because nothing proves that the signature was
 * made outside the validity of the certificate.
 */
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

/** The values of `PathError.code`. */
export type PathErrorCode = `trust/${PathReason}`

/**
 * An argument of `@webtoki/trust` has the wrong type or value; the message names it. Nothing was verified or signed.
 */
export class TrustArgumentError extends WebtokiError {
  readonly code = 'trust/wrong-argument'
  /** The name of the parameter or option, for example `anchors[2]`. */
  readonly argument: string
  /** The message is "`argument` has to be `what`." */
  constructor(argument: string, what: string, options?: ErrorOptions) {
    super(`\`${argument}\` has to be ${what}.`, options)
    this.argument = argument
  }

  override get name(): 'TrustArgumentError' {
    return 'TrustArgumentError'
  }
}

/** An anchor or an intermediate that cannot be parsed. */
export interface UnusableCertificate {
  /** Its index in the option `anchors` or `intermediates`. */
  readonly index: number
  /** Its reason is 'malformed'; `cause` says what is wrong. */
  readonly error: PathError
}

/** No valid path was found; `reason` says why. */
export class PathError extends WebtokiError {
  readonly code: PathErrorCode
  readonly reason: PathReason
  /** Always INDETERMINATE: without a valid path, a signature is neither proved nor disproved. */
  readonly indication = 'INDETERMINATE'
  /** The reason as a sub-indication of EN 319 102-1. */
  readonly subIndication: SubIndication
  /** Anchors that cannot be parsed; the one that was needed may be among them. */
  unusableAnchors: readonly UnusableCertificate[] = []
  /** Intermediates that cannot be parsed. */
  unusableIntermediates: readonly UnusableCertificate[] = []
  constructor(reason: PathReason, options?: ErrorOptions) {
    super(messages[reason], options)
    this.code = `trust/${reason}`
    this.reason = reason
    this.subIndication = subIndications[reason]
  }

  override get name(): 'PathError' {
    return 'PathError'
  }
}
