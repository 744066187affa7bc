/**
 * Lengths of short APDUs and properties of encoded commands (ISO/IEC 7816-3:2006, 12.1), for transports that only carry
 * APDUs.
 */
import { viewOf } from './bytes.ts'
import type { ChannelLimits } from './ports.ts'

/** Longest short command APDU: CLA, INS, P1, P2, Lc, 255 bytes, Le. */
export const SHORT_COMMAND_BYTES = 261

/** Restricts limits to short APDUs. */
export function shortLimits({ commandBytes, responseBytes }: ChannelLimits): ChannelLimits {
  return {
    extended: false,
    commandBytes: Math.min(commandBytes, SHORT_COMMAND_BYTES),
    responseBytes: Math.min(responseBytes, 256),
  }
}

/** Limits of short APDUs if one message carries at most `capacityBytes`, for commands and responses alike. */
export function limitsOf(capacityBytes: number): ChannelLimits {
  return shortLimits({
    extended: false,
    commandBytes: capacityBytes,
    responseBytes: Math.max(1, capacityBytes - 2),
  })
}

/** Returns true if the encoded command has extended length fields. */
export function isExtended(command: Uint8Array): boolean {
  const bytes = viewOf(command)
  return bytes.length > 5 && bytes[4] === 0
}

/**
 * Returns true for READ BINARY, GET RESPONSE and GET DATA (even or odd INS) with CLA 00: they change nothing on the card.
 */
export function isReading([cla, ins = 0]: ArrayLike<number> & Iterable<number>): boolean {
  return cla === 0 && [0xb0, 0xc0, 0xca].includes(ins & 0xfe)
}
