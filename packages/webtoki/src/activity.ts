/** What is going on, for people to look at: operations, their phases and codes, never a byte of data. */
import type { WebtokiErrorCode } from './errors.ts'

/** Where an operation stands. */
export type ActivityPhase =
  | 'started'
  | 'collecting'
  | 'awaiting-pin'
  | 'awaiting-pin-pad'
  | 'awaiting-touch'
  | 'awaiting-card'
  | 'done'
  | 'failed'

/** One step of one operation. */
export interface Activity {
  /** Counts operations of one page. */
  readonly operation: number
  readonly what: 'login' | 'sign' | 'log-out' | 'certificates'
  readonly phase: ActivityPhase
  /** Such as 'cryptoki/pin-incorrect'; only if it failed, and with an error of ours. */
  readonly code?: WebtokiErrorCode | undefined
  /** The sentence of the error. */
  readonly message?: string | undefined
}
