/**
 * One PIN of a card application: the attempts left, the verified state, and VERIFY, which is sent once (ISO/IEC
 * 7816-4:2013, 11.6.6).
 */
import type { CardApplication } from './card-application.ts'
import type { ResponseApdu } from './command.ts'
import { LastTryError, NotSupportedError, PinBlockedError, PinError, StatusError } from './errors.ts'
import type { NamedCommand } from './exchange.ts'
import { type PinFormat, pinOf } from './pin-format.ts'
import type { CardChannel, TransmitOptions } from './ports.ts'
import { describeStatus, SW, triesLeftFromStatus } from './status-words.ts'

/** What a card reports about a PIN. */
export interface PinStatus {
  readonly verified: boolean
  /** Attempts left. Undefined if the card does not report them; many do not while the PIN is verified. */
  readonly triesLeft: number | undefined
}

/** Options of `PinReference`. */
export interface PinReferenceOptions {
  /** Name for messages, such as 'PIN' or 'signature PIN'. */
  readonly name: string
  /** P2 of VERIFY. If it changes, call `forgetTries`, because another PIN has other attempts. */
  readonly reference: () => number
  readonly format: PinFormat
  /** Reads what is needed before the first status or VERIFY of a connection. Called once; again only after it rejected. */
  prepare?(channel: CardChannel, options?: TransmitOptions): Promise<void>
  /**
   * Reads the attempts left without using one. `verified` is undefined if the response does not report it. Default: VERIFY
   * without data.
   */
  readStatus?(
    channel: CardChannel,
    options?: TransmitOptions,
  ): Promise<{ readonly verified: boolean | undefined; readonly triesLeft: number | undefined }>
  /**
   * Reads the attempts left with another command, if the card refuses VERIFY without data or hides them while the PIN is
   * verified. Resolves to undefined if the card does not report them, and is then not called again.
   */
  readTries?(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined>
  /** False if the card does not support VERIFY with P1 FF, which ends the verified state. Default: true. */
  readonly canLogOut?: boolean
  /** Another reference of the same application with the same retry counter, such as the two references of PW1. */
  readonly sharesTriesWith?: PinReference
}

/** Options of VERIFY. */
export interface VerifyOptions extends TransmitOptions {
  /** True if the person has agreed to use the last attempt. */
  readonly acceptLastTry?: boolean
}

/** What is known about a retry counter. */
class RetryCounter {
  /** The value that the card reported since the last selection; undefined if it reported none. */
  reported: number | undefined
  /** Lower bound, from all values that the card ever reported; undefined if it never reported one. */
  min: number | undefined
  /** Highest value that the card ever reported. */
  max = 0
  /** True if the card need not be read: its last value is still valid, or it does not report one. */
  isRead = false

  get left(): number | undefined {
    return this.reported ?? (this.min === 1 ? 1 : undefined)
  }

  learn(left: number): void {
    this.reported = left
    this.min = left
    this.max = Math.max(this.max, left)
  }

  /** While the PIN is verified, the counter has its initial value, which is at least the highest reported one. */
  learnFull(): void {
    if (this.max > 0) this.learn(this.max)
  }

  /** To be called before VERIFY is sent, which may use an attempt. Returns a function that restores the state. */
  spend(): () => void {
    const { reported, min } = this
    this.reported = undefined
    this.min = min && Math.max(1, min - 1)
    return () => {
      this.reported = reported
      this.min = min
    }
  }

  forget(): void {
    this.reported = undefined
    this.min = undefined
    this.max = 0
    this.isRead = false
  }
}

/**
 * One PIN of an application, for the lifetime of the connection. Methods that take a channel are called within a transaction
 * of the application. VERIFY is never repeated.
 */
export class PinReference {
  readonly application: CardApplication
  readonly name: string
  readonly format: PinFormat
  /** Called with the attempts left each time that they were checked and are known. */
  onTries: ((triesLeft: number) => void) | undefined
  readonly #options: PinReferenceOptions
  readonly #counter: RetryCounter
  #isPrepared = false
  #reportsTries: boolean
  #isVerified = false
  #mayBeVerified = false
  /**
   * True if another application or program used the card since the PIN was verified, so the card may have lost that
   * state.
   */
  #isInDoubt = false
  /** The application's command count after VERIFY was accepted. */
  #acceptedAt: number | undefined

