/** The server's half of a login. No card, no reader, no browser. */
export { LoginArgumentError } from '../argument-error.ts'
export { LoginError, type LoginErrorCode, type LoginReason } from './errors.ts'
export type { Identity } from './identity.ts'
export { memoryNonceStore, type NonceStore } from './nonces.ts'
export type { LoginVerifierOptions, RevocationCheck } from './options.ts'
export { notChecked } from '@webtoki/trust'
export { createLoginVerifier, type LoginVerifier, type VerifiedLogin } from './verifier.ts'
