/** The flags as one namespace. Apart from the other constants, which every page loads: flags come with the first card. */
import * as flags from './flags.ts'

/** Flags of slots, sessions, tokens and mechanisms, in this order. Equal bits mean different things in each. */
export * as CKF from './flags.ts'
/** One of them. */
export type CKF = (typeof flags)[keyof typeof flags]
