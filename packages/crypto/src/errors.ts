/** The errors of certificates. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** What a certificate is to be used for: a login to a site, or signing documents. */
export type CertificatePurpose = 'login' | 'signing'

/** Whether a certificate fits a purpose, or why not. A malformed extension never fits. */
export type CertificateUse =
  | 'fitting'
  | 'wrong-key-usage'
  | 'wrong-extended-key-usage'
  | 'wrong-qc-statements'
  /** It is a CA certificate, which does not identify a person. */
  | 'authority'
  | 'unreadable'

/** The bytes are not a valid certificate in DER. `cause` names the fault. */
export class CertificateError extends WebtokiError {
  readonly code = 'certificate/malformed'
  constructor(options?: ErrorOptions) {
    super('The certificate cannot be read: it is damaged or not X.509 in DER.', options)
  }
  override get name(): 'CertificateError' {
    return 'CertificateError'
  }
}

/** The certificate must not be used for the purpose. No PIN was requested and nothing was signed. */
export class CertificateUseError extends WebtokiError {
  readonly code = 'certificate/wrong-use'
  readonly purpose: CertificatePurpose
  readonly reason: Exclude<CertificateUse, 'fitting'>
  constructor(purpose: CertificatePurpose, reason: Exclude<CertificateUse, 'fitting'>, explanation: string) {
    super(
      `The certificate is not for ${purpose === 'login' ? 'logins' : 'signing documents'}: ${explanation}. Choose another one.`,
    )
    this.purpose = purpose
    this.reason = reason
  }

  override get name(): 'CertificateUseError' {
    return 'CertificateUseError'
  }
}

/** The codes of certificate errors. */
export type CertificateErrorCode = (CertificateError | CertificateUseError)['code']
