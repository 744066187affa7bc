/** The connection to one powered card: the only lock, the APDU exchange, and the one place that decides its end. */
import {
  AbortedError,
  type CardChannel,
  type CardConnection,
  CardGoneError,
  CardSilentError,
  CardTooSlowError,
  type ChannelLimits,
  concatBytes,
  MalformedError,
  type PinPad,
  type PinTemplate,
  ReaderRefusedError,
  ReaderTimeoutError,
  type SmartcardError,
  TransactionError,
  type TransmitOptions,
} from '@webtoki/apdu'
import type { Activation } from './activation-port.ts'
import {
  type Answer,
  CcidError,
  ChainParameter,
  chainParameter,
  encodeXfrBlock,
  HEADER_BYTES,
  IccStatus,
  RdrToPc,
} from './messages.ts'
import type { CcidReader } from './reader.ts'

/** 65536 bytes of data and the status word. */
const MAX_RESPONSE_BYTES = 65_538

/** What a connection asks of the slot that its card lies in. */
export interface PoweredSlot {
  readonly number: number
  readonly reader: CcidReader
  /** bPINSupport, less what the reader turned out not to know. */
  pinSupport: number
  /** Whether a card put in the place of this one would have been noticed. */
  readonly vouchesForCard: boolean
  /** Cold where the card was off, warm where it was on. Resolves to the ATR. */
  powerOn(): Promise<Uint8Array>
  powerOff(): Promise<void>
  /** What a card with this ATR, just reset, is to be spoken to with. */
  activated(atr: Uint8Array): Promise<Activation>
  /** An answer of the reader told the card's state. */
  sawCard(status: IccStatus): void
  /** The card's state is unknown: it is powered off before it is used again. */
  disturbed(): void
  /** The connection has ended; `rest` is done when its card is at rest. */
  released(connection: CcidConnection, rest: Promise<unknown>): void
}

interface Turn {
  /** Begins the work; the lock is this turn's from now on. */
  begin(): void
  refuse(error: Error): void
}

/**
 * Made by `CcidSlot.connect`. Transactions run one after the other in the order of their calls. An owner may ask for
 * several at once; they queue like anybody's. A transaction that waits inside another for its own end can never
 * begin: where that is visible (the call is made before `work` first awaits, or `owner` is the running transaction's
 * channel) it is refused, else `timeoutMs` or `signal` bounds the wait.
 */
export class CcidConnection implements CardConnection {
  readonly gone: Promise<CardGoneError>
  readonly access = 'exclusive'
  readonly #slot: PoweredSlot
  #tellGone!: (error: CardGoneError) => void
  #ended: CardGoneError | undefined
  #atr: Uint8Array
  #activation: Activation
  readonly #queue: Turn[] = []
  #running: Channel | undefined
  #entering = false
  #lastOwner: object | undefined
  #closing: Promise<void> | undefined
  /** False only within a cold reset. */
  powered = true

  constructor(slot: PoweredSlot, atr: Uint8Array, activation: Activation) {
    this.#slot = slot
    this.#atr = atr
    this.#activation = activation
    this.gone = new Promise((resolve) => {
      this.#tellGone = resolve
    })
  }

  /** A copy: what a caller writes into it is not believed. */
  get atr(): Uint8Array {
    return this.#atr.slice()
  }

  get limits(): ChannelLimits {
    return this.#activation.limits
  }

  get ended(): CardGoneError | undefined {
    return this.#ended
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
        this.#slot.reader.clock.clearTimeout(timer)
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
          this.#slot.reader.clock.clearTimeout(timer)
          const own = new Channel(this, this.#slot, this.#lastOwner === owner)
          channel = own
          this.#running = own
          this.#entering = true
          // Whatever it does, throws or returns, the lock comes free.
          const result = (async () => work(own))()
          this.#entering = false
          const over = (): void => {
            settled()
            this.#release(own, owner, true)
          }
          result.finally(over).then(resolve, reject)
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
        timer = this.#slot.reader.clock.setTimeout(
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
      const goOn = (): void => {
        channel.releasing = false
        this.#release(channel, owner, false)
      }
      pending.then(goOn, goOn)
      return
    }
    this.#running = undefined
    // An owner who never saw an answer does not know what the card did.
    this.#lastOwner = complete && channel.undamaged ? owner : undefined
    this.#queue.shift()?.begin()
  }

  /** Called by the channel. `exchanged` fulfils when the reader owes nothing any more; it never rejects. */
  async exchange(command: Uint8Array, options: TransmitOptions): Promise<Uint8Array> {
    const { transmit } = this.#activation
    if (transmit !== undefined) return this.#exchangeTpdus(transmit, command, options)
    const { descriptor } = this.#slot.reader
    const roomBytes = descriptor.maxMessageBytes - HEADER_BYTES
    try {
      const whole = command.length <= roomBytes
      const answer = whole
        ? await this.#block(ChainParameter.whole, command, options)
        : await this.#chain(command, roomBytes, options)
      const chain = descriptor.level === 'extended' ? chainParameter(answer.parameter) : ChainParameter.whole
      const response = withStatusWord(
        chain === ChainParameter.whole ? answer.data : await this.#collect(answer, chain, options),
      )
      if (answer.iccStatus !== IccStatus.active) this.#cardStatus(answer.iccStatus)
      return response
    } catch (error) {
      throw this.#translate(error)
    }
  }

