/** APDUs over T=1 (ISO/IEC 7816-3:2006, 12.2.3): the machine of `t1-machine.ts` at a reader that carries blocks. */
import {
  AbortedError,
  CardGarbledError,
  CardSilentError,
  CardTooSlowError,
  ReaderRefusedError,
} from '@webtoki/apdu'
import type { ExchangeOptions } from '../activation-port.ts'
import { CcidError } from '../messages.ts'
import { decodeBlock, type Detection, encodeBlock } from './t1-block.ts'
import {
  beginAbort,
  beginExchange,
  beginIfs,
  beginResynch,
  initialT1,
  stepT1,
  type T1Event,
  type T1State,
  type T1Step,
} from './t1-machine.ts'

/** What the reader says of a block that it sent. */
export type BlockAnswer = Uint8Array | 'silent' | 'garbled'

/** How blocks travel, and what the card said of itself. */
export interface T1Line {
  readonly nad: number
  readonly detection: Detection
  /** IFSC of the ATR, in bytes. */
  readonly ifscBytes: number
  /** Largest information field that the reader takes, in bytes. Default: as much as T=1 has. */
  readonly capacityBytes?: number
  /** BWT in milliseconds. */
  readonly blockWaitingMs: number
  /** Carries one block out and one back; `waitingTimes` is bBWI of XfrBlock, 0 where nothing was asked for. */
  exchange(block: Uint8Array, waitingTimes: number, options: ExchangeOptions): Promise<BlockAnswer>
}

/** LEN 255 is reserved (ISO/IEC 7816-3:2006, 11.3.2.3). */
const MAX_INFORMATION_BYTES = 254
/** What time extensions may add to one exchange, where the caller does not say. */
const DEFAULT_MAX_WAIT_MS = 180_000

/** One activation of a card. */
export class T1Transport {
  readonly #line: T1Line
  #state: T1State
  /** What has to come before the next exchange: where one was broken off, neither side knows where the other stands. */
  #debt: 'nothing' | 'resynch' | 'ifsd' = 'nothing'
  #ifsdBytes: number | undefined

  constructor(line: T1Line) {
    this.#line = line
    this.#state = initialT1(line.ifscBytes, line.capacityBytes ?? MAX_INFORMATION_BYTES)
  }

  /** S(IFS request): resolves to what holds from now on, in bytes; 32, the default, where the card would not hear of it. */
  async negotiateIfsd(ifsdBytes: number): Promise<number> {
    const end = await this.#run(beginIfs(this.#state, ifsdBytes), {})
    const settledBytes = end.do === 'settled' ? end.ifsdBytes : undefined
    this.#ifsdBytes = settledBytes
    return settledBytes ?? 32
  }

  /** Before an exchange: both sides begin anew where the one before was broken off. No APDU is repeated by that. */
  async #settle(options: ExchangeOptions): Promise<void> {
    if (this.#debt === 'nothing') return
    if (this.#debt === 'resynch') {
      const end = await this.#run(beginResynch(this.#state), options)
      if (end.do !== 'give-up') throw new CardSilentError()
      this.#debt = 'ifsd'
    }
    // The card is back at the 32 bytes of the default (11.6.3.2, rule 6).
    if (this.#debt === 'ifsd' && this.#ifsdBytes !== undefined) await this.negotiateIfsd(this.#ifsdBytes)
    this.#debt = 'nothing'
    // The caller may have left meanwhile, and nothing of the command has.
    if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
  }

  #ended(end: T1End): Uint8Array {
    if (end.do === 'finish') return end.response
    if (end.do !== 'give-up') throw new CardSilentError()
    if (end.why === 'resynchronised') this.#debt = 'ifsd'
    throw new CardGarbledError(end.why)
  }

