/** Builds the ATR of a virtual card (ISO/IEC 7816-3:2006, 8). */
import { join } from '../bytes.ts'

/** The transmission protocols that the ATR offers, in order. */
export type AtrProtocols = 'T=1' | 'T=0' | 'T=0 and T=1'

/**
 * Builds the ATR with historical bytes that state command chaining and, if `extendedLength` is true, extended lengths.
 */
export function answerToReset(protocols: AtrProtocols, extendedLength: boolean): Uint8Array {
  // Card capabilities (ISO/IEC 7816-4, tables 117 to 119): selection by full and partial name, one-byte data units,
  // chaining 80, extended lengths 40.
  return atrWithHistoricalBytes(protocols, [0x80, 0x73, 0xc0, 0x21, extendedLength ? 0xc0 : 0x80])
}

/** Builds an ATR with the given historical bytes. Throws RangeError for more than 15 of them. */
export function atrWithHistoricalBytes(protocols: AtrProtocols, historical: readonly number[]): Uint8Array {
  if (historical.length > 15)
    throw new RangeError(`An ATR has at most 15 historical bytes, not ${historical.length}.`)
  // TA1 96: Fi 512, Di 32. TA3 FE: IFSC 254. TB3 45: BWI 4, CWI 5.
  const middle = {
    'T=0': [0x10, 0x96],
    'T=1': [0x90, 0x96, 0x81, 0x31, 0xfe, 0x45],
    'T=0 and T=1': [0x90, 0x96, 0x80, 0x31, 0xfe, 0x45],
  }[protocols]
  const [t0 = 0, ...interfaceBytes] = middle
  const checked = [t0 | historical.length, ...interfaceBytes, ...historical]
  const check = checked.reduce((sum, byte) => sum ^ byte, 0)
  // A card that offers only T=0 sends no TCK (8.2.5).
  return protocols === 'T=0' ? join(0x3b, ...checked) : join(0x3b, ...checked, check)
}
