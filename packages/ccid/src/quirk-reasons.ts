/** Why single readers are treated otherwise, and where that is known from: for a person who reads the plan. */
import type { QuirkName } from './quirks.ts'

/** One reason. */
export interface QuirkReason {
  readonly why: string
  /** Where it is known from. */
  readonly source: string
}

const source = 'libccid, src/ccid.c'

/** By the names that the table of quirks gives them. */
export const quirkReasons: Readonly<Record<QuirkName, QuirkReason>> = {
  'leaking-pad': { why: 'digits typed as a PIN reach the computer', source },
  'modest-omnikey': {
    why: 'announces a PIN pad that it has not, and takes extended APDUs though it says short ones',
    source,
  },
  slow: { why: 'loses bytes above 9600 baud', source },
  'contactless-second': { why: 'its second slot is the contactless one', source },
  'large-ifsd': { why: 'announces a larger IFSD than T=1 has', source },
  'no-pad': { why: 'announces a PIN pad that it has not', source },
  'mini-lector': {
    why: 'announces a PIN pad for verifying and changing PINs, and has no keys: every login fails on it',
    source: 'OpenSC, issue 2313',
  },
}
