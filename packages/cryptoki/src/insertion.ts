/** One card from its insertion to its end: the connection, the token on it, and the login that all sessions share (PKCS#11 v2.40, 5.6 "Session management"). */
import {
  AbortedError,
  type AbortSignalLike,
  type CardConnection,
  CardGoneError,
  MalformedError,
  PinBlockedError,
  StatusError,
  type TransmitOptions,
} from '@webtoki/apdu'
import { type Attributes, matches } from './attributes.ts'
import { CKA, CKR, CKU } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { CkObject, type HandleScope } from './object.ts'
import type { PinSource } from './pin.ts'
import { toCryptokiError } from './rv.ts'
import type { LoginUser, Token, TokenLoginOptions, TokenObject } from './token.ts'

/** What an insertion asks of the sessions that share its token. */
export interface InsertionSession {
  readonly readWrite: boolean
  /** The token is gone, or every session is closed. */
  end(error: CryptokiError): void
  loggedOut(): void
}

/** Which of the fitting objects are wanted. What comes behind the last of them is not read from the card. */
export interface FindOptions {
  /** As many at most. Default: all. */
  readonly max?: number
  /** Only those that follow this one in the token's own order. */
  readonly after?: CkObject | undefined
}

/** Made by a slot when its card is first needed. */
export class Insertion implements HandleScope {
  readonly token: Token
  /** Counts logouts: handles of private objects are good for one stretch between two of them. */
  loginEpoch = 0
  readonly #connection: CardConnection
  readonly #sessions = new Set<InsertionSession>()
  readonly #handles = new Map<TokenObject, CkObject>()
  #user: LoginUser | undefined
  #loggingIn: { readonly user: LoginUser; readonly over: Promise<void> } | undefined
  #ended: CryptokiError | undefined
  #closing: Promise<void> | undefined

  constructor(connection: CardConnection, token: Token, onEnd: (insertion: Insertion) => void) {
    this.#connection = connection
    this.token = token
    void connection.gone.then((why) => {
      this.#end(why)
      onEnd(this)
    })
  }

  /** Why the token can be used no longer; undefined while it can. */
  get ended(): CryptokiError | undefined {
    return this.#ended
  }

  /** Set once the card is being given back: what wants it then waits for that, and finds it as new. */
  get closing(): Promise<void> | undefined {
    return this.#closing
  }

  get user(): LoginUser | undefined {
    return this.#user
  }

  /** False also where the card has lost the login, as by a wrong PIN for one signature, though the standard keeps the state. */
  get isVerified(): boolean {
    return this.#user !== undefined && this.token.mayBeVerified
  }

  get sessions(): ReadonlySet<InsertionSession> {
    return this.#sessions
  }

  enter(session: InsertionSession): void {
    const officer = this.#user === CKU.SO || this.#loggingIn?.user === CKU.SO
    if (officer && !session.readWrite) throw new CryptokiError(CKR.SESSION_READ_WRITE_SO_EXISTS)
    this.#sessions.add(session)
  }

  /** Closing the last session logs out, whoever or whatever made the card count as logged in. */
  async leave(session: InsertionSession): Promise<void> {
    this.#sessions.delete(session)
    if (this.#sessions.size === 0 && this.#mustLogOut) await this.#logout()
  }

  get #mustLogOut(): boolean {
    return this.#ended === undefined && (this.#user !== undefined || this.token.mayBeVerified)
  }

