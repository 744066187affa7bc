/**
 * A reader's features and properties in the terms of PC/SC part 10 (2.3, 2.6.14), for callers that use them and for
 * comparison with libccid.
 */
import type { CcidDescriptor } from './descriptors.ts'
import type { PadQuirk } from './quirks.ts'

/** The FEATURE_ constants of the standard that apply, with their tags. */
export const Feature = {
  VERIFY_PIN_DIRECT: 0x06,
  MODIFY_PIN_DIRECT: 0x07,
  IFD_PIN_PROPERTIES: 0x0a,
  GET_TLV_PROPERTIES: 0x12,
  CCID_ESC_COMMAND: 0x13,
} as const
export type Feature = keyof typeof Feature

/** PIN_PROPERTIES_STRUCTURE, the result of FEATURE_IFD_PIN_PROPERTIES. */
export interface PinProperties {
  /** wLcdLayout: lines in the high byte, characters per line in the low byte. */
  readonly lcdLayout: number
  /** bEntryValidationCondition: bit 0 maximum number of digits, bit 1 confirmation key, bit 2 time-out. */
  readonly entryValidationCondition: number
  /** bTimeOut2: 0, because the first time-out applies to all digits. */
  readonly timeOut2: number
}

/** The result of FEATURE_GET_TLV_PROPERTIES; each comment gives the standard's name. */
export interface TlvProperties {
  /** wLcdLayout. */
  readonly lcdLayout: number
  /** bEntryValidationCondition, if the reader supports only one. */
  readonly entryValidationCondition?: number
  /** bTimeOut2. */
  readonly timeOut2: number
  /** wLcdMaxCharacters and wLcdMaxLines, if the reader has a display. */
  readonly lcdMaxCharacters?: number
  readonly lcdMaxLines?: number
  /** bMinPINSize and bMaxPINSize, if they are known for this reader. */
  readonly minPinSize?: number
  readonly maxPinSize?: number
  /** bPPDUSupport: 1 means that Escape carries pseudo-APDUs. */
  readonly ppduSupport: number
  /** wIdVendor, wIdProduct. */
  readonly vendorId: number
  readonly productId: number
  /** dwMaxAPDUDataSize: 0 means short APDUs only. */
  readonly maxApduDataSize: number
}

/** Features and properties of one slot. */
export interface ReaderFeatures {
  /** In the order of their tags. */
  readonly features: readonly Feature[]
  /** Absent if the reader has no PIN pad. */
  readonly pin?: PinProperties
  readonly properties: TlvProperties
}

const ANY_CONDITION = 0x07
const CONFIRMATION_KEY = 0x02
const EXTENDED_BYTES = 0x1_0000

/** Derives the features from the corrected descriptor, without a request to the reader. */
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