  /**
   * Carries one command APDU to the card, once. Rejects with CardGarbledError where the line kept breaking blocks and
   * both sides began anew, CardTooSlowError where the card asked for more time than the caller has, CardSilentError
   * where it is lost without a reset. Whether the command was executed is then unknown.
   */
  async transmit(command: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    if (this.#debt !== 'nothing') await this.#settle(options)
    return this.#ended(await this.#run(beginExchange(this.#state, command), options))
  }

  /**
   * The same for a command that the reader completes with a PIN: `send` gets the block's prologue and gives what came
   * back. Only the reader knows the command, so where the card asks for it again the exchange is given up.
   */
  async transmitOnPad(
    template: Uint8Array,
    send: (prologue: readonly [number, number, number]) => Promise<BlockAnswer>,
    options: ExchangeOptions,
  ): Promise<Uint8Array> {
    await this.#settle(options)
    const first = beginExchange(this.#state, template)
    const { ifscBytes, capacityBytes } = first.state
    if (first.action.do !== 'send' || Math.min(ifscBytes, capacityBytes) < template.length)
      throw new CardGarbledError('aborted')
    const [nad = 0, pcb = 0, length = 0] = encodeBlock(
      first.action.block,
      this.#line.nad,
      this.#line.detection,
    )
    const before = this.#state
    this.#state = first.state
    const answer = await send([nad, pcb, length]).catch((error: unknown) => {
      // The reader sent nothing: the person cancelled, ran out of time or was not asked. The next block has this number.
      // After any other failure the card may have had the block, and would answer the next one of its number as that again.
      if (isWithoutPin(error)) this.#state = before
      else this.#debt = 'resynch'
      throw error
    })
    const next = stepT1(this.#state, this.#eventOf(answer))
    return this.#ended(await this.#run(next, options, 'never an I-block'))
  }

  async #run(first: T1Step, options: ExchangeOptions, what?: 'never an I-block'): Promise<T1End> {
    const line = this.#line
    let leftMs = options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS
    let step = first
    for (;;) {
      if (step !== first && options.signal?.aborted && continuesChain(step)) {
        // The card has a part of the command and executes nothing of it: one of the few that can be unsent.
        const end = await this.#run(beginAbort(step.state), {})
        if (end.do !== 'give-up' || end.why !== 'aborted') this.#debt = 'resynch'
        throw new AbortedError({ cause: options.signal.reason })
      }
      this.#state = step.state
      const { action } = step
      if (action.do !== 'send') return action
      const { block, waitingTimes = 0 } = action
      if (what !== undefined && block.kind === 'I') return { do: 'reset' }
      if (waitingTimes > 0) {
        const waitMs = waitingTimes * line.blockWaitingMs
        leftMs -= waitMs
        // By what the card asks for, and by what the exchange has taken: the reader may have been asked for time too.
        if (options.extend === undefined) options.onWait?.('time-extension')
        const mayTakeMs = options.extend?.() ?? leftMs
        if (leftMs < 0 || mayTakeMs < waitMs) throw new CardTooSlowError(waitMs)
      }
      const bytes = encodeBlock(block, line.nad, line.detection)
      try {
        const answer = await line.exchange(bytes, waitingTimes, options)
        step = stepT1(this.#state, this.#eventOf(answer))
      } catch (error) {
        this.#debt = 'resynch'
        throw error
      } finally {
        if (options.sensitive) bytes.fill(0)
      }
    }
  }

  #eventOf(answer: BlockAnswer): T1Event {
    if (answer === 'silent') return 'silent'
    return answer === 'garbled' ? 'detection' : decodeBlock(answer, this.#line.nad, this.#line.detection)
  }
}

type T1End = Exclude<T1Step['action'], { do: 'send' }>

/** The person at the reader's keys gave no PIN, or was not asked for one: the block has not left. */
function isWithoutPin(error: unknown): boolean {
  if (error instanceof AbortedError) return true
  if (!(error instanceof ReaderRefusedError)) return false
  const { bError } = error
  return bError === CcidError.PIN_CANCELLED || bError === CcidError.PIN_TIMEOUT || error.isOfMessage
}

/** An I-block that is not the first of its command. */
function continuesChain({ action }: T1Step): boolean {
  return action.do === 'send' && action.block.kind === 'I'
}
