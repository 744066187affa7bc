/** The sessions, login and handles of one PKCS#11 application with one token (PKCS#11 v2.40, 5.6 "Session management"). */
import {
  AbortedError,
  type AbortSignalLike,
  isWebtokiError,
  type PinReference,
  type TransmitOptions,
} from '@webtoki/apdu'
import { BehaviorSubject } from 'rxjs'
import { type Attributes, matches } from './attributes.ts'
import { CKF } from './ckf.ts'
import { CKA, CKO, CKR, CKU } from './constants.ts'
import { CryptokiError, isCryptokiError } from './errors.ts'
import type { UsableKey } from './key-use.ts'
import { CkObject, type HandleScope, withAccess } from './object.ts'
import type { PinSource } from './pin.ts'
import { type PadState, PinEntry } from './pin-entry.ts'
import type { LoginUser, Token, TokenLoginOptions, TokenObject } from './token.ts'

/** The interface of a session to its context. */
export interface ContextSession {
  readonly readWrite: boolean
  /** Ends the session: the token was removed or all sessions are closed. */
  end(error: CryptokiError): void
  /** True if an active operation of the session uses a private key. */
  readonly usesPrivateKey: boolean
  /** Called after the login has ended. */
  loggedOut(): void
}

/** Options of a search. Objects after the last requested one are not read from the card. */
export interface FindOptions {
  /** The largest number of objects. Default: all. */
  readonly max?: number
  /** Returns only objects after this one in the order of the token. */
  readonly after?: CkObject | undefined
  /** Called with the error of each object that could match but cannot be read. The search continues without it. */
  readonly onUnreadable?: ((error: CryptokiError) => void) | undefined
}

/** The interface of a card to the contexts of its tokens. */
export interface ContextCard {
  /** The error of operations after the card has been removed or closed; undefined as long as it can be used. */
  readonly ended: CryptokiError | undefined
  readonly pad: PadState
  /** Returns whether another PKCS#11 application is logged in to the token or is about to be. */
  isUsedByOthers(token: Token, context: TokenContext): boolean
  /** Resets the PINs of the token to unverified on the card. */
  resetVerification(token: Token, options?: TransmitOptions): Promise<void>
  translate(error: unknown): CryptokiError
}

/** The context of one token and one PKCS#11 application. `InsertedCard` creates it. */
export class TokenContext implements HandleScope {
  readonly token: Token
  /** The number of logouts. Handles of private objects are valid only until the next one. */
  loginEpoch = 0
  /** The user that is logged in. Replays the latest value. */
  readonly user$: BehaviorSubject<LoginUser | undefined> = new BehaviorSubject<LoginUser | undefined>(
    undefined,
  )
  /** True if an operation has verified its PIN and waits for data from its caller, while it holds the card's lock. */
  holdsCard = false
  /** Makes public keys for software. Loaded when the first public key is found. */
  publicKey: ((attributes: Attributes, randomBytes: (bytes: number) => Uint8Array) => UsableKey) | undefined
  readonly #card: ContextCard
  readonly #entries: ReadonlyMap<LoginUser, PinEntry>
  readonly #sessions = new Set<ContextSession>()
  readonly #handles = new Map<TokenObject, CkObject>()
  readonly #sessionObjects = new Map<TokenObject, ContextSession>()
  #pendingLogin: { readonly user: LoginUser; readonly done: Promise<void> } | undefined