  constructor(application: CardApplication, options: PinReferenceOptions) {
    this.application = application
    this.name = options.name
    this.format = options.format
    this.#options = options
    this.#reportsTries = options.readTries !== undefined
    const { sharesTriesWith } = options
    this.#counter = sharesTriesWith === undefined ? new RetryCounter() : sharesTriesWith.#counter
    application.onLoss((loss) => {
      // SELECT of the same application does not change the card's security status.
      if (loss === 'all') this.#mayBeVerified = false
      this.#isInDoubt = this.#mayBeVerified
      this.#isVerified = false
      this.#counter.reported = undefined
      this.#counter.isRead = false
    })
  }

  /**
   * Attempts left, as the card reported since the last selection. If it has not reported them since, 1 if only one may be
   * left. Undefined if they are not known.
   */
  get triesLeft(): number | undefined {
    return this.#counter.left
  }

  /** True if the PIN is verified, as far as this object knows. */
  get isVerified(): boolean {
    return this.#isVerified
  }

  /** True if the PIN may be verified by us: from before VERIFY is sent until it is known not to be. */
  get mayBeVerified(): boolean {
    return this.#mayBeVerified
  }

  /**
   * True if VERIFY was accepted and is the last command of the application. If the card refuses the next command with 6982,
   * the reason is then not the PIN. Read this before you send that command.
   */
  get isFresh(): boolean {
    return this.#isVerified && this.#acceptedAt === this.application.commands
  }

  /** True after `prepare` has succeeded on this connection, so that reading the status takes at most one command. */
  get isPrepared(): boolean {
    return this.#isPrepared
  }

  /** Forgets the attempts left. To be called if `reference` changes to another PIN. */
  forgetTries(): void {
    this.#counter.forget()
  }

