/** The connection to one powered card over any transport: its only lock, its channels, and the one place that decides its end. */
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
 * What a transport knows of one powered card: the port that every transport implements, and six members are enough. It need
 * not queue: a connection asks for one thing at a time.
 */
export interface CardLink {
  /** The answer to the latest reset, as it came. */
  readonly atr: Uint8Array
  readonly limits: ChannelLimits
  /** What the reader's keys can do now; undefined if it has none. */
  readonly pinPad?: PinPad | undefined
  /**
   * Carries one command APDU; resolves to the response with its status word. Rejects with CardGoneError if the card
   * turns out to be gone; it settles only when the reader owes no answer any more.
   */
  exchange(command: Uint8Array, options: TransmitOptions): Promise<Uint8Array>
  /** Resets the card and resolves to its ATR, which is `atr` from then on. */
  reset(kind: 'warm' | 'cold'): Promise<Uint8Array>
  /** Takes the card's power. Called once, when the connection is closed. */
  release(): Promise<void>
  /** As `CardChannel` has it. Absent: false, and the card is recognised again before it gets a PIN. */
  readonly vouchesForCard?: boolean | undefined
}

/** The part of a clock that a connection needs. */
export interface Timers {
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

/** How a connection is made. */
export interface LockedConnectionOptions {
  /** Default: the platform's. */
  readonly clock?: Timers | undefined
  /** Called once, when the connection has ended; `rest` is fulfilled when its card is at rest. */
  readonly onEnd?: ((rest: Promise<void>) => void) | undefined
}

const SELECT = 0xa4
const BY_NAME = 0x04
const nothing = new Uint8Array(0)

interface Turn {
  /** Begins the work; the lock is this turn's from now on. */
  begin(): void
  refuse(error: Error): void
}

/**
 * Made by a slot over the link to its card. Transactions run one after the other in the order of their calls. An owner may
 * ask for several at once; they queue like anybody's. A transaction that waits inside another for its own end can never
 * begin: if that is visible (the call is made before `work` first awaits, or `owner` is the running transaction's
 * channel) it is refused, else `timeoutMs` or `signal` bounds the wait.
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
  #tellGone!: (error: CardGoneError) => void
  #ended: CardGoneError | undefined
  readonly #queue: Turn[] = []
  #running: Channel | undefined
  #entering = false
  #lastOwner: object | undefined
  #closing: Promise<void> | undefined

  constructor(link: CardLink, options: LockedConnectionOptions = {}) {
    this.#link = link
    this.#clock = options.clock ?? globalThis
    this.#onEnd = options.onEnd
    this.gone = new Promise((resolve) => {
      this.#tellGone = resolve
    })
  }

  /** Why it has ended; undefined while it has not. */
  get ended(): CardGoneError | undefined {
    return this.#ended
  }

  get hasPinPad(): boolean {
    return this.#link.pinPad !== undefined
  }

  /** Whether a transaction holds the lock. */
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
        new TransactionError('A transaction was begun inside a transaction of the same card.'),
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
      const withdraw = (error: Error): void => {
        const at = this.#queue.indexOf(turn)
        if (at >= 0) this.#queue.splice(at, 1)
        turn.refuse(error)
      }
      const abort = (): void => {
        const error = new AbortedError({ cause: signal?.reason })
        if (channel === undefined) {
          withdraw(error)
          return
        }
        // The caller is free at once; the lock waits for the answer that may still come.
        settled()
        reject(error)
        channel.withdraw(error)
        this.#release(channel, owner, false)
      }
      const turn: Turn = {
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
              // Whatever it does, throws or returns, the lock comes free, and before anybody hears of the result.
              settled()
              this.#release(own, owner, true)
            }
          })()
          this.#entering = false
        },
        refuse: (error) => {
          settled()
          reject(error)
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      if (this.#running === undefined) {
        turn.begin()
        return
      }
      this.#queue.push(turn)
      if (timeoutMs !== undefined) {
        timer = this.#clock.setTimeout(
          () => withdraw(new ReaderTimeoutError('the end of another transaction', timeoutMs)),
          timeoutMs,
        )
      }
      onWait?.('queue')
    })
  }

  /** Passes the lock on, once the reader owes this channel no answer any more. */
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
    // An owner who never saw an answer does not know what the card did.
    this.#lastOwner = complete && channel.undamaged ? owner : undefined
    this.#queue.shift()?.begin()
  }

  /** Many may notice the end; this one place decides it, and the first reason stays. Returns what was decided. */
  lost(why: CardGoneError['why'], cause?: Error): CardGoneError {
    this.#end(why, cause, Promise.resolve())
    return this.#ended as CardGoneError
  }

  #end(why: CardGoneError['why'], cause: Error | undefined, rest: Promise<void>): void {
    if (this.#ended !== undefined) return
    const error = new CardGoneError(why, cause === undefined ? undefined : { cause })
    this.#ended = error
    this.#onEnd?.(rest)
    // After a reset or with the reader's end the open exchange fails by itself, and with a better reason.
    if (why === 'removed' || why === 'closed') this.#running?.withdraw(error)
    for (const turn of this.#queue.splice(0)) turn.refuse(error)
    this.#tellGone(error)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#ended !== undefined) return
    // The slot is free for the next one when the card is at rest. An exchange that still runs comes first.
    let atRest!: () => void
    const rest = new Promise<void>((resolve) => {
      atRest = resolve
    })
    this.#end('closed', undefined, rest)
    try {
      await this.#link.release()
    } catch {
      // Pulled or unplugged meanwhile: then it is off.
    } finally {
      atRest()
    }
  }
}

