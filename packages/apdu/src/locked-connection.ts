/**
 * The connection to one powered card over any transport: its lock, its channels, and the only place that decides why it
 * ended.
 */
import { isReading, shortLimits } from './apdu-lengths.ts'
import { copyOf } from './bytes.ts'
import {
  AbortedError,
  CardGoneError,
  MalformedError,
  ReaderTimeoutError,
  TransactionError,
} from './errors.ts'
import type {
  ApduLengths,
  CardChannel,
  CardConnection,
  ChannelLimits,
  PinPad,
  TransmitOptions,
} from './ports.ts'

/**
 * The port that every transport implements for one powered card. A link needs no queue of its own, because a connection
 * starts one exchange at a time.
 */
export interface CardLink {
  /** The answer to the latest reset, as received. */
  readonly atr: Uint8Array
  readonly limits: ChannelLimits
  /** The reader's PIN pad; undefined if it has none or it is not usable. */
  readonly pinPad?: PinPad | undefined
  /**
   * Sends one command APDU and resolves to the response APDU. Rejects with CardGoneError if the card is gone. Settles only
   * when no response is pending in the reader.
   */
  exchange(command: Uint8Array, options: TransmitOptions): Promise<Uint8Array>
  /** Resets the card and resolves to its ATR, which `atr` returns from then on. */
  reset(kind: 'warm' | 'cold'): Promise<Uint8Array>
  /** Powers the card off. Called once, when the connection is closed. */
  release(): Promise<void>
  /** See `CardChannel.vouchesForCard`. Default: false, so the card is identified again before a PIN is sent. */
  readonly vouchesForCard?: boolean | undefined
}

/** The part of a clock that a connection needs. */
export interface Timers {
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

/** Options of `LockedConnection`. */
export interface LockedConnectionOptions {
  /** Default: the timers of the platform. */
  readonly clock?: Timers | undefined
  /** Called once when the connection ends. `idle` is fulfilled when the slot can power the card again. */
  readonly onEnd?: ((idle: Promise<void>) => void) | undefined
}

const SELECT = 0xa4
const BY_NAME = 0x04
const nothing = new Uint8Array(0)

interface QueuedTransaction {
  /** Takes the lock and starts the work. */
  begin(): void
  fail(error: Error): void
}

/**
 * The connection that a slot creates over the link to its card. Transactions run one at a time in the order of the calls,
 * also those of one owner. A transaction that is started inside another and awaited there can never begin. It rejects with
 * TransactionError if that is detectable: the call is made before `work` first awaits, or `owner` is the channel of the
 * running transaction. Otherwise `timeoutMs` or `signal` limits the wait.
 */
export class LockedConnection implements CardConnection {
  readonly gone: Promise<CardGoneError>
  readonly lengths: { -readonly [K in keyof ApduLengths]: ApduLengths[K] } = {
    takesExtended: undefined,
    selection: undefined,
  }
  readonly #link: CardLink
  readonly #clock: Timers
  readonly #onEnd: LockedConnectionOptions['onEnd']
  #resolveGone!: (error: CardGoneError) => void
  #ended: CardGoneError | undefined
  readonly #queue: QueuedTransaction[] = []
  #running: Channel | undefined
  #entering = false
  #lastOwner: object | undefined
  #closing: Promise<void> | undefined

  constructor(link: CardLink, options: LockedConnectionOptions = {}) {
    this.#link = link
    this.#clock = options.clock ?? globalThis
    this.#onEnd = options.onEnd
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
  }

  /** Why the connection ended. Undefined while it is open. */
  get ended(): CardGoneError | undefined {
    return this.#ended
  }

  get hasPinPad(): boolean {
    return this.#link.pinPad !== undefined
  }

  /** True if a transaction holds the lock. */
  get busy(): boolean {
    return this.#running !== undefined
  }

