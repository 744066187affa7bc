/**
 * One PIN of a card application: the attempts that are left, whether it is verified, and VERIFY, sent once
 * (ISO/IEC 7816-4:2013, 11.6.6).
 */
import type { CardApplication } from './card-application.ts'
import type { ResponseApdu } from './command.ts'
import { LastTryError, NotSupportedError, PinBlockedError, PinError, StatusError } from './errors.ts'
import type { NamedCommand } from './exchange.ts'
import { type PinFormat, pinOf } from './pin-format.ts'
import type { CardChannel, TransmitOptions } from './ports.ts'
import { describeStatus, SW, triesLeftFromStatus } from './status-words.ts'

/** What a card tells of a PIN. */
export interface PinStatus {
  readonly verified: boolean
  /** Attempts left; undefined on cards that do not tell, and on many while the PIN is verified. */
  readonly triesLeft: number | undefined
}

/** How a PIN is addressed, written and asked about. */
export interface PinReferenceOptions {
  /** Such as 'PIN' or 'signature PIN'. */
  readonly name: string
  /** P2 of VERIFY. If it changes, `forgetTries` is to be called: another PIN has other attempts. */
  readonly reference: () => number
  readonly format: PinFormat
  /** Done once, before the first status or VERIFY of a connection; again only if it rejected. */
  prepare?(channel: CardChannel, options?: TransmitOptions): Promise<void>
  /**
   * Asks for the attempts without spending one. `verified` is undefined if the answer does not tell. Default: VERIFY
   * without data.
   */
  readStatus?(
    channel: CardChannel,
    options?: TransmitOptions,
  ): Promise<{ readonly verified: boolean | undefined; readonly triesLeft: number | undefined }>
  /**
   * Asks for the attempts by another command, if VERIFY without data was refused or hides them because the PIN is verified.
   * undefined: the card does not tell, and is not asked again.
   */
  readTries?(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined>
  /** Whether VERIFY with P1 FF takes the verified state back. Default: true; a card may refuse it all the same. */
  readonly canLogOut?: boolean
  /** Another reference of the same application with the same retry counter, such as the PW1 for signing and for the rest. */
  readonly sharesTriesWith?: PinReference
}

/** Options of VERIFY. */
export interface VerifyOptions extends TransmitOptions {
  /** The person said that the last attempt may be spent. */
  readonly acceptLastTry?: boolean
}

/** What is known of a retry counter. */
class RetryCounter {
  /** As the card told since the application was last selected; undefined: it has not. */
  told: number | undefined
  /** No fewer can be left, by all that the card ever told; undefined: it told nothing. */
  fewest: number | undefined
  most = 0
  /** The card need not be asked: what it told still holds, or it does not tell. */
  isRead = false

  get left(): number | undefined {
    return this.told ?? (this.fewest === 1 ? 1 : undefined)
  }

  learn(left: number): void {
    this.told = left
    this.fewest = left
    this.most = Math.max(this.most, left)
  }

  /** At a verified PIN the counter stands at its maximum, which is no less than the most it ever told. */
  learnFull(): void {
    if (this.most > 0) this.learn(this.most)
  }

  /** VERIFY is on its way: it may cost an attempt. Returns what puts things back. */
  spend(): () => void {
    const { told, fewest } = this
    this.told = undefined
    this.fewest = fewest && Math.max(1, fewest - 1)
    return () => {
      this.told = told
      this.fewest = fewest
    }
  }

