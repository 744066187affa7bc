/** Errors of the server's part of a login. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** Why a login was refused. */
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

const messages: Readonly<Record<LoginReason, string>> = {
  'nonce-missing':
    'The session has no valid nonce: none was issued, or it was used or has expired. Issue a new one.',
  format: 'The login token is not valid Web eID token JSON of version 1.',
  algorithm: 'The algorithm of the token, or of a signature in the certificate path, is not supported.',
  'certificate-malformed': 'The certificate cannot be parsed.',
  'not-yet-valid': 'The certificate is not valid yet.',
  expired: 'The certificate has expired.',
  'key-usage': 'The key usage of the certificate does not allow digital signatures.',
  'extended-key-usage':
    'The extended key usage of the certificate, or of an issuer, does not allow client authentication.',
  policy: 'The certificate has a disallowed certificate policy, or policies that cannot be parsed.',
  'weak-hash': 'The certificate, or that of an issuer, is signed with SHA-1 or an older hash.',
  'weak-key': 'The certificate, or that of an issuer, has a weak key.',
  untrusted: 'No valid path leads from the certificate to a trusted issuer.',
  revoked: 'The certificate has been revoked.',
  'revocation-unknown': 'The revocation check failed or gave no clear result.',
  signature: 'The signature does not verify for the origin of this site and a nonce of this session.',
}

/** The values of `LoginError.code`. */
export type LoginErrorCode = `login/${LoginReason}`

/** A login was refused. `reason` is for programs, the message for logs. Neither contains data of the token. */
export class LoginError extends WebtokiError {
  readonly code: LoginErrorCode
  readonly reason: LoginReason
  constructor(reason: LoginReason, options?: ErrorOptions) {
    super(messages[reason], options)
    this.code = `login/${reason}`
    this.reason = reason
  }

  override get name(): 'LoginError' {
    return 'LoginError'
  }
}
