/** Creates and verifies detached CMS signatures with CAdES attributes, with any `Signer`. */
export { documentAtCall } from './data.ts'
export type {
  BlobLike,
  DocumentData,
  ProgressOptions,
  ReadOptions,
  ReadProgress,
  StreamLike,
} from './data.ts'
export { type DigestFunction, digestDocument, type HashName } from './digest.ts'
export {
  DocumentError,
  type DocumentErrorCode,
  type DocumentErrorOptions,
  type DocumentReason,
} from './errors.ts'
export type { Outcome, SignatureProblem, SignatureProblemReason } from './outcome.ts'
export type { SignatureData } from './signature-file.ts'
export {
  type DocumentSignatureOptions,
  signDetached,
  type SignDetachedOptions,
  signOptionsAtCall,
} from './sign-detached.ts'
export { type CertificateUse as SigningUse, CertificateUseError } from '@webtoki/crypto'
export type { Indication, SubIndication } from '@webtoki/trust/path'
export { notChecked } from '@webtoki/trust'
export type { TrustFunction, Trust, TrustResult } from './trust-result.ts'
export type { CertificateData } from './certificate-list.ts'
export type { UnreadableCertificate } from './certificates.ts'
export { trustedBy } from './trusted-by.ts'
export {
  type SignerResult,
  type NotChecked,
  type SignatureWarning,
  type Verification,
  verifyDetached,
  type VerifyDetachedOptions,
} from './verify-detached.ts'
export type { SignatureFindings } from './cms/verify-signer.ts'
