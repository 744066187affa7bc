/** One application on a card: whether it is still selected, and whether its card is still the same one. */
import { copyOf } from './bytes.ts'
import { decodeResponse, type ResponseApdu } from './command.ts'
import { CardGoneError, PinPadRefusedError } from './errors.ts'
import { type ExchangeOptions, exchange, expectOk, type NamedCommand } from './exchange.ts'
import type { CardChannel, CardConnection, PinTemplate, TransmitOptions } from './ports.ts'

/** How an application is found. */
export interface CardApplicationOptions {
  /** For errors, such as 'PIV'. */
  readonly name: string
  /** What SELECT names, in 1 to 16 bytes. */
  readonly aid: Uint8Array
}

/** What a transaction begins with. */
export interface TransactionState {
  /** Another owner or a reset came between, and SELECT was sent: the card may have forgotten what it was told. */
  readonly reselected: boolean
}

/** What an application may have lost: by SELECT the selection and what was told since, by a reset all. */
export type ApplicationLoss = 'selection' | 'all'

/** The application that was selected last on each connection. */
const latest = /* @__PURE__ */ new WeakMap<CardConnection, CardApplication>()

/**
 * One application on a card, for as long as its connection lives. It is the owner of its transactions: what it knows
 * holds as long as no other owner was at the card. Commands go through `exchange`, so that its PIN references can tell
 * which one was the latest.
 */
export class CardApplication {
  readonly connection: CardConnection
  readonly name: string
  readonly #aid: Uint8Array
  readonly #listeners: ((loss: ApplicationLoss) => void)[] = []
  #selectedOn: CardChannel | undefined
  #undisturbedWhenSelected = false
  #commands = 0
  #fingerprint: string | undefined

  constructor(connection: CardConnection, { name, aid }: CardApplicationOptions) {
    this.connection = connection
    this.name = name
    this.#aid = copyOf(aid)
  }

  /** How many commands were sent, the ones without an answer included. */
  get commands(): number {
    return this.#commands
  }

  /** No other application of this connection was selected since this one was: to use it costs no other one its state. */
  get wasSelectedLast(): boolean {
    return latest.get(this.connection) === this
  }

  /** The listener is told of each loss before the command that causes it is sent. */
  onLoss(listener: (loss: ApplicationLoss) => void): void {
    this.#listeners.push(listener)
  }

  /** SELECT by AID; resolves to the template that the card answers. Throws StatusError if the card refuses. */
  async select(channel: CardChannel, options?: TransmitOptions): Promise<Uint8Array> {
    this.#lose('selection')
    const command = {
      name: `SELECT ${this.name}`,
      cla: 0,
      ins: 0xa4,
      p1: 4,
      p2: 0,
      data: this.#aid,
      responseBytes: 256,
    }
    const template = expectOk(await this.exchange(channel, command, options), command.name)
    latest.set(this.connection, this)
    this.#isOn(channel)
    return template
  }

  #isOn(channel: CardChannel): void {
    this.#selectedOn = channel
    this.#undisturbedWhenSelected = channel.undisturbed
  }

  /** Runs `work` under the card's lock with this application selected. SELECT is sent only if the card may have lost it. */
  transaction<T>(
    work: (channel: CardChannel, state: TransactionState) => Promise<T>,
    options?: TransmitOptions,
  ): Promise<T> {
    return this.connection.transaction(
      this,
      async (channel) => {
        const reselected = !this.#isSelectedOn(channel)
        if (reselected) await this.select(channel, options)
        else this.#isOn(channel)
        return work(channel, { reselected })
      },
      options,
    )
  }

  /** A channel whose transaction began disturbed is still ours if it was so when we selected on it. */
  #isSelectedOn(channel: CardChannel): boolean {
    if (this.#selectedOn === undefined) return false
    return channel.undisturbed || (channel === this.#selectedOn && !this.#undisturbedWhenSelected)
  }

  /** Sends one command as `exchange` does, and counts it. */
  exchange(channel: CardChannel, command: NamedCommand, options?: ExchangeOptions): Promise<ResponseApdu> {
    this.#commands++
    return exchange(channel, command, options)
  }

  /** Has the person type on the reader, and counts the command. Throws PinPadRefusedError if the reader has no keys (any more). */
  async exchangeOnPad(
    channel: CardChannel,
    template: PinTemplate,
    options?: TransmitOptions,
  ): Promise<ResponseApdu> {
    if (channel.pinPad === undefined) throw new PinPadRefusedError()
    this.#commands++
    return decodeResponse(await channel.pinPad.verify(template, options))
  }

  /**
   * Reads by what this card is known again, such as its serial number. undefined: it cannot be known again. The default
   * is undefined.
   */
  fingerprint(_channel: CardChannel, _options?: TransmitOptions): Promise<string | undefined> {
    return Promise.resolve(undefined)
  }

  /** Remembers the card's fingerprint, as it was when the application was opened. */
  remember(fingerprint: string | undefined): void {
    this.#fingerprint = fingerprint
  }

  /**
   * Makes sure, before a PIN is sent, that this is still the card that `remember` was told of. Sends nothing if the
   * reader vouches for it. Throws CardGoneError ('replaced') if it is another one or if that cannot be known.
   */
  async confirmCard(channel: CardChannel, options?: TransmitOptions): Promise<void> {
    if (channel.vouchesForCard) return
    const fingerprint = await this.fingerprint(channel, options)
    if (fingerprint === undefined || fingerprint !== this.#fingerprint) throw new CardGoneError('replaced')
  }

  /** The card was reset: forgets the selection and, in its PIN references, the attempts and the verified state. */
  forget(): void {
    this.#lose('all')
  }

  #lose(loss: ApplicationLoss): void {
    this.#selectedOn = undefined
    for (const listener of this.#listeners) listener(loss)
  }
}
