/** The namespace CKF. It is not in `constants.ts`, which every page loads, because only a card requires the flags. */
import * as flags from './flags.ts'

/** Flags of slots, sessions, tokens and mechanisms. Equal bits have different meanings in each of these groups. */
export * as CKF from './flags.ts'
/** One of the flags. */
export type CKF = (typeof flags)[keyof typeof flags]
