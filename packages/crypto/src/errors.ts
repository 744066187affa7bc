/** What can be wrong with a certificate. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** Logging in to a site, or signing documents. */
export type CertificatePurpose = 'login' | 'signing'

/** Fitting, or which extension speaks against it. An extension that cannot be read speaks against everything. */
export type CertificateUse =
  | 'fitting'
  | 'wrong-key-usage'
  | 'wrong-extended-key-usage'
  | 'wrong-qc-statements'
  /** It is a CA's, which signs certificates and speaks for nobody. */
  | 'authority'
  | 'unreadable'

/** The bytes are not a certificate in DER; `cause` says where. */
export class CertificateError extends WebtokiError {
  readonly code = 'certificate/malformed'
  constructor(options?: ErrorOptions) {
    super('The certificate cannot be read: it is damaged, or is not X.509 in DER.', options)
  }
  override get name(): 'CertificateError' {
    return 'CertificateError'
  }
}

/** A certificate may not be used for what somebody wants to do with its key. Nothing was asked, sent or signed. */
export class CertificateUseError extends WebtokiError {
  readonly code = 'certificate/wrong-use'
  readonly purpose: CertificatePurpose
  readonly reason: Exclude<CertificateUse, 'fitting'>
  constructor(purpose: CertificatePurpose, reason: Exclude<CertificateUse, 'fitting'>, meantFor: string) {
    super(
      `The certificate is not for ${purpose === 'login' ? 'logins' : 'signing documents'}: ${meantFor}. Choose another one.`,
    )
    this.purpose = purpose
    this.reason = reason
  }

  override get name(): 'CertificateUseError' {
    return 'CertificateUseError'
  }
}

/** What can be wrong with one certificate. */
export type CertificateErrorCode = (CertificateError | CertificateUseError)['code']
