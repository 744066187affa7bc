/** Why a login was refused. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** One word for each reason. */
export type LoginReason =
  | 'nonce-missing'
  | 'format'
  | 'algorithm'
  | 'certificate-malformed'
  | 'not-yet-valid'
  | 'expired'
  | 'key-usage'
  | 'extended-key-usage'
  | 'policy'
  | 'weak-hash'
  | 'weak-key'
  | 'untrusted'
  | 'revoked'
  | 'revocation-unknown'
  | 'signature'

const sentences: Readonly<Record<LoginReason, string>> = {
  'nonce-missing': 'The session has no nonce: it was used already, or its time is up.',
  format: 'That is no login token of a format known here.',
  algorithm:
    'The algorithm is not one of the format, does not fit the key, or is one of an issuer that cannot be verified here.',
  'certificate-malformed': 'The certificate cannot be read.',
  'not-yet-valid': 'The certificate is not valid yet.',
  expired: 'The certificate has expired.',
  'key-usage': 'The certificate is not meant for digital signatures.',
  'extended-key-usage': 'The certificate, or one of an issuer, is not meant for authenticating clients.',
  policy: 'The certificate was issued under a policy that is not accepted.',
  'weak-hash': 'The certificate, or one of an issuer, is signed over SHA-1 or an older hash.',
  'weak-key': 'The certificate, or one of an issuer, has a key that is too short or can be forged.',
  untrusted: 'The certificate leads to no issuer that is trusted here.',
  revoked: 'The certificate has been revoked.',
  'revocation-unknown': 'Nobody could say whether the certificate has been revoked.',
  signature: 'The signature is not over this site’s origin and this session’s nonce.',
}

/** `LoginError`'s codes. */
export type LoginErrorCode = `login/${LoginReason}`

/** `reason` is for programs, the message for logs; neither carries anything of the token. */
export class LoginError extends WebtokiError {
  readonly code: LoginErrorCode
  readonly reason: LoginReason
  constructor(reason: LoginReason, options?: ErrorOptions) {
    super(sentences[reason], options)
    this.code = `login/${reason}`
    this.reason = reason
  }

  override get name(): 'LoginError' {
    return 'LoginError'
  }
}
