/** Keys on a card as signers: what login and documents take, made from a PKCS#11 session. */
export { canSignWith, cardSigner, type CardSignerOptions } from './card-signer.ts'
