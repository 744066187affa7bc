/** What an encoded command says of itself, and the limits of short APDUs: for whoever does not encode any. */
import { viewOf } from './bytes.ts'
import type { ChannelLimits } from './ports.ts'

/** CLA, INS, P1, P2, Lc, 255 bytes, Le. */
export const SHORT_COMMAND_BYTES = 261

/** The same channel without extended lengths. */
export function shortLimits({ commandBytes, responseBytes }: ChannelLimits): ChannelLimits {
  return {
    extended: false,
    commandBytes: Math.min(commandBytes, SHORT_COMMAND_BYTES),
    responseBytes: Math.min(responseBytes, 256),
  }
}

/** What short APDUs may be if one message has room for so many bytes, and bounds answers as it bounds commands. */
export function limitsOf(capacityBytes: number): ChannelLimits {
  return shortLimits({
    extended: false,
    commandBytes: capacityBytes,
    responseBytes: Math.max(1, capacityBytes - 2),
  })
}

/** Whether an encoded command has extended length fields. */
export function isExtended(command: Uint8Array): boolean {
  const bytes = viewOf(command)
  return bytes.length > 5 && bytes[4] === 0
}

/** READ BINARY, GET RESPONSE and GET DATA, even or odd, of the interindustry class: they change nothing on the card. */
export function isReading([cla, ins = 0]: ArrayLike<number> & Iterable<number>): boolean {
  return cla === 0 && [0xb0, 0xc0, 0xca].includes(ins & 0xfe)
}
