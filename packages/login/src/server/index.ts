/** The server's half of a login. No card, no reader, no browser. */
export { LoginError, type LoginErrorCode, type LoginReason } from './errors.ts'
export type { Identity } from './identity.ts'
export { memoryNonceStore, type NonceStore } from './nonces.ts'
export { type LoginVerifierOptions, notChecked, type RevocationCheck } from './options.ts'
export { createLoginVerifier, type LoginVerifier, type VerifiedLogin } from './verifier.ts'
