/** A connected card: its connection, tokens, and the logins of all applications (PKCS#11 v2.40, 5.6 "Session management"). */
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

/** A connected card. It is created when a card is first used; all its tokens and all PKCS#11 applications share it. */
export class InsertedCard implements ContextCard {
  readonly tokens: readonly Token[]
  readonly pad: PadState
  readonly #connection: CardConnection
  /** One context for each token and PKCS#11 application. */
  readonly #contexts = new Map<Token, Map<object, TokenContext>>()
  /** Tokens whose PINs are still to be reset to unverified on the card. */
  readonly #pendingResets = new Set<Token>()
  /** True if only a card reset can end a verification. The reset waits until no other token of the card is logged in. */
  #needsCardReset = false
  #ended: CryptokiError | undefined
  #closing: Promise<void> | undefined

  constructor(connection: CardConnection, tokens: readonly Token[], onEnd: (card: InsertedCard) => void) {
    this.#connection = connection
    this.tokens = tokens
    this.pad = new PadState(connection)
    void connection.gone.then((reason) => {
      this.#end(reason)
      onEnd(this)
    })
  }

  /** The error of operations after the card has been removed or closed; undefined as long as it can be used. */
  get ended(): CryptokiError | undefined {
    return this.#ended
  }

  /** Set after `close` has been called. New sessions wait for it and then connect again. */
  get closing(): Promise<void> | undefined {
    return this.#closing
  }

  /** Returns the login, handles and sessions of a PKCS#11 application with a token. */
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

  /** Returns whether a description may read from the token: the card is not held, and no other token loses its login. */
  mayRead(token: Token): boolean {
    return !this.#all.some(({ holdsCard }) => holdsCard) && !this.#wouldEndOtherLogin(token)
  }

  /** Returns whether selecting the application of this token would end the login of another token. */
  #wouldEndOtherLogin(token: Token): boolean {
    const { application } = token.pins.user
    if (application.wasSelectedLast) return false
    return this.tokens.some((each) => each.pins.user.application !== application && this.#isLoggedIn(each))
  }

  /** A token that only waits for the reset which ends its verification does not count as logged in. */
  #isLoggedIn(token: Token): boolean {
    return isVerified(token) && this.#contextsOf(token).some(({ hasLogin }) => hasLogin)
  }

  #contextsOf(token: Token): readonly TokenContext[] {
    return [...(this.#contexts.get(token)?.values() ?? [])]
  }

  /** Returns the sessions that all applications have open with the token. */
  sessionsOf(token: Token): readonly ContextSession[] {
    return this.#contextsOf(token).flatMap(({ sessions }) => [...sessions])
  }

  /** Returns whether another PKCS#11 application is logged in to the token or is about to be. */
  isUsedByOthers(token: Token, context: TokenContext): boolean {
    return this.#contextsOf(token).some((other) => other !== context && other.hasLogin)
  }

  /**
   * Resets the PINs of the token to unverified on the card. If that would end the login of another token, it is postponed
   * until that token logs out.
   */
  async resetVerification(token: Token, options?: TransmitOptions): Promise<void> {
    this.#pendingResets.add(token)
    try {
      for (const each of this.#pendingResets) {
        const hasNewLogin = each !== token && this.#isLoggedIn(each)
        if (hasNewLogin || this.#wouldEndOtherLogin(each)) continue
        for (const pin of pinsOf(each)) if (pin.mayBeVerified) await this.#resetPin(each, pin, options)
        this.#pendingResets.delete(each)
      }
    } catch (error) {
      // The commands failed: powering the card off also ends the verification.
      await this.#connection.close()
      throw this.translate(error)
    }
  }

  #resetPin(token: Token, pin: PinReference, options: TransmitOptions | undefined): Promise<void> {
    return pin.application.transaction(async (channel) => {
      if (!(await pin.logout(channel, options))) this.#needsCardReset = true
      const others = this.tokens.filter((other) => other !== token)
      if (!this.#needsCardReset || others.some((other) => this.#isLoggedIn(other))) return
      await channel.reset('warm')
      this.#needsCardReset = false
      for (const each of this.tokens) for (const { application } of pinsOf(each)) application.forget()
    }, options)
  }

  /** Translates every error that is passed to the application. */
  translate(error: unknown): CryptokiError {
    // The token noticed a card change that the reader did not report. The new card must not stay powered.
    if (isWebtokiError(error, 'card/gone') && this.#ended === undefined) {
      this.#end(error)
      void this.close()
    }
    return toCryptokiError(error)
  }

  #end(reason: CardGoneError): void {
    if (this.#ended !== undefined) return
    const error = toCryptokiError(reason)
    this.#ended = error
    for (const context of this.#all) context.end(error)
  }

  /** Called when other code requests the reader. Closes the card if it has no sessions. */
  release(): void {
    if (this.#all.every(({ sessions }) => sessions.size === 0)) void this.close()
  }

  /** Closes all sessions, logs out and closes the connection. Idempotent; never rejects. */
  close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    // Set before the sessions end: code that opens a session in response must wait for the next connection.
    let done!: () => void
    this.#closing = new Promise((resolve) => void (done = resolve))
    void this.#close().finally(done)
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const context of this.#all) context.endSessions(new CryptokiError(CKR.SESSION_CLOSED))
    if (this.#ended === undefined) {
      for (const context of this.#all) context.forgetLogin()
      // Without a verified PIN the connection is closed in the same task, because another tab may wait for the reader.
      for (const token of this.tokens.filter(isVerified)) await this.resetVerification(token).catch(() => {})
    }
    await this.#connection.close()
  }
}

/** Returns whether a PIN of the token may be verified on the card. */
export function isVerified(token: Token): boolean {
  return pinsOf(token).some((pin) => pin.mayBeVerified)
}

function pinsOf({ pins }: Token): readonly PinReference[] {
  return pins.so === undefined ? [pins.user] : [pins.user, pins.so]
}
