/** Documents signed by whoever has a key: detached CMS with CAdES attributes, made and verified. */
export { documentAtCall } from './data.ts'
export type { BlobLike, DocumentData, ReadOptions, ReadProgress, StreamLike } from './data.ts'
export { type DigestElsewhere, digestDocument, type HashName } from './digest.ts'
export { DocumentError, type DocumentErrorCode, type DocumentReason } from './errors.ts'
export { signDetached, type SignDetachedOptions } from './sign-detached.ts'
export { type CertificateUse as SigningUse, CertificateUseError } from '@webtoki/crypto'
export { trustedBy } from './trusted-by.ts'
export {
  type FoundSigner,
  notChecked,
  type TrustAnswer,
  type Verification,
  verifyDetached,
  type VerifyDetachedOptions,
} from './verify-detached.ts'
