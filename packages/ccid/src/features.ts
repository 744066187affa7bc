/** What a reader can do, in the terms of PC/SC part 10 (2.3, 2.6.14): for comparison, and for callers that know those. */
import type { CcidDescriptor } from './descriptors.ts'
import type { PadQuirk } from './quirks.ts'

/** The standard's FEATURE_…, with their tags. */
export const Feature = {
  VERIFY_PIN_DIRECT: 0x06,
  MODIFY_PIN_DIRECT: 0x07,
  IFD_PIN_PROPERTIES: 0x0a,
  GET_TLV_PROPERTIES: 0x12,
  CCID_ESC_COMMAND: 0x13,
} as const
export type Feature = keyof typeof Feature

/** PIN_PROPERTIES_STRUCTURE: what FEATURE_IFD_PIN_PROPERTIES tells. */
export interface PinProperties {
  /** wLcdLayout: lines in the high byte, characters a line in the low one. */
  readonly lcdLayout: number
  /** bEntryValidationCondition: 1 as many digits as possible, 2 the confirmation key, 4 time-out. */
  readonly entryValidationCondition: number
  /** bTimeOut2: 0, for the first time-out counts for all digits. */
  readonly timeOut2: number
}

/** What FEATURE_GET_TLV_PROPERTIES tells; the standard's names stand beside. */
export interface TlvProperties {
  /** wLcdLayout. */
  readonly lcdLayout: number
  /** bEntryValidationCondition, where this reader has but one. */
  readonly entryValidationCondition?: number
  /** bTimeOut2. */
  readonly timeOut2: number
  /** wLcdMaxCharacters, wLcdMaxLines: where there is a display. */
  readonly lcdMaxCharacters?: number
  readonly lcdMaxLines?: number
  /** bMinPINSize, bMaxPINSize: where they are known of this reader. */
  readonly minPinSize?: number
  readonly maxPinSize?: number
  /** bPPDUSupport: 1, pseudo-APDUs may be sent by Escape. */
  readonly ppduSupport: number
  /** wIdVendor, wIdProduct. */
  readonly vendorId: number
  readonly productId: number
  /** dwMaxAPDUDataSize: 0 means short APDUs alone. */
  readonly maxApduDataSize: number
}

/** Features and properties of one slot. */
export interface ReaderFeatures {
  /** In the order of their tags. */
  readonly features: readonly Feature[]
  /** Absent: no PIN is typed there. */
  readonly pin?: PinProperties
  readonly properties: TlvProperties
}

const ANY_CONDITION = 0x07
const CONFIRMATION_KEY = 0x02
const EXTENDED_BYTES = 0x1_0000

/** Nothing is asked of the reader: `descriptor` is the corrected one. */
export function featuresOf(
  { vendorId, productId }: Pick<USBDevice, 'vendorId' | 'productId'>,
  descriptor: CcidDescriptor,
  quirk: PadQuirk | undefined,
): ReaderFeatures {
  const { pinSupport, lcdLayout, level } = descriptor
  const condition = quirk?.endsByKeyAlone ? CONFIRMATION_KEY : ANY_CONDITION
  const sizes = quirk?.pinSizes
  return {
    features: [
      ...(pinSupport & 1 ? (['VERIFY_PIN_DIRECT'] as const) : []),
      ...(pinSupport & 2 ? (['MODIFY_PIN_DIRECT'] as const) : []),
      ...(pinSupport === 0 ? [] : (['IFD_PIN_PROPERTIES'] as const)),
      'GET_TLV_PROPERTIES',
      'CCID_ESC_COMMAND',
    ],
    ...(pinSupport === 0 ? {} : { pin: { lcdLayout, entryValidationCondition: condition, timeOut2: 0 } }),
    properties: {
      lcdLayout,
      ...(lcdLayout === 0 ? {} : { lcdMaxCharacters: lcdLayout & 0xff, lcdMaxLines: lcdLayout >> 8 }),
      timeOut2: 0,
      ...(sizes === undefined ? {} : { minPinSize: sizes[0], maxPinSize: sizes[1] }),
      ...(quirk?.endsByKeyAlone ? { entryValidationCondition: condition } : {}),
      ppduSupport: 1,
      vendorId,
      productId,
      maxApduDataSize: level === 'extended' ? EXTENDED_BYTES : 0,
    },
  }
}
