/** The signer port, what login and documents ask of a key, wherever it lives; and the strict form of ECDSA signatures. */
export { ecdsaNumbers } from './der.ts'
export {
  type SignatureAlgorithm,
  type Signer,
  type SignOptions,
  type SignSignal,
  signatureAlgorithms,
} from './signer.ts'
