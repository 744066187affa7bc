/** Exchanges APDUs over T=1 (ISO/IEC 7816-3:2006, 12.2.3): runs `t1-machine.ts` on a reader that carries blocks. */
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

/** The result of one exchange of blocks. */
export type BlockResponse = Uint8Array | 'silent' | 'garbled'

/** Carries blocks, and holds the card's parameters. */
export interface T1Line {
  readonly nad: number
  readonly detection: Detection
  /** IFSC of the ATR, in bytes. */
  readonly ifscBytes: number
  /** Largest information field that the reader carries, in bytes. Default: the T=1 maximum. */
  readonly capacityBytes?: number
  /** BWT in milliseconds. */
  readonly blockWaitingMs: number
  /**
   * Sends one block and resolves to the card's block. `waitingTimes` is bBWI of XfrBlock; 0 if the card requested no
   * time.
   */
  exchange(block: Uint8Array, waitingTimes: number, options: ExchangeOptions): Promise<BlockResponse>
}

/** LEN 255 is reserved (ISO/IEC 7816-3:2006, 11.3.2.3). */
const MAX_INFORMATION_BYTES = 254
/** Default limit for the time that time extensions may add to one exchange. */
const DEFAULT_MAX_WAIT_MS = 180_000

/** The T=1 protocol of one activated card. */
export class T1Transport {
  readonly #line: T1Line
  #state: T1State
  /** What must precede the next exchange, because an interrupted exchange left the protocol state unknown. */
  #recovery: 'nothing' | 'resynch' | 'ifsd' = 'nothing'
  #ifsdBytes: number | undefined

  constructor(line: T1Line) {
    this.#line = line
    this.#state = initialT1(line.ifscBytes, line.capacityBytes ?? MAX_INFORMATION_BYTES)
  }

  /**
   * Sends S(IFS request). Resolves to the IFSD from now on, in bytes: 32, the default, if the card does not accept
   * it.
   */
  async negotiateIfsd(ifsdBytes: number): Promise<number> {
    const end = await this.#run(beginIfs(this.#state, ifsdBytes), {})
    const settledBytes = end.do === 'settled' ? end.ifsdBytes : undefined
    this.#ifsdBytes = settledBytes
    return settledBytes ?? 32
  }

  /** Resynchronises if the previous exchange was interrupted. This never repeats an APDU. */
  async #recover(options: ExchangeOptions): Promise<void> {
    if (this.#recovery === 'nothing') return
    if (this.#recovery === 'resynch') {
      const end = await this.#run(beginResynch(this.#state), options)
      if (end.do !== 'give-up') throw new CardSilentError()
      this.#recovery = 'ifsd'
    }
    // The card is back at the default of 32 bytes (11.6.3.2, rule 6).
    if (this.#recovery === 'ifsd' && this.#ifsdBytes !== undefined) await this.negotiateIfsd(this.#ifsdBytes)
    this.#recovery = 'nothing'
    // The caller may have aborted meanwhile, and nothing of the command has been sent.
    if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
  }

  #responseOf(end: T1End): Uint8Array {
    if (end.do === 'finish') return end.response
    if (end.do !== 'give-up') throw new CardSilentError()
    if (end.why === 'resynchronised') this.#recovery = 'ifsd'
    throw new CardGarbledError(end.why)
  }

  /**
   * Exchanges one command APDU, once. Rejects with CardGarbledError if damaged blocks led to a resynchronisation,
   * with CardTooSlowError if the card requested more time than the caller allows, and with CardSilentError if the
   * card needs a reset. The command may or may not have been executed then.
   */
  async transmit(command: Uint8Array, options: ExchangeOptions = {}): Promise<Uint8Array> {
    if (this.#recovery !== 'nothing') await this.#recover(options)
    return this.#responseOf(await this.#run(beginExchange(this.#state, command), options))
  }

  /**
   * Exchanges a command that the reader completes with a PIN. `send` takes the prologue of the block and resolves to
   * the result. Only the reader knows the whole command, so the exchange fails if the card requests a repetition.
   */
  async transmitOnPad(
    template: Uint8Array,
    send: (prologue: readonly [number, number, number]) => Promise<BlockResponse>,
    options: ExchangeOptions,
  ): Promise<Uint8Array> {
    await this.#recover(options)
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
    const response = await send([nad, pcb, length]).catch((error: unknown) => {
      // If the person cancelled, the entry timed out or was refused, the reader sent nothing, and the next block has
      // this number. After any other failure the card may have the block, and would take the next block of the same
      // number for a repetition.
      if (isWithoutPin(error)) this.#state = before
      else this.#recovery = 'resynch'
      throw error
    })
    const next = stepT1(this.#state, this.#eventOf(response))
    return this.#responseOf(await this.#run(next, options, 'never an I-block'))
  }

  async #run(first: T1Step, options: ExchangeOptions, restriction?: 'never an I-block'): Promise<T1End> {
    const line = this.#line
    let leftMs = options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS
    let step = first
    for (;;) {
      if (step !== first && options.signal?.aborted && continuesChain(step)) {
        // The card does not execute an incomplete command, so a chained command can still be withdrawn.
        const end = await this.#run(beginAbort(step.state), {})
        if (end.do !== 'give-up' || end.why !== 'aborted') this.#recovery = 'resynch'
        throw new AbortedError({ cause: options.signal.reason })
      }
      this.#state = step.state
      const { action } = step
      if (action.do !== 'send') return action
      const { block, waitingTimes = 0 } = action
      if (restriction !== undefined && block.kind === 'I') return { do: 'reset' }
      if (waitingTimes > 0) {
        const waitMs = waitingTimes * line.blockWaitingMs
        leftMs -= waitMs
        // Limited by the sum of the card's requests, and by the elapsed time of the exchange, to which the reader's
        // time extensions also count.
        if (options.onTimeExtension === undefined) options.onWait?.('time-extension')
        const mayTakeMs = options.onTimeExtension?.() ?? leftMs
        if (leftMs < 0 || mayTakeMs < waitMs) throw new CardTooSlowError(waitMs)
      }
      const bytes = encodeBlock(block, line.nad, line.detection)
      try {
        const response = await line.exchange(bytes, waitingTimes, options)
        step = stepT1(this.#state, this.#eventOf(response))
      } catch (error) {
        this.#recovery = 'resynch'
        throw error
      } finally {
        if (options.sensitive) bytes.fill(0)
      }
    }
  }

  #eventOf(response: BlockResponse): T1Event {
    if (response === 'silent') return 'silent'
    return response === 'garbled' ? 'detection' : decodeBlock(response, this.#line.nad, this.#line.detection)
  }
}

type T1End = Exclude<T1Step['action'], { do: 'send' }>

/** True if no PIN was entered on the reader, so that no block was sent. */
function isWithoutPin(error: unknown): boolean {
  if (error instanceof AbortedError) return true
  if (!(error instanceof ReaderRefusedError)) return false
  const { bError } = error
  return bError === CcidError.PIN_CANCELLED || bError === CcidError.PIN_TIMEOUT || error.isOfMessage
}

/** True for an I-block that is not the first of its command. */
function continuesChain({ action }: T1Step): boolean {
  return action.do === 'send' && action.block.kind === 'I'
}