  /** Where the reader takes TPDUs: T=0 or T=1, one command at a time. */
  async #exchangeTpdus(
    transmit: NonNullable<Activation['transmit']>,
    command: Uint8Array,
    options: TransmitOptions,
  ): Promise<Uint8Array> {
    try {
      return withStatusWord(await transmit(command, options))
    } catch (error) {
      throw this.#translateTpdu(error)
    }
  }

  /** Where neither side knows any more where the other stands, only a reset helps, and that is the next connection's. */
  #translateTpdu(error: unknown): Error {
    if (error instanceof CardSilentError || error instanceof CardTooSlowError) {
      this.#slot.disturbed()
      this.lost('reset', error)
    }
    return this.#translate(error)
  }

  /** Called by the channel's PIN pad: one PC_to_RDR_Secure, and the card's answer to it. */
  async exchangeOnPad(
    template: PinTemplate,
    what: keyof PinPad,
    options: TransmitOptions,
  ): Promise<Uint8Array> {
    try {
      // Few readers have keys; pages whose reader has none never load it.
      const { exchangeOnPad } = await import('./pin-pad.ts')
      return withStatusWord(await exchangeOnPad(this.#slot, this.#activation, template, what, options))
    } catch (error) {
      throw this.#translateTpdu(error)
    }
  }

  #block(chain: ChainParameter, data: Uint8Array, options: TransmitOptions): Promise<Answer> {
    const message = encodeXfrBlock({ slot: this.#slot.number, chain, data })
    return this.#slot.reader.ask(message, RdrToPc.dataBlock, 'XfrBlock', options)
  }

  /** CCID 1.1, 6.1.4: the parts of a command; the reader asks for the next by an empty block. */
  async #chain(command: Uint8Array, roomBytes: number, options: TransmitOptions): Promise<Answer> {
    for (let offset = 0; ; offset += roomBytes) {
      const last = offset + roomBytes >= command.length
      const chain = last
        ? ChainParameter.ends
        : offset === 0
          ? ChainParameter.begins
          : ChainParameter.continues
      const answer = await this.#block(chain, command.subarray(offset, offset + roomBytes), options)
      if (last) return answer
      if (answer.parameter !== ChainParameter.expectsMore || answer.data.length > 0) {
        // It answers in the middle of the command: the parts still to come would be a new command to it.
        throw new MalformedError('answer to XfrBlock', `bChainParameter ${answer.parameter} within a command`)
      }
    }
  }

  /** The parts of a response; each is asked for by an empty block. */
  async #collect(first: Answer, firstChain: ChainParameter, options: TransmitOptions): Promise<Uint8Array> {
    if (firstChain !== ChainParameter.begins) {
      throw new MalformedError(
        'answer to XfrBlock',
        `bChainParameter ${firstChain} at the beginning of a response`,
      )
    }
    const parts = [first.data]
    let totalBytes = first.data.length
    for (let chain: ChainParameter = firstChain; chain !== ChainParameter.ends; ) {
      const answer = await this.#block(ChainParameter.expectsMore, nothing, options)
      chain = chainParameter(answer.parameter)
      if (chain !== ChainParameter.continues && chain !== ChainParameter.ends) {
        throw new MalformedError('answer to XfrBlock', `bChainParameter ${chain} within a response`)
      }
      // A part without bytes brings the end no nearer; a reader could send such for ever.
      if (answer.data.length === 0 && chain !== ChainParameter.ends) {
        throw new MalformedError('answer to XfrBlock', 'an empty part within a response')
      }
      totalBytes += answer.data.length
      if (totalBytes > MAX_RESPONSE_BYTES) {
        throw new MalformedError('response APDU', `more than ${MAX_RESPONSE_BYTES} bytes`)
      }
      parts.push(answer.data)
    }
    return concatBytes(...parts)
  }

  #translate(error: unknown): Error {
    if (error instanceof ReaderRefusedError) {
      if (error.bError === CcidError.ICC_MUTE && (error.bStatus & 3) === IccStatus.active) {
        return new CardSilentError(undefined, { cause: error })
      }
      this.#cardStatus((error.bStatus & 3) as IccStatus, error)
      // A mute card that has no power either is told as what it is now: gone.
      if (this.#ended !== undefined) return this.#ended
    }
    return error as Error
  }

  #cardStatus(status: IccStatus, cause?: Error): void {
    if (status === IccStatus.absent) this.#slot.sawCard(status)
    // It had power, and has none: out and in again, or the reader switched it off. What it knew is lost.
    else if (status === IccStatus.inactive) this.lost('reset', cause)
  }

  async reset(kind: 'warm' | 'cold'): Promise<Uint8Array> {
    if (this.#ended !== undefined) throw this.#ended
    try {
      this.powered = false
      if (kind === 'cold') await this.#slot.powerOff()
      const atr = await this.#slot.powerOn()
      this.#activation = await this.#slot.activated(atr)
      this.#atr = atr
      return this.atr
    } catch (error) {
      this.lost('reset', error as Error)
      throw error
    } finally {
      this.powered = true
    }
  }

  /** Many may notice the end; this one place decides it, and the first reason stays. */
  lost(why: CardGoneError['why'], cause?: SmartcardError | Error): void {
    this.#end(why, cause, Promise.resolve())
  }

  #end(why: CardGoneError['why'], cause: Error | undefined, rest: Promise<unknown>): void {
    if (this.#ended !== undefined) return
    const error = new CardGoneError(why, cause === undefined ? undefined : { cause })
    this.#ended = error
    this.#slot.released(this, rest)
    // After a reset or with the reader's end the open exchange fails by itself, and with a better reason.
    if (why === 'removed' || why === 'closed') this.#running?.withdraw(error)
    for (const turn of this.#queue.splice(0)) turn.refuse(error)
    this.#tellGone(error)
  }

  /** Power-off is the default: it takes back what the card was told. Idempotent; never rejects. */
  close(end: 'leave' | 'reset' | 'power-off' = 'power-off'): Promise<void> {
    this.#closing ??= this.#close(end)
    return this.#closing
  }

  async #close(end: 'leave' | 'reset' | 'power-off'): Promise<void> {
    if (this.#ended !== undefined) return
    // The slot is free for the next one when the card is at rest. An exchange that still runs comes first.
    let atRest!: () => void
    const rest = new Promise<void>((resolve) => {
      atRest = resolve
    })
    this.#end('closed', undefined, rest)
    try {
      if (end === 'power-off') await this.#slot.powerOff()
      else if (end === 'reset') await this.#slot.powerOn()
    } catch {
      // Pulled or unplugged meanwhile: then it is off.
    } finally {
      atRest()
    }
  }
}

function withStatusWord(response: Uint8Array): Uint8Array {
  if (response.length >= 2) return response
  throw new MalformedError('response APDU', `${response.length} bytes, a status word has 2`)
}

const nothing = new Uint8Array(0)
/** bPINSupport (CCID 1.1, 5.1). */
const VERIFIES_PINS = 1

/** Handed to the work of one transaction, and dead after it. */
class Channel implements CardChannel {
  readonly #connection: CcidConnection
  readonly #slot: PoweredSlot
  #undisturbed: boolean
  #closed = false
  #withdrawn: Error | undefined
  #reject: ((error: Error) => void) | undefined
  /** Fulfils when the reader owes no answer any more; undefined when it owes none. */
  pending: Promise<unknown> | undefined
  releasing = false
  /** False once an answer was lost, or the card was reset, under this channel. */
  undamaged = true

  /** Absent where the reader has no keys, or none that could be trusted. */
  readonly pinPad?: PinPad

  constructor(connection: CcidConnection, slot: PoweredSlot, undisturbed: boolean) {
    this.#connection = connection
    this.#slot = slot
    this.#undisturbed = undisturbed
    if (slot.pinSupport & VERIFIES_PINS) {
      const onPad =
        (what: keyof PinPad): PinPad['verify'] =>
        (template, options = {}) =>
          this.#inTurn(options, () => connection.exchangeOnPad(template, what, options))
      this.pinPad = { verify: onPad('verify'), modify: onPad('modify') }
    }
  }

  get atr(): Uint8Array {
    return this.#connection.atr
  }

  get limits(): ChannelLimits {
    return this.#connection.limits
  }

  get undisturbed(): boolean {
    return this.#undisturbed
  }

  get vouchesForCard(): boolean {
    return this.#slot.vouchesForCard
  }

  transmit(command: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    const exchange = (): Promise<Uint8Array> => this.#connection.exchange(command, options)
    return this.#inTurn(options, exchange, this.#unfit(command))
  }

  reset(kind: 'warm' | 'cold'): Promise<Uint8Array> {
    return this.#inTurn({}, () => {
      this.undamaged = false
      this.#undisturbed = false
      return this.#connection.reset(kind)
    })
  }

  /** Two at once in one transaction: the second waits, or the parts of long APDUs would mix. */
  #inTurn(options: TransmitOptions, exchange: () => Promise<Uint8Array>, unfit?: Error): Promise<Uint8Array> {
    const refusal = this.#refusal() ?? unfit
    if (refusal !== undefined) return Promise.reject(refusal)
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortedError({ cause: signal.reason }))
    if (this.pending === undefined) return this.#guard(exchange(), signal)
    const goOn = (): Promise<Uint8Array> => this.#inTurn(options, exchange)
    return this.pending.then(goOn, goOn)
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
          reject(error as Error)
        },
      )
    })
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