  transaction<T>(
    owner: object,
    work: (channel: CardChannel) => Promise<T>,
    options: TransmitOptions = {},
  ): Promise<T> {
    if (this.#entering || owner === this.#running) {
      return Promise.reject(
        new TransactionError('A transaction was started inside a transaction of the same card.'),
      )
    }
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const { signal, timeoutMs, onWait } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    return new Promise<T>((resolve, reject) => {
      let timer: unknown
      let channel: Channel | undefined
      const settled = (): void => {
        this.#clock.clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const failQueued = (error: Error): void => {
        const at = this.#queue.indexOf(queued)
        if (at >= 0) this.#queue.splice(at, 1)
        queued.fail(error)
      }
      const abort = (): void => {
        const error = new AbortedError({ cause: signal?.reason })
        if (channel === undefined) {
          failQueued(error)
          return
        }
        // The caller's promise rejects at once. The lock is held until a pending response has arrived.
        settled()
        reject(error)
        channel.fail(error)
        this.#release(channel, owner, false)
      }
      const queued: QueuedTransaction = {
        begin: () => {
          this.#clock.clearTimeout(timer)
          const own = new Channel(this.#link, this, this.#lastOwner === owner)
          channel = own
          this.#running = own
          this.#entering = true
          void (async () => {
            try {
              resolve(await work(own))
            } catch (error) {
              reject(error as Error)
            } finally {
              // Runs after success and failure, and releases the lock before the caller receives the result.
              settled()
              this.#release(own, owner, true)
            }
          })()
          this.#entering = false
        },
        fail: (error) => {
          settled()
          reject(error)
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      if (this.#running === undefined) {
        queued.begin()
        return
      }
      this.#queue.push(queued)
      if (timeoutMs !== undefined) {
        timer = this.#clock.setTimeout(
          () => failQueued(new ReaderTimeoutError('the end of another transaction', timeoutMs)),
          timeoutMs,
        )
      }
      onWait?.('queue')
    })
  }

  /** Passes the lock to the next transaction as soon as no response is pending on this channel. */
  #release(channel: Channel, owner: object, complete: boolean): void {
    channel.close()
    if (this.#running !== channel || channel.releasing) return
    const pending = channel.pending
    if (pending !== undefined) {
      channel.releasing = true
      const resume = (): void => {
        channel.releasing = false
        this.#release(channel, owner, false)
      }
      pending.then(resume, resume)
      return
    }
    this.#running = undefined
    // An owner that missed a response does not know the state of the card.
    this.#lastOwner = complete && channel.stateKnown ? owner : undefined
    this.#queue.shift()?.begin()
  }

  /** Ends the connection. Several parts may notice the end; the first reason stays. Returns the error with that reason. */
  lost(why: CardGoneError['why'], cause?: Error): CardGoneError {
    this.#end(why, cause, Promise.resolve())
    return this.#ended as CardGoneError
  }

  #end(why: CardGoneError['why'], cause: Error | undefined, idle: Promise<void>): void {
    if (this.#ended !== undefined) return
    const error = new CardGoneError(why, cause === undefined ? undefined : { cause })
    this.#ended = error
    this.#onEnd?.(idle)
    // After a reset or if the reader is gone, the running exchange fails by itself with a more precise error.
    if (why === 'removed' || why === 'closed') this.#running?.fail(error)
    for (const queued of this.#queue.splice(0)) queued.fail(error)
    this.#resolveGone(error)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#ended !== undefined) return
    // The slot can connect again once the card is powered off, which the link does after a running exchange.
    let resolveIdle!: () => void
    const idle = new Promise<void>((resolve) => {
      resolveIdle = resolve
    })
    this.#end('closed', undefined, idle)
    try {
      await this.#link.release()
    } catch {
      // The card or the reader was removed meanwhile, so the card has no power.
    } finally {
      resolveIdle()
    }
  }
}

/** The channel of one transaction. Its methods reject after the transaction has ended. */
class Channel implements CardChannel {
  readonly #link: CardLink
  readonly #connection: LockedConnection
  #undisturbed: boolean
  #closed = false
  #failure: Error | undefined
  #reject: ((error: Error) => void) | undefined
  /** The running exchange; undefined if no response is pending. */
  pending: Promise<unknown> | undefined
  releasing = false
  /** False after a response was missed or the card was reset on this channel. */
  stateKnown = true
  /** Absent if the reader has no PIN pad or its PIN pad is not usable. */
  readonly pinPad?: PinPad

  constructor(link: CardLink, connection: LockedConnection, undisturbed: boolean) {
    this.#link = link
    this.#connection = connection
    this.#undisturbed = undisturbed
    const { pinPad } = link
    if (pinPad !== undefined) {
      const serialized =
        (method: keyof PinPad): PinPad['verify'] =>
        (template, options = {}) =>
          this.#serialize(options, () => pinPad[method](template, options))
      this.pinPad = { verify: serialized('verify'), modify: serialized('modify') }
    }
  }

  /** A copy, because a caller may write into it. */
  get atr(): Uint8Array {
    return copyOf(this.#link.atr)
  }

  get limits(): ChannelLimits {
    const { limits } = this.#link
    const { takesExtended } = this.lengths
    if (takesExtended === undefined) return limits
    return takesExtended ? { ...limits, ...limits.untried, extended: true } : shortLimits(limits)
  }

  get lengths(): LockedConnection['lengths'] {
    return this.#connection.lengths
  }

  get undisturbed(): boolean {
    return this.#undisturbed
  }

  get vouchesForCard(): boolean {
    return this.#link.vouchesForCard === true
  }

  transmit(command: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    return this.#serialize(options, () => this.#link.exchange(command, options), command)
  }

  reset(kind: 'warm' | 'cold'): Promise<Uint8Array> {
    return this.#serialize({}, async () => {
      this.stateKnown = false
      this.#undisturbed = false
      try {
        return copyOf(await this.#link.reset(kind))
      } catch (error) {
        this.#connection.lost('reset', error as Error)
        throw error
      }
    })
  }

  /**
   * Starts the exchange after those that were started before in this transaction. Otherwise the parts of long APDUs would
   * mix.
   */
  #serialize(
    options: TransmitOptions,
    exchange: () => Promise<Uint8Array>,
    command?: Uint8Array,
  ): Promise<Uint8Array> {
    const refusal = this.#refusal() ?? (command && this.#lengthError(command))
    if (refusal !== undefined) return Promise.reject(refusal)
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    if (this.pending === undefined) {
      this.#noteSelection(command)
      return this.#track(exchange(), signal)
    }
    const resume = (): Promise<Uint8Array> => this.#serialize(options, exchange, command)
    return this.pending.then(resume, resume)
  }

  /** Updates `lengths.selection`. `command` is absent for a reset and for PIN entry on the reader. */
  #noteSelection(command: Uint8Array = nothing): void {
    const [cla, ins, p1] = command
    if (cla === 0 && ins === SELECT && p1 === BY_NAME) this.lengths.selection = copyOf(command)
    else if (!isReading(command)) this.lengths.selection = undefined
  }

  /**
   * Marks the exchange as pending. The returned promise rejects earlier than the exchange if it is aborted or the card is
   * removed.
   */
  #track(exchange: Promise<Uint8Array>, signal: TransmitOptions['signal']): Promise<Uint8Array> {
    this.pending = exchange
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.stateKnown = false
        reject(new AbortedError({ cause: signal?.reason }))
      }
      this.#reject = reject
      signal?.addEventListener('abort', abort, { once: true })
      exchange.then(
        (response) => {
          this.#clearPending()
          signal?.removeEventListener('abort', abort)
          resolve(response)
        },
        (error: unknown) => {
          this.#clearPending()
          this.stateKnown = false
          signal?.removeEventListener('abort', abort)
          reject(this.#withFirstReason(error as Error))
        },
      )
    })
  }

  /**
   * Ends the connection if the link reports that the card is gone. Returns the error with the reason that was reported
   * first.
   */
  #withFirstReason(error: Error): Error {
    const { code, why, cause } = error as Partial<CardGoneError>
    return code === 'card/gone' && why !== undefined ? this.#connection.lost(why, cause as Error) : error
  }

  #clearPending(): void {
    this.pending = undefined
    this.#reject = undefined
  }

  #refusal(): Error | undefined {
    if (this.#failure !== undefined) return this.#failure
    if (this.#closed) return new TransactionError('The channel was used after its transaction had ended.')
    return this.#connection.ended
  }

  #lengthError(command: Uint8Array): Error | undefined {
    const { commandBytes } = this.limits
    if (command.length >= 4 && command.length <= commandBytes) return undefined
    return new MalformedError('command APDU', `${command.length} bytes instead of 4 to ${commandBytes}`)
  }

  /** Rejects the running exchange and all later ones with the error. */
  fail(error: Error): void {
    this.#failure ??= error
    this.stateKnown = false
    this.#reject?.(error)
  }

  close(): void {
    this.#closed = true
  }
}
