/** The historical bytes of an ATR, ISO/IEC 7816-4:2013 clause 12.1.1: category indicator and COMPACT-TLV data objects. */
import { viewOf } from './bytes.ts'
import {
  capabilityBytes,
  CATEGORY_COMPACT_TLV,
  CATEGORY_STATUS_LAST,
  type CompactTlv,
  objectsIn,
  readObjects,
} from './compact-tlv.ts'
import { MalformedError } from './errors.ts'

export type { CompactTlv } from './compact-tlv.ts'

/** What the historical bytes state about the card. */
export interface HistoricalBytes {
  /**
   * The first byte; undefined if there are no historical bytes. 00, 10 and 80 are defined, 81 to 8F are reserved, all
   * others are proprietary.
   */
  readonly category: number | undefined
  /** Categories 00 and 80: the data objects in order, without the three-byte status indicator of category 00. */
  readonly objects: readonly CompactTlv[]
  /** Data object 7X. */
  readonly capabilities?: CardCapabilities
  /** Data object 3X, one byte: how to select applications and how to read EF.DIR and EF.ATR/INFO. */
  readonly serviceData?: number
  /** Data object FX, an application identifier; a view. */
  readonly applicationId?: Uint8Array
  /** Category 10: the DIR data reference. */
  readonly dirDataReference?: number
  /** Data object 8X, or the last three bytes of category 00. */
  readonly status?: StatusIndicator
  /** True if the bytes do not end with a whole data object. The bytes after the last good one are ignored. */
  readonly malformed: boolean
}

/** Life cycle status and status word that the card reports at its reset. */
export interface StatusIndicator {
  /** Life cycle status byte, ISO/IEC 7816-4:2013 table 14. */
  readonly lifeCycle?: number
  /** SW1 SW2 as one number. */
  readonly sw?: number
}

/** The software function bytes, up to three: ISO/IEC 7816-4:2013 tables 117, 118 and 119. */
export interface CardCapabilities {
  /** First byte: how a DF or EF may be selected. */
  readonly selection: {
    readonly fullDfName: boolean
    readonly partialDfName: boolean
    readonly path: boolean
    readonly fileId: boolean
    readonly implicitDf: boolean
    readonly shortFileId: boolean
    readonly recordNumber: boolean
    readonly recordId: boolean
  }
  /** Second byte, data coding. Absent if the card sends one byte only. */
  readonly dataCoding?: number
  /** Third byte, b8: command chaining. */
  readonly commandChaining: boolean
  /** Third byte, b7: extended Lc and Le fields. */
  readonly extendedLength: boolean
  /** Third byte, b6: EF.ATR/INFO contains the maximum APDU lengths. */
  readonly extendedLengthInformation: boolean
  /** Third byte, b5 and b4: which side assigns logical channel numbers. */
  readonly channelsAssignedBy: { readonly card: boolean; readonly interfaceDevice: boolean }
  /** Third byte, b3 to b1: 1 to 8. 8 means eight or more. */
  readonly maxLogicalChannels: number
}

const CATEGORY_DIR_REFERENCE = 0x10
const TAG_SERVICE_DATA = 0x3
const TAG_STATUS = 0x8
const TAG_APPLICATION_ID = 0xf

/** Decodes historical bytes. Never throws: sets `malformed` and ignores what it cannot decode. */
export function decodeHistoricalBytes(bytes: Uint8Array): HistoricalBytes {
  const [category, second] = bytes
  if (category === CATEGORY_DIR_REFERENCE) {
    const malformed = bytes.length !== 2
    return second === undefined
      ? { category, objects: [], malformed }
      : { category, objects: [], dirDataReference: second, malformed }
  }
  if (category !== CATEGORY_STATUS_LAST && category !== CATEGORY_COMPACT_TLV) {
    return { category, objects: [], malformed: false }
  }
  const { objects, trailing, malformed } = objectsIn(bytes)
  const object = (tag: number): Uint8Array | undefined => objects.find((one) => one.tag === tag)?.value
  const capabilities = readCapabilities(capabilityBytes(objects))
  const serviceData = object(TAG_SERVICE_DATA)?.[0]
  const applicationId = object(TAG_APPLICATION_ID)
  const status = readStatus(trailing ?? object(TAG_STATUS))
  return {
    category,
    objects,
    ...(capabilities && { capabilities }),
    ...(serviceData !== undefined && { serviceData }),
    ...(applicationId && { applicationId }),
    ...(status && { status }),
    malformed: malformed || (trailing !== undefined && trailing.length !== 3),
  }
}

/** Decodes COMPACT-TLV data objects that fill `bytes`. Values are views. Throws MalformedError. */
export function decodeCompactTlvs(bytes: Uint8Array): CompactTlv[] {
  const { objects, malformed } = readObjects(viewOf(bytes))
  if (malformed) throw new MalformedError('COMPACT-TLV', `no whole data objects in ${bytes.length} bytes`)
  return objects
}

function readCapabilities(value: Uint8Array): CardCapabilities | undefined {
  if (value.length === 0) return undefined
  const [first = 0, dataCoding, third = 0] = value
  return {
    selection: {
      fullDfName: (first & 0x80) !== 0,
      partialDfName: (first & 0x40) !== 0,
      path: (first & 0x20) !== 0,
      fileId: (first & 0x10) !== 0,
      implicitDf: (first & 0x08) !== 0,
      shortFileId: (first & 0x04) !== 0,
      recordNumber: (first & 0x02) !== 0,
      recordId: (first & 0x01) !== 0,
    },
    ...(dataCoding !== undefined && { dataCoding }),
    commandChaining: (third & 0x80) !== 0,
    extendedLength: (third & 0x40) !== 0,
    extendedLengthInformation: (third & 0x20) !== 0,
    channelsAssignedBy: { card: (third & 0x10) !== 0, interfaceDevice: (third & 0x08) !== 0 },
    maxLogicalChannels: (third & 0x07) + 1,
  }
}

function readStatus(value: Uint8Array | undefined): StatusIndicator | undefined {
  if (value === undefined) return undefined
  const [a = 0, b = 0, c = 0] = value
  if (value.length === 1) return { lifeCycle: a }
  if (value.length === 2) return { sw: (a << 8) | b }
  return value.length === 3 ? { lifeCycle: a, sw: (b << 8) | c } : undefined
}
