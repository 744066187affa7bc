/**
 * The rules for which operations may be active together and what ends one: PKCS#11 v2.20, 13.1 "Operations, sessions, and
 * threads", and v2.40, 5.2 and 5.8 to 5.13. The functions are pure: they use no key, mechanism or card.
 */
import { CKR } from './constants.ts'

/** The eight types of operation. */
export const operationTypes = [
  'search',
  'encrypt',
  'decrypt',
  'digest',
  'sign',
  'sign-recover',
  'verify',
  'verify-recover',
] as const
/** One of the eight types of operation. */
export type OperationType = (typeof operationTypes)[number]

/** The only pairs that may be active in one session, started in either order. */
export const operationPairs: readonly (readonly [OperationType, OperationType])[] = [
  ['digest', 'encrypt'],
  ['decrypt', 'digest'],
  ['sign', 'encrypt'],
  ['decrypt', 'verify'],
]

/** What an Init does about conflicting operations: it is rejected, or it abandons exactly those operations. */
export type ConflictPolicy = 'reject' | 'abandon'

/** The settings that decide an Init, in addition to the active operations. */
export interface AdmissionPolicy {
  /** CKF_DUAL_CRYPTO_OPERATIONS of the token. */
  readonly dual: boolean
  readonly onConflict: ConflictPolicy
}

/** The decision about an Init. `ends` are the operations to abandon after the rest of the Init has succeeded. */
export type Admission =
  | { readonly rv: typeof CKR.OK; readonly ends: readonly OperationType[] }
  | { readonly rv: typeof CKR.OPERATION_ACTIVE }

/** Returns whether two operations may be active in one session of a token that supports dual operations. */
export function isPair(a: OperationType, b: OperationType): boolean {
  return operationPairs.some(
    ([first, second]) => (a === first && b === second) || (a === second && b === first),
  )
}

/** Decides an Init. At most two operations are ever active, because no three types form a pair with each other. */
export function admit(
  active: readonly OperationType[],
  next: OperationType,
  { dual, onConflict }: AdmissionPolicy,
): Admission {
  const conflicting = active.filter((type) => !(dual && isPair(type, next)))
  if (conflicting.length === 0) return { rv: CKR.OK, ends: [] }
  return onConflict === 'abandon' ? { rv: CKR.OK, ends: conflicting } : { rv: CKR.OPERATION_ACTIVE }
}

/**
 * Decides a single-part function that is never active itself: random numbers, key generation, wrapping and derivation. The
 * standard lets a library refuse them during an operation, so this is a setting. They abandon nothing under either policy.
 */
export function admitSinglePart(
  active: readonly OperationType[],
  whileActive: 'reject' | 'allow',
): typeof CKR.OK | typeof CKR.OPERATION_ACTIVE {
  return whileActive === 'allow' || active.length === 0 ? CKR.OK : CKR.OPERATION_ACTIVE
}

/** The phase of an active operation: no call yet, the output size of the single-part call queried, or multi-part. */
export type OperationPhase = 'fresh' | 'queried' | 'multi'

/** The calls that continue an operation, such as C_Sign, C_SignUpdate and C_SignFinal. */
export type OperationCall = 'single' | 'update' | 'final'

/** The outcome of such a call. A size query and CKR_BUFFER_TOO_SMALL do not consume the input. */
export type CallOutcome = 'done' | 'size-query' | 'buffer-too-small' | 'error'

/** The decision about a call: its return value and the phase of the operation afterwards. */
export interface Step {
  readonly rv: typeof CKR.OK | typeof CKR.OPERATION_ACTIVE
  readonly phase: OperationPhase | 'gone'
}

/**
 * Decides a call. The standard forbids mixing single-part and multi-part calls but names no return value; this returns
 * CKR_OPERATION_ACTIVE and ends the operation.
 */
export function mayCall(phase: OperationPhase, call: OperationCall): Step {
  const isMixed = call === 'single' ? phase === 'multi' : phase === 'queried'
  return isMixed ? { rv: CKR.OPERATION_ACTIVE, phase: 'gone' } : { rv: CKR.OK, phase }
}

/** Returns the phase after an allowed call, or 'gone' if the call ended the operation. */
export function afterCall(
  type: OperationType,
  call: OperationCall,
  outcome: CallOutcome,
): OperationPhase | 'gone' {
  if (outcome === 'error') return 'gone'
  if (call === 'update') return 'multi'
  // A verification has no output, so neither its size can be queried nor the buffer be too small.
  const canRepeat = outcome !== 'done' && type !== 'verify' && type !== 'search'
  if (!canRepeat) return 'gone'
  return call === 'single' ? 'queried' : 'multi'
}
