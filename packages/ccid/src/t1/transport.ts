/** Drives the T=1 machine over whatever carries blocks (ISO/IEC 7816-3:2006, 11). */
import { CardSilentError, MalformedError, ReaderRefusedError, SmartcardError } from '@webtoki/apdu'
import { CcidError, IccStatus } from '../messages.ts'
import {
  initialState,
  type T1Action,
  type T1Event,
  type T1Failure,
  type T1Remedy,
  type T1Settings,
  type T1State,
  transition,
} from './machine.ts'

/** The exchange has no answer, and whether the card executed the command is unknown. We repeat nothing. */
export class BlockExchangeError extends SmartcardError {
  readonly code = 'card/exchange-lost'
  readonly why: T1Failure
  readonly remedy: T1Remedy
  constructor(why: T1Failure, remedy: T1Remedy, options?: ErrorOptions) {
    const after =
      remedy === 'none' ? '' : `; the card was ${remedy === 'reset' ? 'reset' : 'put back in step'}`
    super(`The exchange with the card broke off (${why})${after}. Whether it acted is unknown.`, options)
    this.why = why
    this.remedy = remedy
  }
}

/** Carries one block and resolves to the card's; `multiplier` is bBWI, 0 where no extension was granted. */
export type ExchangeBlock = (block: Uint8Array, timeoutMs: number, multiplier: number) => Promise<Uint8Array>

/** What a transport needs beside the settings of the machine. */
export interface T1TransportOptions {
  readonly settings: T1Settings
  readonly exchangeBlock: ExchangeBlock
  /** Resets the card; resolves to the IFSC of its new ATR. */
  readonly reset: () => Promise<number>
  /** Time for an answer without extension, and what one extension unit adds. */
  readonly timeoutMs: number
  readonly blockWaitingMs: number
  /** Wanted IFSD; undefined where the reader tells the card itself. */
  readonly ifsdBytes?: number
}

/** One card at T=1. One exchange at a time; the caller holds the card's lock. */
export class T1Transport {
  readonly #options: T1TransportOptions
  #state: T1State
  #refusesIfsd = false

  constructor(options: T1TransportOptions) {
    this.#options = options
    this.#state = initialState(options.settings)
  }

  /** What the card may send in one block, in bytes. */
  get ifsdBytes(): number {
    return this.#state.link.ifsdBytes
  }

  /** Tells the card our IFSD where that is ours to do. A card that will not hear of it keeps 32. */
  async open(): Promise<void> {
    const { ifsdBytes } = this.#options
    const { link, phase } = this.#state
    if (phase !== 'idle' || ifsdBytes === undefined || this.#refusesIfsd) return
    if (link.ifsdBytes === ifsdBytes || link.isTorn) return
    const end = await this.#run({ type: 'announce', ifsdBytes }, false)
    if (end.type === 'give-up') {
      this.#refusesIfsd = true
      if (end.remedy !== 'resynchronised') throw new BlockExchangeError(end.why, end.remedy)
    }
  }

  /** Sends one command APDU. Rejects with BlockExchangeError where no answer can be had. */
  async transmit(command: Uint8Array, sensitive = false, onWait?: () => void): Promise<Uint8Array> {
    await this.open()
    const end = await this.#run({ type: 'send', command }, sensitive, onWait)
    if (end.type === 'deliver') return end.response
    if (end.type === 'give-up') throw new BlockExchangeError(end.why, end.remedy)
    throw new MalformedError('T=1 exchange', `it ended with ${end.type}`)
  }

  async #run(first: T1Event, sensitive: boolean, onWait?: () => void): Promise<T1Action> {
    const sent: Uint8Array[] = []
    try {
      for (let event = first; ; ) {
        const { state, action } = transition(this.#state, event, this.#options.settings)
        this.#state = state
        switch (action.type) {
          case 'send-block':
            sent.push(action.block)
            event = await this.#exchange(action.block, 0)
            break
          case 'wait-extension':
            onWait?.()
            event = await this.#exchange(action.block, action.multiplier)
            break
          case 'reset':
            event = await this.#reset()
            break
          case 'deliver':
          case 'agreed':
          case 'give-up':
          case 'nothing':
            return action
        }
      }
    } finally {
      if (sensitive) for (const block of sent) block.fill(0)
    }
  }

  async #exchange(block: Uint8Array, multiplier: number): Promise<T1Event> {
    const { timeoutMs, blockWaitingMs, exchangeBlock } = this.#options
    try {
      const bytes = await exchangeBlock(block, timeoutMs + multiplier * blockWaitingMs, multiplier)
      return { type: 'block', bytes }
    } catch (error) {
      const event = eventOf(error)
      if (event !== undefined) return event
      this.#state = transition(this.#state, { type: 'torn' }, this.#options.settings).state
      throw error
    }
  }

  async #reset(): Promise<T1Event> {
    try {
      return { type: 'reset-done', ifscBytes: await this.#options.reset() }
    } catch {
      return { type: 'reset-failed' }
    }
  }
}

/** What T=1 can put right by itself: a block that did not come, or came garbled. */
function eventOf(error: unknown): T1Event | undefined {
  if (error instanceof CardSilentError) return { type: 'silence' }
  if (error instanceof MalformedError) return { type: 'noise' }
  if (!(error instanceof ReaderRefusedError) || (error.bStatus & 3) !== IccStatus.active) return undefined
  switch (error.bError) {
    case CcidError.ICC_MUTE:
      return { type: 'silence' }
    case CcidError.XFR_PARITY_ERROR:
    case CcidError.XFR_OVERRUN:
      return { type: 'noise' }
    default:
      return undefined
  }
}