  constructor(card: ContextCard, token: Token) {
    this.#card = card
    this.token = token
    const entry = (pin: PinReference): PinEntry => new PinEntry(pin, () => token.label, card.pad)
    const { user, so } = token.pins
    this.#entries = new Map([
      [CKU.USER, entry(user)],
      ...(so === undefined ? [] : [[CKU.SO, entry(so)] as const]),
    ])
  }

  get ended(): CryptokiError | undefined {
    return this.#card.ended
  }

  get user(): LoginUser | undefined {
    return this.user$.value
  }

  /** True if a user is logged in or a login is in progress. The PINs stay verified on the card meanwhile. */
  get hasLogin(): boolean {
    return this.user !== undefined || this.#pendingLogin !== undefined
  }

  /**
   * Returns false also if the card has lost the login, for example after a wrong PIN for a single signature. The standard
   * still considers the session logged in.
   */
  #isVerifiedAs(user: LoginUser): boolean {
    return this.user === user && (this.#entries.get(user)?.pin.mayBeVerified ?? false)
  }

  /** True if private keys can be used without a login: the user is logged in and the card still has the PIN verified. */
  get isVerified(): boolean {
    return this.#isVerifiedAs(CKU.USER)
  }

  get sessions(): ReadonlySet<ContextSession> {
    return this.#sessions
  }

  /** The entry of the user PIN for logins and uses of keys. */
  get userPin(): PinEntry {
    return this.#entries.get(CKU.USER) as PinEntry
  }

  get usesPinPad(): boolean {
    return this.userPin.usesPinPad
  }

  /** True if the token has CKF_WRITE_PROTECTED. */
  get isWriteProtected(): boolean {
    return (this.token.flags & CKF.WRITE_PROTECTED) !== 0
  }

  addSession(session: ContextSession): void {
    const isOfficer = this.user === CKU.SO || this.#pendingLogin?.user === CKU.SO
    if (isOfficer && !session.readWrite) throw new CryptokiError(CKR.SESSION_READ_WRITE_SO_EXISTS)
    if (session.readWrite && this.isWriteProtected) throw new CryptokiError(CKR.TOKEN_WRITE_PROTECTED)
    this.#sessions.add(session)
  }

  /** Removes a session. Without sessions the token is logged out, even if no login but a single use verified the PIN. */
  async removeSession(session: ContextSession): Promise<void> {
    this.#sessions.delete(session)
    for (const [source, owner] of this.#sessionObjects) if (owner === session) this.#destroy(source)
    if (this.#sessions.size === 0 && this.#mustLogOut) await this.#logout()
  }

  get #mustLogOut(): boolean {
    return this.ended === undefined && (this.user !== undefined || this.#hasUnusedVerification)
  }

  /** True if the card may have a PIN verified that no application uses, for example one entered for a single signature. */
  get #hasUnusedVerification(): boolean {
    if (this.#card.isUsedByOthers(this.token, this)) return false
    return [...this.#entries.values()].some(({ pin }) => pin.mayBeVerified)
  }

  /** C_Login. Waits for a login in progress first. Repeats a login that the card has lost. */
  async login(user: LoginUser, pin: PinSource, options: TokenLoginOptions): Promise<void> {
    const entry = this.#entries.get(user)
    if (entry === undefined) throw new CryptokiError(CKR.USER_TYPE_INVALID)
    // Two concurrent requests would send two VERIFY commands, although the person agreed to one.
    if (this.#pendingLogin !== undefined) options.onWait?.('queue')
    while (this.#pendingLogin !== undefined) await untilAborted(this.#pendingLogin.done, options.signal)
    if (this.#isVerifiedAs(user)) throw new CryptokiError(CKR.USER_ALREADY_LOGGED_IN)
    if (this.user !== undefined && this.user !== user)
      throw new CryptokiError(CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
    if (user === CKU.SO && [...this.#sessions].some((session) => !session.readWrite)) {
      throw new CryptokiError(CKR.SESSION_READ_ONLY_EXISTS)
    }
    await this.#login(user, entry, pin, options)
  }

  async #login(
    user: LoginUser,
    entry: PinEntry,
    source: PinSource,
    options: TokenLoginOptions,
  ): Promise<void> {
    let finish!: () => void
    this.#pendingLogin = { user, done: new Promise((resolve) => void (finish = resolve)) }
    try {
      await entry.withPin({ purpose: user === CKU.SO ? 'admin' : 'login', source, options }, async () => {})
      // The caller aborted: the login does not count, and the PIN is reset to unverified below.
      if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
      this.user$.next(user)
    } catch (error) {
      const translated = this.translate(error)
      // An earlier login that the card has lost is not affected.
      if (this.user === undefined && this.#mustLogOut) void this.#logout().catch(() => {})
      throw translated
    } finally {
      this.#pendingLogin = undefined
      finish()
    }
    // The last session may have been closed during the verification.
    if (this.#sessions.size === 0) {
      await this.#logout()
      throw new CryptokiError(CKR.SESSION_CLOSED)
    }
  }

  /** Logs in for the use of a key. Uses a login of another session if one is in progress. */
  async loginOnDemand(pin: PinSource, options: TokenLoginOptions): Promise<void> {
    while (!this.isVerified && this.#pendingLogin !== undefined)
      await untilAborted(this.#pendingLogin.done, options.signal)
    if (this.isVerified) return
    if (this.user === CKU.USER) this.user$.next(undefined)
    await this.login(CKU.USER, pin, options)
  }

  async logout(options?: TransmitOptions): Promise<void> {
    // With logins on demand, a private key may be in use before its PIN has been verified.
    const isUsed = [...this.#sessions].some(({ usesPrivateKey }) => usesPrivateKey)
    if (!isUsed && !this.#mustLogOut) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    await this.#logout(options)
  }

  /** Called after a use of a key failed. A card that reports a missing login or a blocked PIN has lost the login. */
  onKeyError(error: unknown): void {
    const isLost = isCryptokiError(error, CKR.USER_NOT_LOGGED_IN)
    if ((isLost && this.user === CKU.USER && !this.isVerified) || isWebtokiError(error, 'card/pin-blocked'))
      this.forgetLogin()
  }

  /** Ends the login of this application: handles of private objects become invalid, operations with private keys end. */
  forgetLogin(): void {
    this.user$.next(undefined)
    this.loginEpoch++
    for (const [source, handle] of this.#handles) {
      if (!handle.isPrivate) continue
      if (this.#sessionObjects.has(source)) this.#destroy(source)
      else this.#handles.delete(source)
    }
    for (const session of this.#sessions) session.loggedOut()
  }

  async #logout(options?: TransmitOptions): Promise<void> {
    this.forgetLogin()
    if (this.#card.isUsedByOthers(this.token, this)) return
    await this.#card.resetVerification(this.token, options)
    // A login completed before the card was reset, which ended that login too.
    if (this.user !== undefined) this.forgetLogin()
  }

  /** Adds a session object. Its handle is valid until the session that created it is closed (PKCS#11 v2.40, 4.4). */
  create(source: TokenObject, owner: ContextSession): CkObject {
    this.#sessionObjects.set(source, owner)
    return this.#handleOf(source, source.known)
  }

  /** C_DestroyObject of a session object. */
  destroy(object: CkObject): void {
    this.#destroy(object.sourceFor(this, CKR.OBJECT_HANDLE_INVALID))
  }

  #destroy(source: TokenObject): void {
    this.#handles.get(source)?.destroy()
    this.#handles.delete(source)
    this.#sessionObjects.delete(source)
  }

  /**
   * Finds objects. Reads an object only if its known attributes may match, and only when the next result is requested. An
   * object that cannot be read does not hide the others. Its error is thrown if the template contains CKA_ID or if nothing
   * else matches, because an empty result would claim that the card has no such object.
   */
  async *find(
    template: Attributes,
    showPrivate: boolean,
    options: TransmitOptions & Pick<FindOptions, 'after' | 'onUnreadable'>,
  ): AsyncGenerator<CkObject, void, undefined> {
    const { after, onUnreadable } = options
    const sources = [...this.#sessionObjects.keys(), ...this.token.objects()]
    const start =
      after === undefined ? 0 : sources.indexOf(after.sourceFor(this, CKR.OBJECT_HANDLE_INVALID)) + 1
    let hasFound = false
    let failed: { readonly error: unknown } | undefined
    for (const source of sources.slice(start)) {
      let attributes: Attributes | undefined
      try {
        attributes = await this.#matchingAttributes(source, template, showPrivate, options)
      } catch (error) {
        const isObjectError = isWebtokiError(error, 'card/status', 'wire/malformed')
        if (!isObjectError || template[CKA.ID] !== undefined) throw error
        failed ??= { error }
        onUnreadable?.(this.translate(error))
      }
      if (attributes === undefined) continue
      hasFound = true
      yield this.#handleOf(source, attributes)
    }
    if (!hasFound && failed !== undefined) throw failed.error
  }

  /** Returns the attributes of an object, or undefined if it does not match the template. */
  async #matchingAttributes(
    source: TokenObject,
    template: Attributes,
    showPrivate: boolean,
    options: TransmitOptions,
  ): Promise<Attributes | undefined> {
    if (!mayMatch(source.known, template)) return undefined
    await source.access?.read?.(options)
    const known = withAccess(source, source.known)
    if (!mayMatch(known, template) || (known[CKA.PRIVATE] === true && !showPrivate)) return undefined
    const loaded = await source.load(options)
    const attributes = loaded && withAccess(source, loaded)
    if (attributes === undefined || !matches(attributes, template)) return undefined
    // Loaded before the object has a handle, because an Init is synchronous.
    if (attributes[CKA.CLASS] === CKO.PUBLIC_KEY && source.use === undefined)
      this.publicKey ??= (await import('./software/public-key.ts')).publicKey
    return attributes
  }

  #handleOf(source: TokenObject, attributes: Attributes): CkObject {
    const known = this.#handles.get(source)
    if (known !== undefined) return known
    const handle = new CkObject(this, source, attributes)
    this.#handles.set(source, handle)
    return handle
  }

  /** Translates every error that is passed to the application. */
  translate(error: unknown): CryptokiError {
    return this.#card.translate(error)
  }

  /** Called after the card has been removed or its connection closed. */
  end(error: CryptokiError): void {
    this.user$.next(undefined)
    this.loginEpoch++
    this.endSessions(error)
    this.#handles.clear()
  }

  endSessions(error: CryptokiError): void {
    const sessions = [...this.#sessions]
    this.#sessions.clear()
    for (const session of sessions) {
      for (const [source, owner] of this.#sessionObjects) if (owner === session) this.#destroy(source)
      session.end(error)
    }
  }

  /** Closes the sessions of this application. Those of other applications and the connection stay open. */
  async closeAll(): Promise<void> {
    this.endSessions(new CryptokiError(CKR.SESSION_CLOSED))
    if (this.#mustLogOut) await this.#logout().catch(() => {})
  }
}

/** Waits for `work`. Rejects as soon as the signal aborts. */
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

/** Returns whether the known attributes do not contradict the template. */
function mayMatch(known: Attributes, template: Attributes): boolean {
  const comparable: Record<number, unknown> = {}
  for (const type of Object.keys(template)) {
    const key = Number(type)
    if ((known as Record<number, unknown>)[key] !== undefined)
      comparable[key] = (template as Record<number, unknown>)[key]
  }
  return matches(known, comparable as Attributes)
}
