/** The port between a slot and the activation of its card. `activation.ts` and `tpdu/activate.ts` implement it. */
import type { ChannelLimits, TransmitOptions } from '@webtoki/apdu'
import type { MessageOptions } from './messages.ts'
import type { CcidReader } from './reader.ts'

/** The `TransmitOptions` of one exchange, and the time-extension budget that its messages share. */
export type ExchangeOptions = TransmitOptions & MessageOptions

/** How commands reach a card until its next reset. */
export interface Activation {
  readonly limits: ChannelLimits
  /** Exchanges one APDU with a reader at TPDU or character level. Absent: the reader takes APDUs. */
  readonly transmit?: (command: Uint8Array, options: ExchangeOptions) => Promise<Uint8Array>
  /**
   * Exchanges a command that the reader completes with a PIN from its keys. `send` takes the T=1 prologue and
   * resolves to the card's block. Absent: the reader builds the whole block.
   */
  readonly transmitOnPad?: (
    template: Uint8Array,
    send: PadSend,
    options: ExchangeOptions,
  ) => Promise<Uint8Array>
}

/** Sends one PC_to_RDR_Secure with this prologue (NAD, PCB, LEN). */
export type PadSend = (prologue: readonly [number, number, number]) => Promise<Uint8Array>

/** The slot, as an activation uses it. */
export interface ActivatedSlot {
  readonly number: number
  readonly reader: CcidReader
  /** False: the card in this slot failed on an extended APDU. */
  readonly mayTryExtended: boolean
  /** Resets the card after a failed PPS; resolves to its ATR. */
  powerOn(): Promise<Uint8Array>
  /** The card's state is unknown. It is powered off before its next use. */
  disturbed(): void
}
