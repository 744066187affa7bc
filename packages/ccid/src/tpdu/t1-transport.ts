/** APDUs over T=1 (ISO/IEC 7816-3:2006, 12.2.3): the machine of `t1-machine.ts` at a reader that carries blocks. */
import { CardGarbledError, CardSilentError, CardTooSlowError, type TransmitOptions } from '@webtoki/apdu'
import { decodeBlock, type Detection, encodeBlock } from './t1-block.ts'
import {
  beginExchange,
  beginIfs,
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
  /** BWT in milliseconds. */
  readonly blockWaitingMs: number
  /** Carries one block out and one back; `waitingTimes` is bBWI of XfrBlock, 0 where nothing was asked for. */
  exchange(block: Uint8Array, waitingTimes: number, options: TransmitOptions): Promise<BlockAnswer>
}

/** What time extensions may add to one exchange, where the caller does not say. */
const DEFAULT_MAX_WAIT_MS = 180_000

/** One activation of a card. */
export class T1Transport {
  readonly #line: T1Line
  #state: T1State

  constructor(line: T1Line) {
    this.#line = line
    this.#state = initialT1(line.ifscBytes)
  }

  /** S(IFS request): resolves to what holds from now on, in bytes; 32, the default, where the card would not hear of it. */
  async negotiateIfsd(ifsdBytes: number): Promise<number> {
    const end = await this.#run(beginIfs(this.#state, ifsdBytes), {})
    return end.do === 'settled' ? (end.ifsdBytes ?? 32) : 32
  }

  /**
   * Carries one command APDU to the card, once. Rejects with CardGarbledError where the line kept breaking blocks and
   * both sides began anew, CardTooSlowError where the card asked for more time than the caller has, CardSilentError
   * where it is lost without a reset. Whether the command was executed is then unknown.
   */
  async transmit(command: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    const end = await this.#run(beginExchange(this.#state, command), options)
    if (end.do === 'finish') return end.response
    if (end.do === 'give-up') throw new CardGarbledError(end.why)
    throw new CardSilentError()
  }

  /**
   * The same for a command that the reader completes with a PIN: `send` gets the block's prologue and gives what came
   * back. Only the reader knows the command, so where the card asks for it again the exchange is given up.
   */
  async transmitOnPad(
    template: Uint8Array,
    send: (prologue: readonly [number, number, number]) => Promise<BlockAnswer>,
    options: TransmitOptions,
  ): Promise<Uint8Array> {
    const first = beginExchange(this.#state, template)
    if (first.action.do !== 'send' || first.state.ifscBytes < template.length)
      throw new CardGarbledError('aborted')
    const [nad = 0, pcb = 0, length = 0] = encodeBlock(
      first.action.block,
      this.#line.nad,
      this.#line.detection,
    )
    const before = this.#state
    this.#state = first.state
    const answer = await send([nad, pcb, length]).catch((error: unknown) => {
      // The reader sent nothing: the person cancelled, or ran out of time. The next block has this number.
      this.#state = before
      throw error
    })
    const end = await this.#run(stepT1(this.#state, this.#eventOf(answer)), options, 'never an I-block')
    if (end.do === 'finish') return end.response
    if (end.do === 'give-up') throw new CardGarbledError(end.why)
    throw new CardSilentError()
  }

  async #run(
    first: T1Step,
    options: TransmitOptions,
    what?: 'never an I-block',
  ): Promise<Exclude<T1Step['action'], { do: 'send' }>> {
    const line = this.#line
    let leftMs = options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS
    let step = first
    for (;;) {
      this.#state = step.state
      const { action } = step
      if (action.do !== 'send') return action
      const { block, waitingTimes = 0 } = action
      if (what !== undefined && block.kind === 'I') return { do: 'reset' }
      if (waitingTimes > 0) {
        leftMs -= waitingTimes * line.blockWaitingMs
        if (leftMs < 0) throw new CardTooSlowError(waitingTimes * line.blockWaitingMs)
        options.onWait?.('time-extension')
      }
      const bytes = encodeBlock(block, line.nad, line.detection)
      try {
        const answer = await line.exchange(bytes, waitingTimes, options)
        step = stepT1(this.#state, this.#eventOf(answer))
      } finally {
        if (options.sensitive) bytes.fill(0)
      }
    }
  }

  #eventOf(answer: BlockAnswer): T1Event {
    if (answer === 'silent') return 'silent'
    return answer === 'garbled' ? 'detection' : decodeBlock(answer, this.#line.detection)
  }
}
