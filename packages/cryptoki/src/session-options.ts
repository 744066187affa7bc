/** What a session is told when it is opened, and what its calls take. */
import type { AbortSignalLike } from '@webtoki/apdu'
import type { CKS } from './constants.ts'
import type { ConflictPolicy, OperationType } from './operation-rules.ts'
import type { PinOptions, PinSource } from './pin.ts'
import type { OperationEvent } from './progress.ts'
import type { TokenContext } from './token-context.ts'

/** How a session behaves; the library's own settings are the default. */
export interface SessionPolicy {
  /**
   * What an Init does that other active operations forbid: it is rejected, as the standard has it, or it ends those, once
   * it can fail no more, or it waits until they have ended.
   */
  readonly onConflict: ConflictPolicy | 'wait'
  /** Whether one-call functions (random) run beside active operations. The standard allows both. */
  readonly singlePartWhileActive: 'reject' | 'allow'
  /**
   * 'explicit', as PKCS#11 has it: private objects show after `login`. 'on-demand': they always show, and the use of a key
   * asks its PIN source when it needs the card's login.
   */
  readonly login: 'explicit' | 'on-demand'
  /** CKF_DUAL_CRYPTO_OPERATIONS: whether a session takes two operations that make a pair. */
  readonly dualOperations: boolean
}

/** Options of every operation. */
export interface OperationOptions {
  /** Default: the session's own. */
  readonly onConflict?: SessionPolicy['onConflict'] | undefined
}

/** Options of one use of a private key. */
export interface KeyOptions extends OperationOptions, PinOptions {}

/** Options of `encryptStream`. */
export interface CipherStreamOptions extends OperationOptions {
  /** Told of each phase as it begins. */
  readonly onEvent?: ((event: OperationEvent<unknown>) => void) | undefined
}

/** Options of `login`. */
export interface LoginOptions {
  /** What is logged in to, in words that the person knows: `PinRequest.for`. */
  readonly for?: string | undefined
  /** Ends the wait for the person or for another login; rejects with CKR_FUNCTION_CANCELED. */
  readonly signal?: AbortSignalLike | undefined
  /** Told of each phase as it begins. */
  readonly onEvent?: ((event: OperationEvent<never>) => void) | undefined
}

/** CK_SESSION_INFO. */
export interface SessionInfo {
  readonly slotId: string
  readonly state: CKS
  /** CKF_SERIAL_SESSION, and CKF_RW_SESSION if it may write. */
  readonly flags: number
  /** Errors of the card and the reader are causes of the errors that calls reject with. */
  readonly deviceError: 0
}

/** What a session is made of. */
export interface SessionParts {
  readonly context: TokenContext
  readonly readWrite: boolean
  readonly policy: SessionPolicy
  readonly pin: PinSource | undefined
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly now: () => number
  /** Of the slot that opened it. */
  readonly slotId: string
  /** Friendly name of the reader. */
  readonly reader: string
  readonly isClosed: () => boolean
}

/** C_SignInit and others with a mechanism of NULL. */
export interface CancellingSpec {
  readonly type: Exclude<OperationType, 'search'>
  readonly mechanism: null
}
