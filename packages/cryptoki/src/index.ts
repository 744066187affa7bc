/** PKCS#11 in TypeScript: slots, tokens, sessions, objects, and operations that are awaited or followed as streams. The drivers have entries of their own. */
export * from './attributes.ts'
export { type CertificateFields, decodeX509, type KeyUsage } from './certificate.ts'
export * from './constants.ts'
export { Cryptoki, type CryptokiOptions } from './cryptoki.ts'
export * from './errors.ts'
export * from './mechanisms.ts'
export type { FindOptions } from './insertion.ts'
export { CkObject } from './object.ts'
export { MemoryObjectCache, type ObjectCache } from './object-cache.ts'
export { Operation, type OperationEvent, type ResultOptions } from './operation.ts'
export * from './operation-rules.ts'
export type { PinRequest, PinSource } from './pin.ts'
export {
  type OperationSpec,
  type ResultOf,
  type SignOptions,
  Session,
  type SessionPolicy,
} from './session.ts'
export { type SessionOptions, Slot } from './slot.ts'
export type { DataSource } from './source.ts'
export type * from './token.ts'