/** Handed to the work of one transaction, and dead after it. */
class Channel implements CardChannel {
  readonly #link: CardLink
  readonly #connection: LockedConnection
  #undisturbed: boolean
  #closed = false
  #withdrawn: Error | undefined
  #reject: ((error: Error) => void) | undefined
  /** Settles when the reader owes no answer any more; undefined when it owes none. */
  pending: Promise<unknown> | undefined
  releasing = false
  /** False once an answer was lost, or the card was reset, under this channel. */
  undamaged = true
  /** Absent if the reader has no keys, or none that could be trusted. */
  readonly pinPad?: PinPad

  constructor(link: CardLink, connection: LockedConnection, undisturbed: boolean) {
    this.#link = link
    this.#connection = connection
    this.#undisturbed = undisturbed
    const { pinPad } = link
    if (pinPad !== undefined) {
      const onPad =
        (what: keyof PinPad): PinPad['verify'] =>
        (template, options = {}) =>
          this.#inTurn(options, () => pinPad[what](template, options))
      this.pinPad = { verify: onPad('verify'), modify: onPad('modify') }
    }
  }

  /** A copy: what a caller writes into it is not believed. */
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
    return this.#inTurn(options, () => this.#link.exchange(command, options), command)
  }

  reset(kind: 'warm' | 'cold'): Promise<Uint8Array> {
    return this.#inTurn({}, async () => {
      this.undamaged = false
      this.#undisturbed = false
      try {
        return copyOf(await this.#link.reset(kind))
      } catch (error) {
        this.#connection.lost('reset', error as Error)
        throw error
      }
    })
  }

  /** Two at once in one transaction: the second waits, or the parts of long APDUs would mix. */
  #inTurn(
    options: TransmitOptions,
    exchange: () => Promise<Uint8Array>,
    command?: Uint8Array,
  ): Promise<Uint8Array> {
    const refusal = this.#refusal() ?? (command && this.#unfit(command))
    if (refusal !== undefined) return Promise.reject(refusal)
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    if (this.pending === undefined) {
      this.#noteSelection(command)
      return this.#guard(exchange(), signal)
    }
    const resume = (): Promise<Uint8Array> => this.#inTurn(options, exchange, command)
    return this.pending.then(resume, resume)
  }

  /** No command: something else happens to the card. */
  #noteSelection(command: Uint8Array = nothing): void {
    const [cla, ins, p1] = command
    if (cla === 0 && ins === SELECT && p1 === BY_NAME) this.lengths.selection = copyOf(command)
    else if (!isReading(command)) this.lengths.selection = undefined
  }

  /** The caller may leave before the exchange does: by its signal, or when the card is pulled. */
  #guard(exchange: Promise<Uint8Array>, signal: TransmitOptions['signal']): Promise<Uint8Array> {
    this.pending = exchange
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.undamaged = false
        reject(new AbortedError({ cause: signal?.reason }))
      }
      this.#reject = reject
      signal?.addEventListener('abort', abort, { once: true })
      exchange.then(
        (response) => {
          this.#left()
          signal?.removeEventListener('abort', abort)
          resolve(response)
        },
        (error: unknown) => {
          this.#left()
          this.undamaged = false
          signal?.removeEventListener('abort', abort)
          reject(this.#translated(error as Error))
        },
      )
    })
  }

  /** A link that finds its card gone says so; what ended the connection first is what counts. */
  #translated(error: Error): Error {
    const { code, why, cause } = error as Partial<CardGoneError>
    return code === 'card/gone' && why !== undefined ? this.#connection.lost(why, cause as Error) : error
  }

  #left(): void {
    this.pending = undefined
    this.#reject = undefined
  }

  #refusal(): Error | undefined {
    if (this.#withdrawn !== undefined) return this.#withdrawn
    if (this.#closed) return new TransactionError('The channel was used after its transaction had ended.')
    return this.#connection.ended
  }

  #unfit(command: Uint8Array): Error | undefined {
    const { commandBytes } = this.limits
    if (command.length >= 4 && command.length <= commandBytes) return undefined
    return new MalformedError(
      'command APDU',
      `${command.length} bytes, between 4 and ${commandBytes} can be sent`,
    )
  }

  /** Nothing more may be sent, and who waits for an answer waits no longer. */
  withdraw(error: Error): void {
    this.#withdrawn ??= error
    this.undamaged = false
    this.#reject?.(error)
  }

  close(): void {
    this.#closed = true
  }
}
