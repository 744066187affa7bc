/** The ATR of a virtual card (ISO 7816-3 §8): historical bytes 80 73 C0 21 C0 tell of chaining and extended length. */
import { join } from '../bytes.ts'

/** Which transmission protocols the ATR offers, the first one first. */
export type AtrProtocols = 'T=1' | 'T=0' | 'T=0 and T=1'

/** Builds the ATR; without `extendedLength` the third capability byte says chaining only. */
export function answerToReset(protocols: AtrProtocols, extendedLength: boolean): Uint8Array {
  // Card capabilities (ISO 7816-4 table 117 ff.): selection by full and partial name; one-byte units; chaining 80, extended 40.
  return atrWithHistoricalBytes(protocols, [0x80, 0x73, 0xc0, 0x21, extendedLength ? 0xc0 : 0x80])
}

/** Builds an ATR with these historical bytes, 15 at most. */
export function atrWithHistoricalBytes(protocols: AtrProtocols, historical: readonly number[]): Uint8Array {
  if (historical.length > 15) throw new RangeError('An ATR has at most 15 historical bytes.')
  // TA1 96: Fi 512, Di 32. TA3 FE: information fields of 254 bytes. TB3 45: BWI 4, CWI 5.
  const middle = {
    'T=0': [0x10, 0x96],
    'T=1': [0x90, 0x96, 0x81, 0x31, 0xfe, 0x45],
    'T=0 and T=1': [0x90, 0x96, 0x80, 0x31, 0xfe, 0x45],
  }[protocols]
  const [t0 = 0, ...interfaceBytes] = middle
  const checked = [t0 | historical.length, ...interfaceBytes, ...historical]
  const check = checked.reduce((sum, byte) => sum ^ byte, 0)
  // A card that offers T=0 alone sends no TCK (ISO 7816-3 §8.2.5).
  return protocols === 'T=0' ? join(0x3b, ...checked) : join(0x3b, ...checked, check)
}
