/**
 * One application on a card: its selection by AID (SELECT of ISO/IEC 7816-4), its transactions, and the identity of its
 * card.
 */
import { copyOf } from './bytes.ts'
import { decodeResponse, type ResponseApdu } from './command.ts'
import { CardGoneError, PinPadRefusedError } from './errors.ts'
import { type ExchangeOptions, exchange, expectOk, type NamedCommand } from './exchange.ts'
import type { CardChannel, CardConnection, PinTemplate, TransmitOptions } from './ports.ts'

/** Identifies an application. */
export interface CardApplicationOptions {
  /** Name for error messages, such as 'PIV'. */
  readonly name: string
  /** Application identifier for SELECT, 1 to 16 bytes. */
  readonly aid: Uint8Array
}

/** The state in which a transaction starts. */
export interface TransactionState {
  /** True if SELECT was sent first, because another owner or a reset intervened: the card may have lost earlier state. */
  readonly reselected: boolean
}

/** What an application may have lost: after SELECT the state set up since the last SELECT, after a reset everything. */
export type ApplicationLoss = 'selection' | 'all'

/** The application that was last selected on each connection. */
const latest = /* @__PURE__ */ new WeakMap<CardConnection, CardApplication>()

/**
 * One application on a card, for the lifetime of the connection. It is the owner of its transactions, so its state stays
 * valid until another owner uses the card. Commands go through `exchange`, which counts them: its PIN references compare
 * the count to find out whether VERIFY was the last command.
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

  /** Number of commands sent, including those without a response. */
  get commands(): number {
    return this.#commands
  }

  /** True if no other application of this connection was selected since, so using this one costs no other its state. */
  get wasSelectedLast(): boolean {
    return latest.get(this.connection) === this
  }

  /** Registers a listener, which is called before the command that causes the loss is sent. */
  onLoss(listener: (loss: ApplicationLoss) => void): void {
    this.#listeners.push(listener)
  }

  /** Sends SELECT by AID and resolves to the response data. Rejects with StatusError if the card refuses. */
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

  /**
   * Runs `work` under the card's lock with this application selected. Sends SELECT only if the card may have lost the
   * selection.
   */
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

  /** A channel that was disturbed from the start of its transaction stays valid after SELECT was sent on it. */
  #isSelectedOn(channel: CardChannel): boolean {
    if (this.#selectedOn === undefined) return false
    return channel.undisturbed || (channel === this.#selectedOn && !this.#undisturbedWhenSelected)
  }

  /** Sends one command with `exchange` and counts it. */
  exchange(channel: CardChannel, command: NamedCommand, options?: ExchangeOptions): Promise<ResponseApdu> {
    this.#commands++
    return exchange(channel, command, options)
  }

  /**
   * Sends VERIFY with a PIN typed on the reader, and counts it. Rejects with PinPadRefusedError if the reader has no
   * usable PIN pad.
   */
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
   * Reads data that identifies the card, such as its serial number. Resolves to undefined if the card cannot be identified.
   * Applets override this; the default is undefined.
   */
  fingerprint(_channel: CardChannel, _options?: TransmitOptions): Promise<string | undefined> {
    return Promise.resolve(undefined)
  }

  /** Stores the fingerprint that the card had when the application was opened. `confirmCard` compares it. */
  remember(fingerprint: string | undefined): void {
    this.#fingerprint = fingerprint
  }

  /**
   * Checks before a PIN is sent that the card is still the one whose fingerprint was stored. Sends nothing if the reader
   * would have noticed a change of cards. Rejects with CardGoneError ('replaced') if the card is another one or cannot be
   * identified.
   */
  async confirmCard(channel: CardChannel, options?: TransmitOptions): Promise<void> {
    if (channel.vouchesForCard) return
    const fingerprint = await this.fingerprint(channel, options)
    if (fingerprint === undefined || fingerprint !== this.#fingerprint) throw new CardGoneError('replaced')
  }

  /**
   * To be called after a reset: forgets the selection and, in the PIN references, the attempts left and the verified
   * state.
   */
  forget(): void {
    this.#lose('all')
  }

  #lose(loss: ApplicationLoss): void {
    this.#selectedOn = undefined
    for (const listener of this.#listeners) listener(loss)
  }
}
