/** The server's half of a login. No card, no reader, no browser. */
export { LoginError, type LoginReason } from './errors.ts'
export type { Identity } from './identity.ts'
export { memoryNonceStore, type NonceStore } from './nonces.ts'
export {
  createLoginVerifier,
  type LoginVerifier,
  type LoginVerifierOptions,
  notChecked,
  type RevocationCheck,
  type VerifiedLogin,
} from './verifier.ts'
