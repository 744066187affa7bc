/** The signer port: what login and documents ask of a key, wherever it lives. */
export {
  type SignatureAlgorithm,
  type Signer,
  type SignOptions,
  type SignSignal,
  signatureAlgorithms,
} from './signer.ts'
