/** Which operations may be active together and what ends one: PKCS#11 v2.20, 13.1 "Operations, sessions, and threads", and v2.40, 5.2 and 5.8 to 5.13. Pure and synchronous: no key, mechanism or card is touched. */
import { CKR } from './constants.ts'

/** The eight kinds. */
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
/** One of the eight kinds. */
export type OperationType = (typeof operationTypes)[number]

/** The only pairs that a session may hold, in either order. */
export const operationPairs: readonly (readonly [OperationType, OperationType])[] = [
  ['digest', 'encrypt'],
  ['decrypt', 'digest'],
  ['sign', 'encrypt'],
  ['decrypt', 'verify'],
]

/** What an init does that active operations forbid: be rejected, or end exactly those that stand in its way. */
export type ConflictPolicy = 'reject' | 'abandon'

/** What the answer depends on beside the operations themselves. */
export interface AdmissionPolicy {
  /** CKF_DUAL_CRYPTO_OPERATIONS of the token. */
  readonly dual: boolean
  readonly onConflict: ConflictPolicy
}

/** The answer to an init. `ends` holds those that it abandons, to be ended once the rest of the init has succeeded. */
export type Admission =
  | { readonly rv: typeof CKR.OK; readonly ends: readonly OperationType[] }
  | { readonly rv: typeof CKR.OPERATION_ACTIVE }

/** Whether the two may be active in one session of a token that supports two at all. */
export function isPair(a: OperationType, b: OperationType): boolean {
  return operationPairs.some(
    ([first, second]) => (a === first && b === second) || (a === second && b === first),
  )
}

/** Decides an init. No two of the pairs share both ends with a third type, so that one that fits never makes three. */
export function admit(
  active: readonly OperationType[],
  next: OperationType,
  { dual, onConflict }: AdmissionPolicy,
): Admission {
  const inTheWay = active.filter((type) => !(dual && isPair(type, next)))
  if (inTheWay.length === 0) return { rv: CKR.OK, ends: [] }
  return onConflict === 'abandon' ? { rv: CKR.OK, ends: inTheWay } : { rv: CKR.OPERATION_ACTIVE }
}

/**
 * Functions that take one call and are never active themselves: random numbers, key generation, wrapping, derivation. "May"
 * in the standard: a setting. They abandon nothing, whatever the conflict policy.
 */
export function admitSinglePart(
  active: readonly OperationType[],
  whileActive: 'reject' | 'allow',
): typeof CKR.OK | typeof CKR.OPERATION_ACTIVE {
  return whileActive === 'allow' || active.length === 0 ? CKR.OK : CKR.OPERATION_ACTIVE
}

/** Where an active operation stands: nothing done yet, its single-part size asked, or in parts. */
export type OperationPhase = 'fresh' | 'queried' | 'multi'

/** The calls that carry an operation on: C_Sign, C_SignUpdate, C_SignFinal and their like. */
export type OperationCall = 'single' | 'update' | 'final'

/** How such a call went. A size query and CKR_BUFFER_TOO_SMALL consume nothing. */
export type CallOutcome = 'done' | 'size-query' | 'buffer-too-small' | 'error'

/** What a call comes to: allowed or not, and whether the operation is there afterwards. */
export interface Step {
  readonly rv: typeof CKR.OK | typeof CKR.OPERATION_ACTIVE
  readonly phase: OperationPhase | 'gone'
}

/**
 * Mixing single and multi part is forbidden without a named code; the strict reading refuses it with
 * CKR_OPERATION_ACTIVE and ends the operation.
 */
export function mayCall(phase: OperationPhase, call: OperationCall): Step {
  const mixes = call === 'single' ? phase === 'multi' : phase === 'queried'
  return mixes ? { rv: CKR.OPERATION_ACTIVE, phase: 'gone' } : { rv: CKR.OK, phase }
}

/** Where the operation stands after an allowed call. */
export function afterCall(
  type: OperationType,
  call: OperationCall,
  outcome: CallOutcome,
): OperationPhase | 'gone' {
  if (outcome === 'error') return 'gone'
  if (call === 'update') return 'multi'
  // Verifying has no output whose size could be asked, or for which a buffer could be too small.
  const canAskAgain = outcome !== 'done' && type !== 'verify' && type !== 'search'
  if (!canAskAgain) return 'gone'
  return call === 'single' ? 'queried' : 'multi'
}
