/**
 * PKCS#11 in TypeScript: slots, tokens, sessions, objects, and operations that are awaited or subscribed to. The drivers are
 * separate entry points.
 */
export type { ActiveSearch } from './active-search.ts'
export * from './attributes.ts'
export type { CipherStream } from './cipher-stream.ts'
export * from './ckf.ts'
export * from './constants.ts'
export { Cryptoki, type CryptokiOptions } from './cryptoki.ts'
export * from './errors.ts'
export * from './infos.ts'
export * from './mechanisms.ts'
export { type AttributeReading, CkObject } from './object.ts'
export { MemoryObjectCache, type ObjectCache } from './object-cache.ts'
export { ActiveOperation, type OutputOptions } from './engine.ts'
export type * from './key-use.ts'
export { Operation, type ResultOptions } from './operation.ts'
export * from './operation-rules.ts'
export type {
  OperationSpec,
  PartnerOf,
  RawOperationSpec,
  ResultOf,
  SignatureSource,
} from './operation-spec.ts'
export { MAX_RESULT_BYTES } from './output.ts'
export type { PinResponse, PinOptions, PinPurpose, PinRequest, PinSource } from './pin.ts'
export { type OperationEvent, Progress } from './progress.ts'
export {
  type CancellingSpec,
  type CipherStreamOptions,
  type KeyOptions,
  type LoginOptions,
  type OperationOptions,
  type SessionInfo,
  type SessionPolicy,
} from './session-options.ts'
export type { Session } from './session.ts'
export { type SessionOptions, Slot } from './slot.ts'
export * from './slot-events.ts'
export type { DataSource } from './source.ts'
export type * from './token.ts'
export type { FindOptions } from './token-context.ts'
