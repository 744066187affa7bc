/** Documents signed by whoever has a key: detached CMS with CAdES attributes, made and verified. */
export type { BlobLike, DocumentData, ReadOptions, ReadProgress, StreamLike } from './data.ts'
export { type DigestElsewhere, digestDocument, type HashName } from './digest.ts'
export { DocumentError, type DocumentReason } from './errors.ts'
export { signDetached, type SignDetachedOptions } from './sign-detached.ts'
export {
  type FoundSigner,
  type Verification,
  verifyDetached,
  type VerifyDetachedOptions,
} from './verify-detached.ts'
