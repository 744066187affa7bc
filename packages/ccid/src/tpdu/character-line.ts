/** Readers at character level (CCID 1.1, 6.1.4): they carry bytes, and are told how many to wait for. T=0 commands and T=1 blocks over them. */
import { CardTooSlowError, concatBytes, MalformedError, ReaderRefusedError } from '@webtoki/apdu'
import type { ActivatedSlot, ExchangeOptions } from '../activation-port.ts'
import { DEFAULT_MAX_WAIT_MS, encodeXfrBlock, HEADER_BYTES, RdrToPc, sharedCap } from '../messages.ts'
import { toT0Tpdu } from './t0.ts'
import { beginT0, stepT0 } from './t0-characters.ts'

/** O2Micro's Oz776 loses an answer that fills its packets: it is asked for in two parts. No reader minds. */
const PACKET_BYTES = 64
/** A card that sends NULL more often than this is not asking for time. */
const MIN_NULL_MS = 10
/** NAD, PCB, LEN. */
const PROLOGUE_BYTES = 3
/** Reserved in LEN. */
const NO_LENGTH = 255
const nothing = new Uint8Array(0)

/** What can be told of one XfrBlock. */
export interface CharacterOptions extends ExchangeOptions {
  /** bBWI. */
  readonly waitingExtension?: number
}

/** One activation of a card in a slot at character level. */
export class CharacterLine {
  readonly #slot: ActivatedSlot

  constructor(slot: ActivatedSlot) {
    this.#slot = slot
  }

  /** Most bytes that one message carries. */
  get capacityBytes(): number {
    return Math.max(1, this.#slot.reader.descriptor.maxMessageBytes - HEADER_BYTES)
  }

  /** Sends bytes and collects so many, or fewer where the reader gives fewer. */
  async exchange(
    bytes: Uint8Array,
    expects: number,
    options: CharacterOptions,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const wanted = Math.min(expects, this.capacityBytes)
    const first = (wanted + HEADER_BYTES) % PACKET_BYTES === 0 ? 1 : wanted
    const { number, reader } = this.#slot
    const { waitingExtension = 0 } = options
    const ask = async (data: Uint8Array, chain: number): Promise<Uint8Array> => {
      const message = encodeXfrBlock({ slot: number, chain, waitingExtension, data })
      return (await reader.ask(message, RdrToPc.dataBlock, 'XfrBlock', options, timeoutMs)).data
    }
    const head = await ask(bytes, first)
    return first === wanted ? head : concatBytes(head, await ask(nothing, wanted - first))
  }

  /**
   * Carries one short command APDU over T=0, once; a case 4 loses its Le. Rejects with CardTooSlowError where the card
   * asks for time without an end, MalformedError where it breaks the protocol; then, and where the reader fails, the
   * card stands in the middle of a command, and has to be reset.
   */
  async transmitT0(command: Uint8Array, options: ExchangeOptions, waitingMs: number): Promise<Uint8Array> {
    const tpdu = toT0Tpdu(command)
    const ins = (tpdu[1] ?? 0) >> 4
    if (ins === 6 || ins === 9) throw new MalformedError('command APDU', 'T=0 has no INS 6X and 9X')
    const { clock } = this.#slot.reader
    const { maxWaitMs = DEFAULT_MAX_WAIT_MS, extend = sharedCap(options, clock) } = options
    const timeoutMs = Math.max(options.timeoutMs ?? 0, waitingMs)
    let nulls = 0
    try {
      let step = beginT0(tpdu, command.length === 5 ? command[4] || 256 : 0)
      for (;;) {
        const { action, state } = step
        if (action.do === 'finish') return action.response
        if (action.do === 'reset') throw new MalformedError('T=0 exchange', `${action.why} from the card`)
        if (action.waits) {
          if (++nulls * MIN_NULL_MS > maxWaitMs || extend() === 0) throw new CardTooSlowError(maxWaitMs)
        }
        step = stepT0(state, await this.exchange(action.bytes, action.expects, options, timeoutMs))
      }
    } catch (error) {
      // A card that is gone, or has no power, is told as that by whoever reads the error.
      const isThere = error instanceof ReaderRefusedError && (error.bStatus & 3) === 0
      if (isThere || error instanceof MalformedError) this.#slot.disturbed()
      throw error
    }
  }

  /** One block of T=1 out, and the answer: its prologue says how much follows. */
  async exchangeBlock(
    block: Uint8Array,
    epilogueBytes: number,
    options: CharacterOptions,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    let answer = await this.exchange(block, PROLOGUE_BYTES, options, timeoutMs)
    const length = answer[2]
    // What is no prologue is no block: whoever reads it will find that out.
    if (length === undefined || length === NO_LENGTH) return answer
    for (let left = PROLOGUE_BYTES + length + epilogueBytes - answer.length; left > 0; ) {
      const part = await this.exchange(nothing, left, options, timeoutMs)
      if (part.length === 0) break
      answer = concatBytes(answer, part)
      left -= part.length
    }
    return answer
  }

  /** PPS (ISO/IEC 7816-3:2006, 9): PPS0 says whether PPS1 comes too. */
  async exchangePps(request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const head = await this.exchange(request, 3, {}, timeoutMs)
    return head.length === 3 && (head[1] ?? 0) & 0x10
      ? concatBytes(head, await this.exchange(nothing, 1, {}, timeoutMs))
      : head
  }
}