  async login(user: LoginUser, pin: PinSource, options: TokenLoginOptions): Promise<void> {
    if (user !== CKU.USER && user !== CKU.SO) throw new CryptokiError(CKR.USER_TYPE_INVALID)
    if (this.#user === user) throw new CryptokiError(CKR.USER_ALREADY_LOGGED_IN)
    if (this.#user !== undefined) throw new CryptokiError(CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
    if (user === CKU.SO && [...this.#sessions].some((session) => !session.readWrite)) {
      throw new CryptokiError(CKR.SESSION_READ_ONLY_EXISTS)
    }
    // Two prompts at once would end in two VERIFY commands, of which the person meant one.
    if (this.#loggingIn !== undefined) throw new CryptokiError(CKR.OPERATION_ACTIVE)
    let isOver!: () => void
    this.#loggingIn = { user, over: new Promise((resolve) => void (isOver = resolve)) }
    try {
      await this.token.login(user, pin, options)
      // A caller who left meanwhile is nobody's user; what the card made of the PIN is taken back.
      if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
      this.#user = user
    } catch (error) {
      const translated = this.translate(error)
      if (this.#mustLogOut) void this.#logout().catch(() => {})
      throw translated
    } finally {
      this.#loggingIn = undefined
      isOver()
    }
    // The last session may have been closed while the card was verifying.
    if (this.#sessions.size === 0) {
      await this.#logout()
      throw new CryptokiError(CKR.SESSION_CLOSED)
    }
  }

  /** The login that a signature needs: another session's, where one is under way, or one of its own. */
  async loginOnDemand(pin: PinSource, options: TokenLoginOptions): Promise<void> {
    while (!this.isVerified && this.#loggingIn !== undefined)
      await untilAborted(this.#loggingIn.over, options.signal)
    if (this.isVerified) return
    this.#user = undefined
    await this.login(CKU.USER, pin, options)
  }

  async logout(options?: TransmitOptions): Promise<void> {
    if (!this.#mustLogOut) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    await this.#logout(options)
  }

  /** The use of a key failed. A card that said "not logged in" there, or blocked the PIN, has lost the login of all. */
  keyFailed(error: unknown): void {
    const isLost = error instanceof CryptokiError && error.rv === CKR.USER_NOT_LOGGED_IN
    if (isLost || error instanceof PinBlockedError) this.forgetLogin()
  }

  /** The card has lost the login without our doing: another owner was at it. */
  forgetLogin(): void {
    if (this.#user === undefined) return
    this.#user = undefined
    this.loginEpoch++
    for (const object of this.#handles.values()) if (object.isPrivate) this.#forget(object)
    for (const session of this.#sessions) session.loggedOut()
  }

  async #logout(options?: TransmitOptions): Promise<void> {
    this.forgetLogin()
    try {
      await this.token.logout(options)
      // A login that was under way came in before it, and the card has forgotten that one too.
      this.forgetLogin()
    } catch (error) {
      // What cannot be taken back by a command is taken back by cutting the power.
      await this.#connection.close('power-off')
      throw this.translate(error)
    }
  }

  #forget(object: CkObject): void {
    for (const [source, handle] of this.#handles) if (handle === object) this.#handles.delete(source)
  }

  /**
   * Loads only what the known attributes leave open. An object that the card will not give, or gives in pieces, hides
   * none of the others; who asks for one by its CKA_ID is told why it cannot be had.
   */
  async find(
    template: Attributes,
    showPrivate: boolean,
    options: TransmitOptions & FindOptions & { readonly check: () => void },
  ): Promise<readonly CkObject[]> {
    const { max = Infinity, after } = options
    const sources = this.token.objects()
    const begin =
      after === undefined ? 0 : sources.indexOf(after.sourceFor(this, CKR.OBJECT_HANDLE_INVALID)) + 1
    const found: CkObject[] = []
    for (const source of sources.slice(begin)) {
      if (found.length >= max) break
      if (!mayMatch(source.known, template)) continue
      if (source.known[CKA.PRIVATE] === true && !showPrivate) continue
      const attributes = await source.load(options).catch((error: unknown) => {
        const isObjects = error instanceof StatusError || error instanceof MalformedError
        if (!isObjects || template[CKA.ID] !== undefined) throw error
        return undefined
      })
      options.check()
      if (attributes === undefined || !matches(attributes, template)) continue
      found.push(this.#handleOf(source, attributes))
    }
    return found
  }

  #handleOf(source: TokenObject, attributes: Attributes): CkObject {
    const known = this.#handles.get(source)
    if (known !== undefined) return known
    const handle = new CkObject(this, source, attributes)
    this.#handles.set(source, handle)
    return handle
  }

  /** Every error that leaves towards the application passes here. */
  translate(error: unknown): CryptokiError {
    // The token noticed that another card lies there, which its reader did not: that one is left without power.
    if (error instanceof CardGoneError && this.#ended === undefined) {
      this.#end(error)
      void this.close()
    }
    return toCryptokiError(error)
  }

  #end(why: CardGoneError): void {
    if (this.#ended !== undefined) return
    const error = toCryptokiError(why)
    this.#ended = error
    this.#user = undefined
    this.loginEpoch++
    this.#handles.clear()
    this.#endSessions(error)
  }

  #endSessions(error: CryptokiError): void {
    const sessions = [...this.#sessions]
    this.#sessions.clear()
    for (const session of sessions) session.end(error)
  }

  /** Somebody else wants the reader: without a session nobody here needs the card. */
  letGo(): void {
    if (this.#sessions.size === 0) void this.close()
  }

  /** Closes every session, logs out and gives the card back. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#endSessions(new CryptokiError(CKR.SESSION_CLOSED))
    if (this.#mustLogOut) await this.#logout().catch(() => {})
    await this.#connection.close()
  }
}

/** Rejects as soon as the signal aborts. */
function untilAborted(work: Promise<void>, signal: AbortSignalLike | undefined): Promise<void> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new AbortedError({ cause: signal.reason }))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    void work.then(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
  })
}

/** Whether what is known leaves room for the template: attributes not known yet may still fit. */
function mayMatch(known: Attributes, template: Attributes): boolean {
  const asked: Record<number, unknown> = {}
  for (const type of Object.keys(template)) {
    const key = Number(type)
    if ((known as Record<number, unknown>)[key] !== undefined)
      asked[key] = (template as Record<number, unknown>)[key]
  }
  return matches(known, asked as Attributes)
}
