/** What the keys of single readers want otherwise than CCID 1.1, 6.1.11 has it. Loaded with the first PIN that is typed on a reader. */
import type { UsbIds } from './quirks.ts'

const COMMANDS = 'libccid, src/commands.c'
const PROPERTIES = 'libccid, src/ifdhandler.c (PC/SC part 10 properties)'

/** Deviations of one reader's keys. Absent members: none. */
export interface PadQuirk {
  /** bNumberMessage where a PIN is verified, and where it is changed. */
  readonly verifyMessages?: number
  readonly modifyMessages?: number
  /** All three bMsgIndex stand in a change, whatever bNumberMessage says. */
  readonly hasThreeIndices?: true
  /** The two bytes of wPINMaxExtraDigit change places. */
  readonly swapsDigits?: true
  /** Wait before a PIN is asked for, in milliseconds. */
  readonly waitMs?: number
  /** Where the PIN has no block it goes behind a header without Lc, and this Escape comes first. */
  readonly escapeBeforeBareHeader?: readonly number[]
  /** The confirmation key alone ends an entry. */
  readonly endsByKeyAlone?: true
  /** Least and most digits. */
  readonly pinSizes?: readonly [min: number, max: number]
  /** For a person who reads the plan. */
  readonly why: string
  /** Where it is known from. */
  readonly source: string
}

const GEMPC_PAD: PadQuirk = {
  verifyMessages: 1,
  hasThreeIndices: true,
  endsByKeyAlone: true,
  pinSizes: [4, 8],
  why: 'takes bNumberMessage 1 alone for a PIN and the confirmation key alone as its end; a change has all three bMsgIndex',
  source: `${COMMANDS} and ifdhandler.c`,
}
const NO_DISPLAY: PadQuirk = {
  modifyMessages: 0,
  hasThreeIndices: true,
  why: 'has no display: a change has bNumberMessage 0 and all three bMsgIndex all the same',
  source: COMMANDS,
}
const DELL_KEYS =
  'takes bNumberMessage 0 alone, and refuses while Enter of the entry before is still down: wait 250 ms'

const byProduct: Readonly<Record<string, PadQuirk>> = {
  /** GemPC Pinpad, and Covadis Véga-Alpha with the same firmware. */
  '08e6:3478': GEMPC_PAD,
  '0982:0008': GEMPC_PAD,
  /** SCM SPR532. */
  '04e6:e003': {
    ...NO_DISPLAY,
    escapeBeforeBareHeader: [0x80, 0x02, 0x00],
    why: `${NO_DISPLAY.why}; a PIN without a block goes behind a bare header after Escape 80 02 00, else it is padded`,
  },
  /** Cherry SmartTerminal ST-2xxx. */
  '046a:003e': {
    ...NO_DISPLAY,
    endsByKeyAlone: true,
    pinSizes: [0, 25],
    source: `${COMMANDS} and ifdhandler.c`,
  },
  /** Cherry SmartTerminal XX44. */
  '046a:0010': {
    modifyMessages: 3,
    hasThreeIndices: true,
    why: 'a change with fewer than three sentences reaches the card garbled (6B80)',
    source: COMMANDS,
  },
  /** Cherry KC 1000 SC, OMNIKEY 3821. */
  '046a:00a1': { pinSizes: [0, 32], why: 'PINs of at most 32 digits', source: PROPERTIES },
  '076b:3821': { pinSizes: [1, 31], why: 'PINs of 1 to 31 digits', source: PROPERTIES },
  /** Dell SK-3106 and the Dell keyboard after it. */
  '413c:2100': {
    verifyMessages: 0,
    waitMs: 250,
    swapsDigits: true,
    why: `${DELL_KEYS}; least and most digits change places`,
    source: COMMANDS,
  },
  '413c:2101': { verifyMessages: 0, waitMs: 250, why: DELL_KEYS, source: COMMANDS },
}
const byVendor: Readonly<Record<string, PadQuirk>> = {
  /** Gemalto. Firmware that tells by Escape 6A that it was mended is served as well where there are three sentences. */
  '08e6': {
    hasThreeIndices: true,
    why: 'a change has all three bMsgIndex, whatever bNumberMessage says',
    source: COMMANDS,
  },
}

const hex4 = (value: number): string => value.toString(16).padStart(4, '0')

/** What is known of a reader's keys; undefined: nothing. */
export function padQuirkOf({ vendorId, productId }: UsbIds): PadQuirk | undefined {
  return byProduct[`${hex4(vendorId)}:${hex4(productId)}`] ?? byVendor[hex4(vendorId)]
}

/** All of them, by `vendor:product` in hex, or by the vendor alone. */
export const padQuirks: readonly (readonly [id: string, quirk: PadQuirk])[] = [
  ...Object.entries(byProduct),
  ...Object.entries(byVendor),
]
