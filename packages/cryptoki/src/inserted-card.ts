/** One card from its insertion to its end: the connection, its tokens, and who is logged in to them (PKCS#11 v2.40, 5.6 "Session management"). */
import {
  type CardConnection,
  CardGoneError,
  isWebtokiError,
  type PinReference,
  type TransmitOptions,
} from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { PadState } from './pin-entry.ts'
import { toCryptokiError } from './rv.ts'
import type { Token } from './token.ts'
import { type ContextCard, type ContextSession, TokenContext } from './token-context.ts'

/** Made when a card is first needed. Several PKCS#11 applications and several tokens share it. */
export class InsertedCard implements ContextCard {
  readonly tokens: readonly Token[]
  readonly pad: PadState
  readonly #connection: CardConnection
  /** One for each token and PKCS#11 application. */
  readonly #contexts = new Map<Token, Map<object, TokenContext>>()
  /** Tokens whose login is to be taken back on the card. */
  readonly #due = new Set<Token>()
  /** A token's login can be taken back only by a reset, which waits until no other token of the card is logged in. */
  #resetDue = false
  #ended: CryptokiError | undefined
  #closing: Promise<void> | undefined

  constructor(connection: CardConnection, tokens: readonly Token[], onEnd: (card: InsertedCard) => void) {
    this.#connection = connection
    this.tokens = tokens
    this.pad = new PadState(connection)
    void connection.gone.then((why) => {
      this.#end(why)
      onEnd(this)
    })
  }

  /** Why the card can be used no longer; undefined while it can. */
  get ended(): CryptokiError | undefined {
    return this.#ended
  }

  /** Set once the card is being given back: what wants it then waits for that, and finds it as new. */
  get closing(): Promise<void> | undefined {
    return this.#closing
  }

  /** The login, handles and sessions that a PKCS#11 application has with a token. */
  contextOf(token: Token, application: object): TokenContext {
    const contexts = this.#contexts.get(token) ?? new Map<object, TokenContext>()
    this.#contexts.set(token, contexts)
    const known = contexts.get(application)
    if (known !== undefined) return known
    const context = new TokenContext(this, token)
    contexts.set(application, context)
    return context
  }

  get #all(): readonly TokenContext[] {
    return [...this.#contexts.values()].flatMap((contexts) => [...contexts.values()])
  }

  /** Whether a token may be read to describe it: nobody waits for the card, and no other token loses its login. */
  mayRead(token: Token): boolean {
    return !this.#all.some(({ holdsCard }) => holdsCard) && !this.#wouldEndALogin(token)
  }

  /** Whether to select this token's application would end the login of another token. */
  #wouldEndALogin(token: Token): boolean {
    const { application } = token.pins.user
    if (application.wasSelectedLast) return false
    return this.tokens.some((each) => each.pins.user.application !== application && this.#isLoggedIn(each))
  }

  /** A token whose login can be taken back only by a reset, and waits for that, is not logged in any more. */
  #isLoggedIn(token: Token): boolean {
    return isVerified(token) && this.#contextsOf(token).some(({ isWanted }) => isWanted)
  }

  #contextsOf(token: Token): readonly TokenContext[] {
    return [...(this.#contexts.get(token)?.values() ?? [])]
  }

  /** Sessions of all applications that are open with the token. */
  sessionsOf(token: Token): readonly ContextSession[] {
    return this.#contextsOf(token).flatMap(({ sessions }) => [...sessions])
  }

  /** Whether another PKCS#11 application is logged in to the token. */
  isWantedByOthers(token: Token, context: TokenContext): boolean {
    return this.#contextsOf(token).some((other) => other !== context && other.isWanted)
  }

  /**
   * Takes the verified state of the token's PINs back on the card. If that would end the login of another token, it waits
   * until that one logs out.
   */
  async takeBack(token: Token, options?: TransmitOptions): Promise<void> {
    this.#due.add(token)
    try {
      for (const each of this.#due) {
        const isWantedAgain = each !== token && this.#isLoggedIn(each)
        if (isWantedAgain || this.#wouldEndALogin(each)) continue
        for (const pin of pinsOf(each)) if (pin.mayBeVerified) await this.#takeBack(each, pin, options)
        this.#due.delete(each)
      }
    } catch (error) {
      // What cannot be taken back by a command is taken back by cutting the power.
      await this.#connection.close()
      throw this.translate(error)
    }
  }

  #takeBack(token: Token, pin: PinReference, options: TransmitOptions | undefined): Promise<void> {
    return pin.application.transaction(async (channel) => {
      if (!(await pin.logout(channel, options))) this.#resetDue = true
      const others = this.tokens.filter((other) => other !== token)
      if (!this.#resetDue || others.some((other) => this.#isLoggedIn(other))) return
      await channel.reset('warm')
      this.#resetDue = false
      for (const each of this.tokens) for (const { application } of pinsOf(each)) application.forget()
    }, options)
  }

  /** Every error that leaves towards the application passes here. */
  translate(error: unknown): CryptokiError {
    // The token noticed that another card lies there, which its reader did not: that one is left without power.
    if (isWebtokiError(error, 'card/gone') && this.#ended === undefined) {
      this.#end(error)
      void this.close()
    }
    return toCryptokiError(error)
  }

  #end(why: CardGoneError): void {
    if (this.#ended !== undefined) return
    const error = toCryptokiError(why)
    this.#ended = error
    for (const context of this.#all) context.end(error)
  }

  /** Somebody else wants the reader: without a session nobody here needs the card. */
  release(): void {
    if (this.#all.every(({ sessions }) => sessions.size === 0)) void this.close()
  }

  /** Closes every session, logs out and gives the card back. Idempotent; never rejects. */
  close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    // Set first: who opens a session on hearing of another's end is to wait for the next connection.
    let isDone!: () => void
    this.#closing = new Promise((resolve) => void (isDone = resolve))
    void this.#close().finally(isDone)
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const context of this.#all) context.endSessions(new CryptokiError(CKR.SESSION_CLOSED))
    if (this.#ended === undefined) {
      for (const context of this.#all) context.forgetLogin()
      // A connection that holds nothing is closed in this very call: another tab waits for it.
      for (const token of this.tokens.filter(isVerified)) await this.takeBack(token).catch(() => {})
    }
    await this.#connection.close()
  }
}

/** Whether the card may count a PIN of the token as verified by our doing. */
export function isVerified(token: Token): boolean {
  return pinsOf(token).some((pin) => pin.mayBeVerified)
}

function pinsOf({ pins }: Token): readonly PinReference[] {
  return pins.so === undefined ? [pins.user] : [pins.user, pins.so]
}