  /**
   * Reads attempts left and verified state without using an attempt. Do not call it between VERIFY and the use of a key that
   * requires the PIN each time.
   */
  async status(channel: CardChannel, options?: TransmitOptions): Promise<PinStatus> {
    await this.#prepare(channel, options)
    const { verified, triesLeft: reported } = await (this.#options.readStatus?.(channel, options) ??
      this.#readByVerify(channel, options))
    if (verified !== undefined) {
      this.#isInDoubt = false
      this.#isVerified = verified
      // A card that refuses VERIFY without data reports nothing. This neither fails nor shows that the PIN is not verified.
      this.#mayBeVerified = verified || (reported === undefined && this.#mayBeVerified)
    }
    const triesLeft = reported ?? (verified === true ? undefined : await this.#readTries(channel, options))
    if (triesLeft !== undefined) this.#counter.learn(triesLeft)
    else if (verified === true) this.#counter.learnFull()
    return { verified: this.#isVerified, triesLeft }
  }

  /**
   * Resolves to true if the PIN may still be verified. Reads the status once if another program used the card since. If the
   * card does not report it, the result is true, and the use of the key shows it.
   */
  async mayStillBeVerified(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    if (this.#isInDoubt) await this.status(channel, options)
    return this.#mayBeVerified
  }

  async #readByVerify(channel: CardChannel, options?: TransmitOptions): Promise<PinStatus> {
    const { sw } = await this.application.exchange(channel, this.#command(0), options)
    return { verified: sw === SW.OK, triesLeft: triesIn(sw) }
  }

  /**
   * Resolves to the attempts left, or undefined if the card does not report them. Reads the card only if they are not known:
   * once after each selection, each logout, and each VERIFY with an ambiguous response.
   */
  async learnTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    await this.#prepare(channel, options)
    const counter = this.#counter
    if (!counter.isRead) {
      const mayBeOurs = this.#mayBeVerified
      const { verified } = await this.status(channel, options)
      // The login of another program hides the counter, so it is ended. During our own login the counter is full.
      if (verified && !mayBeOurs && (await this.logout(channel, options))) await this.status(channel, options)
      counter.isRead = true
      // A verified PIN hides its counter. If the card has only ever reported one attempt, a proprietary command may
      // report more.
      if (this.#isVerified && this.triesLeft === 1) {
        const triesLeft = await this.#readTries(channel, options)
        if (triesLeft !== undefined) counter.learn(triesLeft)
      }
    }
    this.#notifyTries()
    return this.triesLeft
  }

  async #readTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    if (!this.#reportsTries) return undefined
    const triesLeft = await this.#options.readTries?.(channel, options)
    this.#reportsTries = triesLeft !== undefined
    return triesLeft
  }

  /**
   * Sends VERIFY exactly once, after it has read the attempts left and, at a reader that would not notice another card, has
   * identified the card. `pin` is overwritten in every outcome. Rejects with PinFormatError before anything is sent; with
   * LastTryError, PinBlockedError and CardGoneError before VERIFY is sent; with PinError and PinBlockedError after it; and
   * with StatusError if the response to VERIFY is ambiguous.
   */
  async verify(
    channel: CardChannel,
    pin: Uint8Array,
    { acceptLastTry, ...options }: VerifyOptions = {},
  ): Promise<void> {
    let copy: Uint8Array | undefined
    let data: Uint8Array | undefined
    try {
      try {
        // Copied, because other commands precede VERIFY and the caller may overwrite its array meanwhile.
        copy = pinOf(pin, this.format)
      } finally {
        pin.fill(0)
      }
      await this.#prepare(channel, options)
      const encoded = await this.format.encode(copy)
      data = encoded
      await this.#verifyOnce(channel, acceptLastTry, options, () =>
        this.application.exchange(
          channel,
          { ...this.#command(0), data: encoded },
          { ...options, sensitive: true },
        ),
      )
    } finally {
      copy?.fill(0)
      data?.fill(0)
    }
  }

  /**
   * Does the same with a PIN that the person types on the reader; the PIN never reaches this code. Also rejects with
   * PinPadCancelledError, PinPadTimeoutError and PinPadRefusedError, which use no attempt, and with NotSupportedError if a
   * PIN pad cannot encode this PIN.
   */
  async verifyOnPad(channel: CardChannel, { acceptLastTry, ...options }: VerifyOptions = {}): Promise<void> {
    await this.#prepare(channel, options)
    const { padTemplate } = this.format
    if (padTemplate === undefined)
      throw new NotSupportedError(`The ${this.name} of this card cannot be entered on a reader.`)
    await this.#verifyOnce(channel, acceptLastTry, options, () => {
      const { cla, ins, p1, p2 } = this.#command(0)
      const template = padTemplate(Uint8Array.of(cla, ins, p1, p2))
      return this.application.exchangeOnPad(channel, template, options)
    })
  }

