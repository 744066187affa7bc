/** The signer port, what login and documents ask of a key wherever it lives; strict reading of times, keys and signatures. */
export type { Indication, SubIndication } from './errors.ts'
export { type CurveName, type PublicKey, readPublicKey } from './public-key.ts'
export { readSignatureScheme, type SignatureScheme, SignatureVerifier } from './signature.ts'
export {
  type SignatureAlgorithm,
  type Signer,
  type SignOptions,
  type SignSignal,
  signatureAlgorithms,
} from './signer.ts'
