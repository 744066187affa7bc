/** What an activation is asked for and what it settles; how, is `activation.ts` and `tpdu/activate.ts`. */
import { type Atr, type ChannelLimits, decodeAtr, MalformedError, type TransmitOptions } from '@webtoki/apdu'
import type { CcidReader, Patience } from './reader.ts'

/** CLA, INS, P1, P2, Lc, 255 bytes, Le. */
export const SHORT_COMMAND_BYTES = 261

const STATUS_WORD_BYTES = 2

/** What short APDUs may be if a message has room for so many bytes: dwMaxCCIDMessageLength bounds answers as it bounds commands. */
export function shortLimits(roomBytes: number): {
  readonly commandBytes: number
  readonly responseBytes: number
} {
  return {
    commandBytes: Math.min(SHORT_COMMAND_BYTES, roomBytes),
    responseBytes: Math.max(1, Math.min(256, roomBytes - STATUS_WORD_BYTES)),
  }
}

/** `TransmitOptions` of one exchange, and what its messages share. */
export type ExchangeOptions = TransmitOptions & Patience

/** How commands go to a card from one reset to the next. */
export interface Activation {
  readonly limits: ChannelLimits
  /** Carries one APDU where the reader takes TPDUs or characters; absent: the reader takes APDUs. */
  readonly transmit?: (command: Uint8Array, options: ExchangeOptions) => Promise<Uint8Array>
  /**
   * The same for a command that the reader completes with a PIN typed on it: `send` is given the T=1 prologue and
   * resolves to what the card said. Absent: the reader makes everything itself.
   */
  readonly transmitOnPad?: (
    template: Uint8Array,
    send: PadSend,
    options: ExchangeOptions,
  ) => Promise<Uint8Array>
}

/** Sends one PC_to_RDR_Secure with that prologue. */
export type PadSend = (prologue: readonly [number, number, number]) => Promise<Uint8Array>

/** What an activation asks of its slot. */
export interface ActivatedSlot {
  readonly number: number
  readonly reader: CcidReader
  /** False: the card in this slot did not survive an extended APDU. */
  readonly mayTryExtended: boolean
  /** Resets the card after a failed PPS; resolves to its ATR. */
  powerOn(): Promise<Uint8Array>
  /** Nobody knows where the card stands: it is powered off before it is used again. */
  disturbed(): void
}

/** Leniently: cards with an odd ATR work all the same, and what it says of protocols still holds. */
export function readAtr(bytes: Uint8Array): Atr | undefined {
  try {
    return decodeAtr(bytes, { lenient: true })
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}

/** Whether an ATR was damaged on its way, so that another reset may bring a good one. */
export function isDamaged(bytes: Uint8Array): boolean {
  const faults = readAtr(bytes)?.faults ?? []
  return faults.some((fault) => /wrong|truncated|convention/.test(fault))
}
