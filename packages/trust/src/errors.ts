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

/** A path was refused; `reason` says why. */
export class PathError extends WebtokiError {
  readonly code: `trust/${PathReason}`
  readonly reason: PathReason
  constructor(reason: PathReason, options?: ErrorOptions) {
    super(sentences[reason], options)
    this.code = `trust/${reason}`
    this.reason = reason
  }

  override get name(): 'PathError' {
    return 'PathError'
  }
}
