/** What single readers do otherwise than their descriptors say. Each entry has its reason by name; the numbers are facts that libccid's users found. */

/** Names of the reasons. */
export type QuirkName =
  | 'leaking-pad'
  | 'modest-omnikey'
  | 'slow'
  | 'contactless-second'
  | 'large-ifsd'
  | 'no-pad'
  | 'mini-lector'

/** Deviations of one reader. */
export interface ReaderQuirk {
  /** Real dwMaxIFSD, in bytes. */
  readonly maxIfsdBytes?: number
  /** Cards are not spoken to faster than this, in bits a second. */
  readonly maxDataRateBps?: number
  /** bPINSupport is not to be believed: no PIN is typed there. */
  readonly noPinPad?: true
  /** Takes extended APDUs though it says short ones. */
  readonly isExtended?: true
  /** What its slots are for, in order; no descriptor says it. */
  readonly slotKinds?: readonly ('contact' | 'contactless')[]
  /** Its reason and source stand in `quirk-reasons.ts`, which only a person who reads them loads. */
  readonly name: QuirkName
}

/** Which product it is. */
export interface UsbIds {
  readonly vendorId: number
  readonly productId: number
}

const LEAKING_PAD: ReaderQuirk = { noPinPad: true, name: 'leaking-pad' }
const MODEST_OMNIKEY: ReaderQuirk = { noPinPad: true, isExtended: true, name: 'modest-omnikey' }
const SLOW_OZ776: ReaderQuirk = { maxDataRateBps: 9600, name: 'slow' }
const CONTACTLESS_SECOND: ReaderQuirk = {
  slotKinds: ['contact', 'contactless'],
  name: 'contactless-second',
}

/** Vendor and product, as the descriptor dumps name them. */
const quirks: Readonly<Record<string, ReaderQuirk>> = {
  /** O2Micro OZ776 and its sibling. */
  '0b97:7762': SLOW_OZ776,
  '0b97:7772': SLOW_OZ776,
  /** SCR331-DI, its sibling for NTT, SDI010. */
  '04e6:5111': CONTACTLESS_SECOND,
  '04e6:5120': CONTACTLESS_SECOND,
  '04e6:5121': CONTACTLESS_SECOND,
  /** MySmartPad. */
  '09be:0002': { maxIfsdBytes: 254, name: 'large-ifsd' },
  /** HP USB Smart Card Keyboard, HP CCID keyboard, Chicony HP Skylab, Fujitsu SmartCase KB, C3PO LTC31 v2. */
  '03f0:1024': LEAKING_PAD,
  '03f0:0036': LEAKING_PAD,
  '04f2:1469': LEAKING_PAD,
  '0bf8:1017': LEAKING_PAD,
  '0783:0006': { noPinPad: true, name: 'no-pad' },
  /** bit4id miniLector EVO. */
  '25dd:3111': { noPinPad: true, name: 'mini-lector' },
  /** OMNIKEY 3x21, 6121 and Aviator, Cherry Smart Terminal xx44, Fujitsu D323: one design. */
  '076b:3031': MODEST_OMNIKEY,
  '076b:6632': MODEST_OMNIKEY,
  '076b:3a21': MODEST_OMNIKEY,
  '046a:00a7': MODEST_OMNIKEY,
  '0bf8:1024': MODEST_OMNIKEY,
}

const hex4 = (value: number): string => value.toString(16).padStart(4, '0')

/** What is known of a reader; undefined: nothing. */
export function quirkOf(vendorId: number, productId: number): ReaderQuirk | undefined {
  return Object.freeze(quirks[`${hex4(vendorId)}:${hex4(productId)}`])
}

/** All of them, by `vendor:product` in hex. */
export const readerQuirks: readonly (readonly [id: string, quirk: ReaderQuirk])[] = Object.entries(quirks)
