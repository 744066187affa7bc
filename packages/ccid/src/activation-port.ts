/** What an activation is asked for and what it settles; how, is `activation.ts` and `tpdu/activate.ts`. */
import type { ChannelLimits, TransmitOptions } from '@webtoki/apdu'
import type { Patience } from './messages.ts'
import type { CcidReader } from './reader.ts'

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
