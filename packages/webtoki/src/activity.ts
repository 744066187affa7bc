/** Activities to show to people: operations with their phases and error codes, without any data. */
import type { WebtokiErrorCode } from './errors.ts'

/** The phase of an operation. */
export type ActivityPhase =
  | 'started'
  | 'collecting'
  | 'awaiting-pin'
  | 'awaiting-pin-pad'
  | 'awaiting-touch'
  | 'awaiting-card'
  | 'done'
  | 'failed'

/** One phase change of one operation. */
export interface Activity {
  /** Number of the operation, counted from 1 for each `Webtoki`. */
  readonly operation: number
  readonly what: 'login' | 'sign' | 'log-out' | 'certificates'
  readonly phase: ActivityPhase
  /** Error code, such as 'cryptoki/pin-incorrect'. Only with `failed`, and only for a Webtoki error. */
  readonly code?: WebtokiErrorCode | undefined
  /** Message of the error, for developers. Only with `failed`. */
  readonly message?: string | undefined
}
