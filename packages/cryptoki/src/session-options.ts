/** The options of sessions and of their calls. */
import type { AbortSignalLike } from '@webtoki/apdu'
import type { CKS } from './constants.ts'
import type { ConflictPolicy, OperationType } from './operation-rules.ts'
import type { PinOptions, PinSource } from './pin.ts'
import type { OperationEvent } from './progress.ts'
import type { TokenContext } from './token-context.ts'

/** The behaviour of sessions that the standard leaves open. */
export interface SessionPolicy {
  /**
   * What an Init does if it conflicts with active operations. 'reject', the standard's rule: it fails with
   * CKR_OPERATION_ACTIVE. 'abandon': it ends them as its last step, after all other checks have passed. 'wait': it waits until
   * they have ended.
   */
  readonly onConflict: ConflictPolicy | 'wait'
  /**
   * Whether single-part functions (random numbers, key generation, wrapping and derivation) may run while operations are
   * active. The standard allows both.
   */
  readonly singlePartWhileActive: 'reject' | 'allow'
  /**
   * 'explicit', the rule of PKCS#11: private objects are visible after `login`. 'on-demand': they are always visible, and the
   * use of a key calls its PIN source if the card requires a login.
   */
  readonly login: 'explicit' | 'on-demand'
  /** CKF_DUAL_CRYPTO_OPERATIONS: whether two operations that form a pair may be active in a session. */
  readonly dualOperations: boolean
}

/** Options of every operation. */
export interface OperationOptions {
  /** Default: the session's. */
  readonly onConflict?: SessionPolicy['onConflict'] | undefined
}

/** Options of one use of a private key. */
export interface KeyOptions extends OperationOptions, PinOptions {}

/** Options of `encryptStream` and `decryptStream`. */
export interface CipherStreamOptions extends OperationOptions {
  /** Called with each event of the operation. */
  readonly onEvent?: ((event: OperationEvent<unknown>) => void) | undefined
}

/** Options of `login`. */
export interface LoginOptions {
  /** What the login is for, in words that the user knows: `PinRequest.for`. */
  readonly for?: string | undefined
  /** Cancels the wait for the user or for another login; the call rejects with CKR_FUNCTION_CANCELED. */
  readonly signal?: AbortSignalLike | undefined
  /** Called with each event of the login. */
  readonly onEvent?: ((event: OperationEvent<never>) => void) | undefined
}

/** CK_SESSION_INFO. */
export interface SessionInfo {
  readonly slotId: string
  readonly state: CKS
  /** CKF_SERIAL_SESSION, and CKF_RW_SESSION for a read/write session. */
  readonly flags: number
  /** Always 0: errors of the card and the reader are the `cause` of the errors with which calls reject. */
  readonly deviceError: 0
}

/** The constructor arguments of `Session`. */
export interface SessionParts {
  readonly context: TokenContext
  readonly readWrite: boolean
  readonly policy: SessionPolicy
  readonly pin: PinSource | undefined
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly now: () => number
  /** The id of the slot that opened the session. */
  readonly slotId: string
  /** The display name of the reader. */
  readonly reader: string
  readonly isClosed: () => boolean
}

/** An Init with a mechanism of NULL, which cancels the active operation of that type (PKCS#11 v3.0, 5.8.1). */
export interface CancellingSpec {
  readonly type: Exclude<OperationType, 'search'>
  readonly mechanism: null
}
