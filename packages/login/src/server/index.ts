/** The server's part of a login. It uses no card, no reader and no browser API. */
export { LoginArgumentError } from '../argument-error.ts'
export { LoginError, type LoginErrorCode, type LoginReason } from './errors.ts'
export type { Identity } from './identity.ts'
export { memoryNonceStore, type NonceStore } from './nonces.ts'
export type { LoginVerifierOptions, RevocationCheck } from './options.ts'
export { notChecked } from '@webtoki/trust'
export { createLoginVerifier, type LoginVerifier, type VerifiedLogin } from './verifier.ts'