  forget(): void {
    this.told = undefined
    this.fewest = undefined
    this.most = 0
    this.isRead = false
  }
}

/**
 * One PIN of an application, for as long as the connection lives. All methods that take a channel are called within a
 * transaction of the application. VERIFY is never repeated here.
 */
export class PinReference {
  readonly application: CardApplication
  readonly name: string
  readonly format: PinFormat
  /** Told the attempts left each time that they were looked at and are known. */
  onTries: ((triesLeft: number) => void) | undefined
  readonly #options: PinReferenceOptions
  readonly #counter: RetryCounter
  #isPrepared = false
  #reportsTries: boolean
  #isVerified = false
  #mayBeVerified = false
  /** Another application or program was at the card since our PIN was verified: the card may have forgotten it. */
  #isInDoubt = false
  /** The application's count of commands after VERIFY was accepted. */
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
      // SELECT of the same application leaves the card's security status as it is.
      if (loss === 'all') this.#mayBeVerified = false
      this.#isInDoubt = this.#mayBeVerified
      this.#isVerified = false
      this.#counter.told = undefined
      this.#counter.isRead = false
    })
  }

  /**
   * Attempts left as last told in this undisturbed stretch. If nothing was told since then, 1 for a card that may be
   * down to one; undefined: not known.
   */
  get triesLeft(): number | undefined {
    return this.#counter.left
  }

  /** Whether the PIN counts as verified, as far as this object knows. */
  get isVerified(): boolean {
    return this.#isVerified
  }

  /** Whether the card may hold a verified PIN of ours: from before VERIFY is sent until something says that it does not. */
  get mayBeVerified(): boolean {
    return this.#mayBeVerified
  }

  /**
   * VERIFY was accepted and is the latest command of the application: if the card answers 6982 to the next one, it is
   * not about the PIN. To be read before that command is sent.
   */
  get isFresh(): boolean {
    return this.#isVerified && this.#acceptedAt === this.application.commands
  }

  /** Whether this PIN was asked about before on this connection, so that asking again costs one command at most. */
  get isPrepared(): boolean {
    return this.#isPrepared
  }

  /** Another PIN is meant from now on, which has other attempts. */
  forgetTries(): void {
    this.#counter.forget()
  }

  /** Asks the card by one command that spends no attempt. Not between VERIFY and the use of a key that wants the PIN each time. */
  async status(channel: CardChannel, options?: TransmitOptions): Promise<PinStatus> {
    await this.#prepare(channel, options)
    const { verified, triesLeft: told } = await (this.#options.readStatus?.(channel, options) ??
      this.#askByVerify(channel, options))
    if (verified !== undefined) {
      this.#isInDoubt = false
      this.#isVerified = verified
      // Cards that refuse VERIFY without data tell nothing: not a reason to fail, nor to believe that a PIN of ours is gone.
      this.#mayBeVerified = verified || (told === undefined && this.#mayBeVerified)
    }
    const triesLeft = told ?? (verified === true ? undefined : await this.#readTries(channel, options))
    if (triesLeft !== undefined) this.#counter.learn(triesLeft)
    else if (verified === true) this.#counter.learnFull()
    return { verified: this.#isVerified, triesLeft }
  }

  /**
   * Whether a PIN of ours may still be verified. Asks the card, once, if somebody else was at it since; a card that does
   * not tell may: the use of the key will.
   */
  async mayStillBeVerified(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    if (this.#isInDoubt) await this.status(channel, options)
    return this.#mayBeVerified
  }

  async #askByVerify(channel: CardChannel, options?: TransmitOptions): Promise<PinStatus> {
    const { sw } = await this.application.exchange(channel, this.#command(0), options)
    return { verified: sw === SW.OK, triesLeft: triesTold(sw) }
  }

  /**
   * Attempts left. Asks the card only if nobody knows: once after each selection, logout, and VERIFY without a clear
   * answer.
   */
  async learnTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    await this.#prepare(channel, options)
    const counter = this.#counter
    if (!counter.isRead) {
      const mayBeOurs = this.#mayBeVerified
      const { verified } = await this.status(channel, options)
      // Somebody else's login hides the counter; it is not ours, and ends. After our own the counter is full.
      if (verified && !mayBeOurs && (await this.logout(channel, options))) await this.status(channel, options)
      counter.isRead = true
      // A verified PIN hides its counter. If the card only ever told one attempt, its maker may have a command for more.
      if (this.#isVerified && this.triesLeft === 1) {
        const triesLeft = await this.#readTries(channel, options)
        if (triesLeft !== undefined) counter.learn(triesLeft)
      }
    }
    this.#tellTries()
    return this.triesLeft
  }

  async #readTries(channel: CardChannel, options?: TransmitOptions): Promise<number | undefined> {
    if (!this.#reportsTries) return undefined
    const triesLeft = await this.#options.readTries?.(channel, options)
    this.#reportsTries = triesLeft !== undefined
    return triesLeft
  }

  /**
   * Sends VERIFY exactly once, after the attempts were learned and, at a reader that does not vouch for its card, the card
   * was confirmed. `pin` is overwritten in every outcome. Throws PinFormatError before anything is sent; LastTryError,
   * PinBlockedError and CardGoneError before VERIFY is sent; PinError and PinBlockedError after it, and StatusError if
   * its answer says neither right nor wrong.
   */
  async verify(
    channel: CardChannel,
    pin: Uint8Array,
    { acceptLastTry, ...options }: VerifyOptions = {},
  ): Promise<void> {
    let own: Uint8Array | undefined
    let data: Uint8Array | undefined
    try {
      try {
        // Commands are sent before VERIFY: what the owner writes into the array meanwhile is not sent.
        own = pinOf(pin, this.format)
      } finally {
        pin.fill(0)
      }
      await this.#prepare(channel, options)
      const encoded = await this.format.encode(own)
      data = encoded
      await this.#verifyOnce(channel, acceptLastTry, options, () =>
        this.application.exchange(
          channel,
          { ...this.#command(0), data: encoded },
          { ...options, sensitive: true },
        ),
      )
    } finally {
      own?.fill(0)
      data?.fill(0)
    }
  }

  /**
   * The same with a PIN that the person types on the reader, which alone sees it. Rejects also with
   * PinPadCancelledError, PinPadTimeoutError and PinPadRefusedError: then no attempt was spent. Throws NotSupportedError
   * if a pad cannot compute what the card wants.
   */
  async verifyOnPad(channel: CardChannel, { acceptLastTry, ...options }: VerifyOptions = {}): Promise<void> {
    await this.#prepare(channel, options)
    const { padTemplate } = this.format
    if (padTemplate === undefined)
      throw new NotSupportedError(`The ${this.name} of this card cannot be typed on a reader.`)
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
    // The person took a minute: at a reader that would not notice, the card may have been elsewhere, or is another one.
    if (!channel.vouchesForCard) this.#counter.isRead = false
    await this.learnTries(channel, options)
    await this.application.confirmCard(channel, options)
    try {
      if (this.triesLeft === 0) throw new PinBlockedError()
      if (this.triesLeft === 1 && acceptLastTry !== true) throw new LastTryError()
      await this.#sendVerify(channel, options, send)
      if (this.triesLeft === 1 && this.#reportsTries) this.#counter.isRead = false
    } catch (error) {
      // VERIFY without a clear answer may have cost an attempt: the card is asked before the next one.
      if (!(error instanceof PinError)) this.#counter.isRead = false
      throw error
    } finally {
      this.#tellTries()
    }
  }

  /** Until the card has answered, nobody knows whether the PIN was right. */
  async #sendVerify(
    channel: CardChannel,
    options: TransmitOptions,
    send: () => Promise<ResponseApdu>,
  ): Promise<void> {
    const counter = this.#counter
    const before = counter.told
    const states = [this.#isVerified, this.#mayBeVerified] as const
    const restore = counter.spend()
    this.#isVerified = false
    this.#mayBeVerified = true
    let sw: number
    try {
      ;({ sw } = await send())
    } catch (error) {
      if (isWithoutVerify(error)) {
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
    // 6300 says wrong, and not how many are left.
    const uncounted = sw === SW.WARNING && before !== undefined ? before - 1 : undefined
    const triesLeft =
      triesTold(sw) ??
      uncounted ??
      (sw === SW.SECURITY_STATUS_NOT_SATISFIED ? await this.#askIfLost(before, channel, options) : undefined)
    if (triesLeft === undefined) throw new StatusError('VERIFY', sw, describeStatus(sw))
    // A wrong PIN takes the verified state away (SP 800-73-4 part 2, 3.2.1; OpenPGP card 3.4, 7.2.2).
    this.#mayBeVerified = false
    counter.learn(triesLeft)
    throw triesLeft === 0 ? new PinBlockedError() : new PinError(triesLeft)
  }

  /** 6982 is how some cards tell a wrong PIN, and means other things too: the PIN was wrong if an attempt is gone. */
  async #askIfLost(
    before: number | undefined,
    channel: CardChannel,
    options: TransmitOptions,
  ): Promise<number | undefined> {
    if (before === undefined) return undefined
    const { triesLeft } = await this.status(channel, options)
    return triesLeft !== undefined && triesLeft < before ? triesLeft : undefined
  }

  /**
   * Takes the verified state back (VERIFY with P1 FF); sends nothing if no PIN of ours can be verified. False: the card
   * cannot; the caller resets it, then calls the application's `forget`.
   */
  async logout(channel: CardChannel, options?: TransmitOptions): Promise<boolean> {
    // The card tells its attempts again after it, and knows best: others may share its PIN.
    this.#counter.isRead = false
    if (!this.#mayBeVerified) return true
    if (this.#options.canLogOut === false) return false
    const { sw } = await this.application.exchange(channel, this.#command(0xff), options)
    if (sw !== SW.OK) return false
    this.#isVerified = false
    this.#mayBeVerified = false
    this.#counter.told = undefined
    return true
  }

  async #prepare(channel: CardChannel, options: TransmitOptions | undefined): Promise<void> {
    if (this.#isPrepared) return
    await this.#options.prepare?.(channel, options)
    this.#isPrepared = true
  }

  #tellTries(): void {
    if (this.triesLeft !== undefined) this.onTries?.(this.triesLeft)
  }

  #command(p1: 0 | 0xff): NamedCommand {
    return { name: 'VERIFY', cla: 0, ins: 0x20, p1, p2: this.#options.reference() }
  }
}

const withoutVerify: readonly unknown[] = [
  'card/pin-pad-cancelled',
  'card/pin-pad-timeout',
  'card/pin-pad-refused',
]

/** The PIN pad sent nothing to the card. By the code: the reader's driver may have a copy of these classes. */
function isWithoutVerify(error: unknown): boolean {
  return withoutVerify.includes((error as { readonly code?: unknown } | undefined)?.code)
}

/** 63Cx; 6983; and 630x, as PIV cards before SP 800-73-3 tell it (x = 0 is not a count there). */
function triesTold(sw: number): number | undefined {
  if (sw === SW.AUTHENTICATION_BLOCKED) return 0
  const oldCount = (sw & 0xfff0) === 0x6300 && sw !== SW.WARNING ? sw & 0x0f : undefined
  return triesLeftFromStatus(sw) ?? oldCount
}
