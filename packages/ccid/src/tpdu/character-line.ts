/**
 * Readers at character level (CCID 1.1, 6.1.4): the reader carries bytes, and the host states how many to expect.
 * Exchanges T=0 commands and T=1 blocks.
 */
import { CardTooSlowError, concatBytes, MalformedError, ReaderRefusedError } from '@webtoki/apdu'
import type { ActivatedSlot, ExchangeOptions } from '../activation-port.ts'
import {
  DEFAULT_MAX_WAIT_MS,
  encodeXfrBlock,
  HEADER_BYTES,
  RdrToPc,
  timeExtensionBudget,
} from '../messages.ts'
import { toT0Tpdu } from './t0.ts'
import { beginT0, stepT0 } from './t0-characters.ts'

/**
 * O2Micro's OZ776 loses a response that exactly fills its packets, so such a response is requested in two parts.
 * Other readers accept that too.
 */
const PACKET_BYTES = 64
/** The least time between NULL bytes. A card that sends them faster is not requesting time. */
const MIN_NULL_MS = 10
/** NAD, PCB, LEN. */
const PROLOGUE_BYTES = 3
/** LEN 255 is reserved. */
const NO_LENGTH = 255
const nothing = new Uint8Array(0)

/** Options of one XfrBlock. */
export interface CharacterOptions extends ExchangeOptions {
  /** bBWI. */
  readonly waitingExtension?: number
}

/** The line to one activated card at character level. */
export class CharacterLine {
  readonly #slot: ActivatedSlot

  constructor(slot: ActivatedSlot) {
    this.#slot = slot
  }

  /** Most bytes that one message carries. */
  get capacityBytes(): number {
    return Math.max(1, this.#slot.reader.descriptor.maxMessageBytes - HEADER_BYTES)
  }

  /** Sends bytes and resolves to `expects` bytes, or fewer if the reader returns fewer. */
  async exchange(
    bytes: Uint8Array,
    expects: number,
    options: CharacterOptions,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const expectedBytes = Math.min(expects, this.capacityBytes)
    const first = (expectedBytes + HEADER_BYTES) % PACKET_BYTES === 0 ? 1 : expectedBytes
    const { number, reader } = this.#slot
    const { waitingExtension = 0 } = options
    const exchangePart = async (data: Uint8Array, chain: number): Promise<Uint8Array> => {
      const message = encodeXfrBlock({ slot: number, chain, waitingExtension, data })
      return (await reader.exchange(message, RdrToPc.dataBlock, 'XfrBlock', options, timeoutMs)).data
    }
    const head = await exchangePart(bytes, first)
    return first === expectedBytes
      ? head
      : concatBytes(head, await exchangePart(nothing, expectedBytes - first))
  }

  /**
   * Exchanges one short command APDU over T=0, once. A case 4 command is sent without its Le. Rejects with
   * CardTooSlowError if the card requests time without end, and with MalformedError if it violates the protocol.
   * After such an error, or a failure of the reader, the card is in the middle of a command and must be reset.
   */
  async transmitT0(command: Uint8Array, options: ExchangeOptions, waitingMs: number): Promise<Uint8Array> {
    const tpdu = toT0Tpdu(command)
    const ins = (tpdu[1] ?? 0) >> 4
    if (ins === 6 || ins === 9)
      throw new MalformedError('command APDU', 'INS 6X and 9X are not valid over T=0')
    const { clock } = this.#slot.reader
    const { maxWaitMs = DEFAULT_MAX_WAIT_MS, onTimeExtension = timeExtensionBudget(options, clock) } = options
    const timeoutMs = Math.max(options.timeoutMs ?? 0, waitingMs)
    let nulls = 0
    try {
      let step = beginT0(tpdu, command.length === 5 ? command[4] || 256 : 0)
      for (;;) {
        const { action, state } = step
        if (action.do === 'finish') return action.response
        if (action.do === 'reset') throw new MalformedError('T=0 exchange', `${action.why} from the card`)
        if (action.waits) {
          if (++nulls * MIN_NULL_MS > maxWaitMs || onTimeExtension() === 0)
            throw new CardTooSlowError(maxWaitMs)
        }
        step = stepT0(state, await this.exchange(action.bytes, action.expects, options, timeoutMs))
      }
    } catch (error) {
      // An absent or unpowered card is reported by the caller, which translates the error.
      const isPowered = error instanceof ReaderRefusedError && (error.bStatus & 3) === 0
      if (isPowered || error instanceof MalformedError) this.#slot.disturbed()
      throw error
    }
  }

  /** Exchanges one T=1 block. The prologue of the response states how much follows. */
  async exchangeBlock(
    block: Uint8Array,
    epilogueBytes: number,
    options: CharacterOptions,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    let received = await this.exchange(block, PROLOGUE_BYTES, options, timeoutMs)
    const length = received[2]
    // Not a valid prologue. The decoder of the block rejects it.
    if (length === undefined || length === NO_LENGTH) return received
    for (let left = PROLOGUE_BYTES + length + epilogueBytes - received.length; left > 0; ) {
      const part = await this.exchange(nothing, left, options, timeoutMs)
      if (part.length === 0) break
      received = concatBytes(received, part)
      left -= part.length
    }
    return received
  }

  /** Exchanges a PPS (ISO/IEC 7816-3:2006, 9). PPS0 states whether PPS1 follows. */
  async exchangePps(request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const head = await this.exchange(request, 3, {}, timeoutMs)
    return head.length === 3 && (head[1] ?? 0) & 0x10
      ? concatBytes(head, await this.exchange(nothing, 1, {}, timeoutMs))
      : head
  }
}