  async #verifyOnce(
    channel: CardChannel,
    acceptLastTry: boolean | undefined,
    options: TransmitOptions,
    send: () => Promise<ResponseApdu>,
  ): Promise<void> {
    // While the person typed, another program may have used the card or the card may have been replaced, unnoticed by
    // this reader.
    if (!channel.vouchesForCard) this.#counter.isRead = false
    await this.learnTries(channel, options)
    await this.application.confirmCard(channel, options)
    try {
      if (this.triesLeft === 0) throw new PinBlockedError()
      if (this.triesLeft === 1 && acceptLastTry !== true) throw new LastTryError()
      await this.#sendVerify(channel, options, send)
      if (this.triesLeft === 1 && this.#reportsTries) this.#counter.isRead = false
    } catch (error) {
      // VERIFY with an ambiguous response may have used an attempt, so the card is read before the next one.
      if (!(error instanceof PinError)) this.#counter.isRead = false
      throw error
    } finally {
      this.#notifyTries()
    }
  }

  /** Sends VERIFY and evaluates the response. Until then, the PIN may be verified and an attempt may be used. */
  async #sendVerify(
    channel: CardChannel,
    options: TransmitOptions,
    send: () => Promise<ResponseApdu>,
  ): Promise<void> {
    const counter = this.#counter
    const before = counter.reported
    const states = [this.#isVerified, this.#mayBeVerified] as const
    const restore = counter.spend()
    this.#isVerified = false
    this.#mayBeVerified = true
    let sw: number
    try {
      ;({ sw } = await send())
    } catch (error) {
      if (isPinPadError(error)) {
        restore()
        ;[this.#isVerified, this.#mayBeVerified] = states
      }
      throw error
    }
    if (sw === SW.OK) {
      this.#isVerified = true
      this.#isInDoubt = false
      this.#acceptedAt = this.application.commands
      counter.learnFull()
      return
    }
    // 6300 means a wrong PIN, but does not report the attempts left.
    const uncounted = sw === SW.WARNING && before !== undefined ? before - 1 : undefined
    const triesLeft =
      triesIn(sw) ??
      uncounted ??
      (sw === SW.SECURITY_STATUS_NOT_SATISFIED
        ? await this.#triesIfUsed(before, channel, options)
        : undefined)
    if (triesLeft === undefined) throw new StatusError('VERIFY', sw, describeStatus(sw))
    // A wrong PIN ends the verified state (SP 800-73-4 part 2, 3.2.1; OpenPGP card 3.4, 7.2.2).
    this.#mayBeVerified = false
    counter.learn(triesLeft)
    throw triesLeft === 0 ? new PinBlockedError() : new PinError(triesLeft)
  }

  /** Returns the attempts left after 6982 if one was used: only then does 6982 mean a wrong PIN, as on some cards. */
  async #triesIfUsed(
    before: number | undefined,
    channel: CardChannel,
    options: TransmitOptions,
  ): Promise<number | undefined> {
    if (before === undefined) return undefined
    const { triesLeft } = await this.status(channel, options)
    return triesLeft !== undefined && triesLeft < before ? triesLeft : undefined
  }

  /**
   * Ends the verified state with VERIFY and P1 FF. Sends nothing if the PIN cannot be verified by us. Resolves to false if the
   * card does not support it: the caller then resets the card and calls `forget` of the application.
   */
  async logout(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    // The card reports its attempts again after a logout. They are read again, because others may use the same PIN.
    this.#counter.isRead = false
    if (!this.#mayBeVerified) return true
    if (this.#options.canLogOut === false) return false
    const { sw } = await this.application.exchange(channel, this.#command(0xff), options)
    if (sw !== SW.OK) return false
    this.#isVerified = false
    this.#mayBeVerified = false
    this.#counter.reported = undefined
    return true
  }

  async #prepare(channel: CardChannel, options: TransmitOptions | undefined): Promise<void> {
    if (this.#isPrepared) return
    await this.#options.prepare?.(channel, options)
    this.#isPrepared = true
  }

  #notifyTries(): void {
    if (this.triesLeft !== undefined) this.onTries?.(this.triesLeft)
  }

  #command(p1: 0 | 0xff): NamedCommand {
    return { name: 'VERIFY', cla: 0, ins: 0x20, p1, p2: this.#options.reference() }
  }
}

const pinPadCodes: readonly unknown[] = [
  'card/pin-pad-cancelled',
  'card/pin-pad-timeout',
  'card/pin-pad-refused',
]

/**
 * Returns true if the PIN pad sent nothing to the card. Compares codes, because the driver may use another copy of the
 * classes.
 */
function isPinPadError(error: unknown): boolean {
  return pinPadCodes.includes((error as { readonly code?: unknown } | undefined)?.code)
}

/**
 * Returns the attempts left that 63Cx, 6983 or 630x report. PIV cards before SP 800-73-3 use 630x, where 6300 has no
 * count.
 */
function triesIn(sw: number): number | undefined {
  if (sw === SW.AUTHENTICATION_BLOCKED) return 0
  const oldCount = (sw & 0xfff0) === 0x6300 && sw !== SW.WARNING ? sw & 0x0f : undefined
  return triesLeftFromStatus(sw) ?? oldCount
}
