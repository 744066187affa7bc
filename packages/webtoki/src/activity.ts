/** What is going on, for people to look at: operations, their phases and codes, never a byte of data. */

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
  /** Such as 'CKR_PIN_INCORRECT'; only where it failed. */
  readonly code?: string
  /** The sentence of the error. */
  readonly message?: string
}
