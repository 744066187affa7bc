/** Entry point: signers for `@webtoki/login` and `@webtoki/documents`, made from a PKCS#11 session. */
export { canSignWith, cardSigner, type CardSignerOptions } from './card-signer.ts'
