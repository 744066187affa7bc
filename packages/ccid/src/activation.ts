/** From a card's ATR to the way its commands go: protocol, parameters, PPS, IFSD, and what an APDU may be. */
import {
  type Atr,
  atrSaysExtended,
  type ChannelLimits,
  decodeAtr,
  MalformedError,
  NotSupportedError,
  type TransmitOptions,
} from '@webtoki/apdu'
import { HEADER_BYTES } from './messages.ts'
import type { CcidReader } from './reader.ts'

/** CLA, INS, P1, P2, Lc, 255 bytes, Le. */
export const SHORT_COMMAND_BYTES = 261
/** CLA, INS, P1, P2, three bytes of Lc, 65535 bytes, two of Le. */
const EXTENDED_COMMAND_BYTES = 65_544

/** How commands go to a card from one reset to the next. */
export interface Activation {
  readonly limits: ChannelLimits
  /** Carries one APDU where the reader takes TPDUs; absent: the reader takes APDUs. */
  readonly transmit?: (command: Uint8Array, options: TransmitOptions) => Promise<Uint8Array>
  /**
   * The same for a command that the reader completes with a PIN typed on it: `send` is given the T=1 prologue and
   * resolves to what the card said. Absent: the reader makes everything itself.
   */
  readonly transmitOnPad?: (
    template: Uint8Array,
    send: PadSend,
    options: TransmitOptions,
  ) => Promise<Uint8Array>
}

/** Sends one PC_to_RDR_Secure with that prologue. */
export type PadSend = (prologue: readonly [number, number, number]) => Promise<Uint8Array>

/** What an activation asks of its slot. */
export interface ActivatedSlot {
  readonly number: number
  readonly reader: CcidReader
  /** Resets the card after a failed PPS; resolves to its ATR. */
  powerOn(): Promise<Uint8Array>
}

/** Settles everything that reader and card leave to the host. Rejects with NotSupportedError where they have nothing in common. */
export async function activate(
  slot: ActivatedSlot,
  atrBytes: Uint8Array,
  wanted: 'T=0' | 'T=1' | undefined,
): Promise<Activation> {
  const atr = readAtr(atrBytes)
  const { level } = slot.reader.descriptor
  if (level === 'tpdu') {
    // Pages whose reader takes APDUs never load it.
    const { activateTpdu } = await import('./tpdu/activate.ts')
    return activateTpdu(slot, atr, wanted)
  }
  if (wanted !== undefined && atr !== undefined && `T=${atr.protocols[0] ?? 0}` !== wanted) {
    // At APDU level the reader chooses, and it chooses the first.
    throw new NotSupportedError(`The reader speaks T=${atr.protocols[0] ?? 0} with this card, not ${wanted}.`)
  }
  const { maxMessageBytes } = slot.reader.descriptor
  const extended = level === 'extended' && atr !== undefined && atrSaysExtended(atr)
  if (extended) return { limits: { extended, commandBytes: EXTENDED_COMMAND_BYTES, responseBytes: 65_536 } }
  const roomBytes = level === 'extended' ? SHORT_COMMAND_BYTES : maxMessageBytes - HEADER_BYTES
  return { limits: { extended, commandBytes: Math.min(SHORT_COMMAND_BYTES, roomBytes), responseBytes: 256 } }
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
