/**
 * COMPACT-TLV data objects in the historical bytes of an ATR, ISO/IEC 7816-4:2013 clause 12.1.1: the part that drivers
 * load.
 */

/** One COMPACT-TLV data object: tag and length are the nibbles of one byte. */
export interface CompactTlv {
  /** 1 to F. The BER-TLV tag is 4X. */
  readonly tag: number
  /** A view of the received bytes. */
  readonly value: Uint8Array
}

/** Category indicator byte: the last three bytes are a status indicator. */
export const CATEGORY_STATUS_LAST = 0x00
/** Category indicator byte: all that follows is COMPACT-TLV, possibly with a status indicator. */
export const CATEGORY_COMPACT_TLV = 0x80
/** Tag of the card capabilities (tables 117 to 119). */
export const TAG_CAPABILITIES = 0x7

/** Reads data objects up to the first malformed one. Values are views. */
export function readObjects(bytes: Uint8Array): { objects: CompactTlv[]; malformed: boolean } {
  const objects: CompactTlv[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const head = bytes[offset] ?? 0
    const end = offset + 1 + (head & 0x0f)
    // Tag 0 is not a data object (ISO/IEC 7816-4:2013 clause 12.1.1.2 derives tags from 4X), and cards pad with zero bytes.
    if (head >> 4 === 0 || end > bytes.length) return { objects, malformed: true }
    objects.push({ tag: head >> 4, value: bytes.subarray(offset + 1, end) })
    offset = end
  }
  return { objects, malformed: false }
}

/** Reads the data objects of historical bytes. `trailing` is the status indicator that follows them in category 00. */
export function objectsIn(historicalBytes: Uint8Array): {
  readonly objects: readonly CompactTlv[]
  readonly trailing?: Uint8Array
  readonly malformed: boolean
} {
  const [category] = historicalBytes
  if (category === CATEGORY_COMPACT_TLV) return readObjects(historicalBytes.subarray(1))
  if (category !== CATEGORY_STATUS_LAST) return { objects: [], malformed: false }
  const end = Math.max(1, historicalBytes.length - 3)
  return { ...readObjects(historicalBytes.subarray(1, end)), trailing: historicalBytes.subarray(end) }
}

/** Returns the software function bytes: up to three, empty if the card capabilities are absent. */
export function capabilityBytes(objects: readonly CompactTlv[]): Uint8Array {
  const value = objects.find(({ tag }) => tag === TAG_CAPABILITIES)?.value
  return value === undefined || value.length > 3 ? new Uint8Array(0) : value
}
