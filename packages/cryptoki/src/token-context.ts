/** What one PKCS#11 application has with one token: its sessions, its login, and the handles of its objects (PKCS#11 v2.40, 5.6 "Session management"). */
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

/** What a context asks of the sessions in it. */
export interface ContextSession {
  readonly readWrite: boolean
  /** The token is gone, or every session is closed. */
  end(error: CryptokiError): void
  /** An operation of it holds a private key. */
  readonly usesPrivateKey: boolean
  loggedOut(): void
}

/** Which of the fitting objects are wanted. What follows the last of them is not read from the card. */
export interface FindOptions {
  /** As many at most. Default: all. */
  readonly max?: number
  /** Only those that follow this one in the token's own order. */
  readonly after?: CkObject | undefined
  /** Told why an object that might fit could not be read, each time that the search goes on without one. */
  readonly onUnreadable?: ((error: CryptokiError) => void) | undefined
}

/** What a context asks of the card that its token is on. */
export interface ContextCard {
  /** Why the card can be used no longer; undefined while it can. */
  readonly ended: CryptokiError | undefined
  readonly pad: PadState
  /** Whether another PKCS#11 application is logged in to the token. */
  isWantedByOthers(token: Token, context: TokenContext): boolean
  /** Takes the verified state of the token's PINs back on the card. */
  takeBack(token: Token, options?: TransmitOptions): Promise<void>
  translate(error: unknown): CryptokiError
}

/** Made by a card, one for each token and PKCS#11 application. */
export class TokenContext implements HandleScope {
  readonly token: Token
  /** Counts logouts: handles of private objects are good between two of them. */
  loginEpoch = 0
  /** Who is logged in; replays the latest. */
  readonly user$: BehaviorSubject<LoginUser | undefined> = new BehaviorSubject<LoginUser | undefined>(
    undefined,
  )
  /** An operation has its PIN and not yet its data: the card's lock is held for as long as its caller likes. */
  holdsCard = false
  /** Uses of public keys in software; there once a public key was found. */
  publicKey: ((attributes: Attributes, randomBytes: (bytes: number) => Uint8Array) => UsableKey) | undefined
  readonly #card: ContextCard
  readonly #entries: ReadonlyMap<LoginUser, PinEntry>
  readonly #sessions = new Set<ContextSession>()
  readonly #handles = new Map<TokenObject, CkObject>()
  readonly #sessionObjects = new Map<TokenObject, ContextSession>()
  #loggingIn: { readonly user: LoginUser; readonly over: Promise<void> } | undefined

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

  /** Logged in, or about to be: the card's state is not taken back meanwhile. */
  get isWanted(): boolean {
    return this.user !== undefined || this.#loggingIn !== undefined
  }

  /** False also if the card has lost the login, as by a wrong PIN for one signature, though the standard keeps the state. */
  #isVerifiedAs(user: LoginUser): boolean {
    return this.user === user && (this.#entries.get(user)?.pin.mayBeVerified ?? false)
  }

  /** Whether private keys can be used without a login: the user is logged in, and the card knows it. */
  get isVerified(): boolean {
    return this.#isVerifiedAs(CKU.USER)
  }

  get sessions(): ReadonlySet<ContextSession> {
    return this.#sessions
  }

  /** The user's PIN, as logins and uses of keys ask for it. */
  get userPin(): PinEntry {
    return this.#entries.get(CKU.USER) as PinEntry
  }

  get usesPinPad(): boolean {
    return this.userPin.usesPinPad
  }

  /** CKF_WRITE_PROTECTED. */
  get isWriteProtected(): boolean {
    return (this.token.flags & CKF.WRITE_PROTECTED) !== 0
  }

  enter(session: ContextSession): void {
    const officer = this.user === CKU.SO || this.#loggingIn?.user === CKU.SO
    if (officer && !session.readWrite) throw new CryptokiError(CKR.SESSION_READ_WRITE_SO_EXISTS)
    if (session.readWrite && this.isWriteProtected) throw new CryptokiError(CKR.TOKEN_WRITE_PROTECTED)
    this.#sessions.add(session)
  }

  /** Closing the last session logs out, whoever or whatever made the card count as logged in. */
  async leave(session: ContextSession): Promise<void> {
    this.#sessions.delete(session)
    for (const [source, owner] of this.#sessionObjects) if (owner === session) this.#destroy(source)
    if (this.#sessions.size === 0 && this.#mustLogOut) await this.#logout()
  }

  get #mustLogOut(): boolean {
    return this.ended === undefined && (this.user !== undefined || this.#mayBeVerifiedForUs)
  }

  /** A PIN that was given for one signature is nobody's login; the last application that is logged in keeps it. */
  get #mayBeVerifiedForUs(): boolean {
    if (this.#card.isWantedByOthers(this.token, this)) return false
    return [...this.#entries.values()].some(({ pin }) => pin.mayBeVerified)
  }

  /** Waits for another login that is under way; then its own. A login that the card has lost is made again. */
  async login(user: LoginUser, pin: PinSource, options: TokenLoginOptions): Promise<void> {
    const entry = this.#entries.get(user)
    if (entry === undefined) throw new CryptokiError(CKR.USER_TYPE_INVALID)
    // Two requests at once would end in two VERIFY commands, of which the person meant one.
    if (this.#loggingIn !== undefined) options.onWait?.('queue')
    while (this.#loggingIn !== undefined) await untilAborted(this.#loggingIn.over, options.signal)
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
    let isOver!: () => void
    this.#loggingIn = { user, over: new Promise((resolve) => void (isOver = resolve)) }
    try {
      await entry.verified({ purpose: user === CKU.SO ? 'admin' : 'login', source, options }, async () => {})
      // A caller who left meanwhile is nobody's user; what the card made of the PIN is taken back.
      if (options.signal?.aborted) throw new AbortedError({ cause: options.signal.reason })
      this.user$.next(user)
    } catch (error) {
      const translated = this.translate(error)
      // A login that was there before, and which the card has lost, stays lost.
      if (this.user === undefined && this.#mustLogOut) void this.#logout().catch(() => {})
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

  /** The login that a use of a key needs: another session's, if one is under way, or one of its own. */
  async loginOnDemand(pin: PinSource, options: TokenLoginOptions): Promise<void> {
    while (!this.isVerified && this.#loggingIn !== undefined)
      await untilAborted(this.#loggingIn.over, options.signal)
    if (this.isVerified) return
    if (this.user === CKU.USER) this.user$.next(undefined)
    await this.login(CKU.USER, pin, options)
  }

  async logout(options?: TransmitOptions): Promise<void> {
    // With logins on demand a private key may be in use whose PIN the card has not got yet.
    const isUsed = [...this.#sessions].some(({ usesPrivateKey }) => usesPrivateKey)
    if (!isUsed && !this.#mustLogOut) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    await this.#logout(options)
  }

  /** The use of a key failed. A card that said "not logged in" there, or blocked the PIN, has lost the login of all. */
  keyFailed(error: unknown): void {
    const isLost = isCryptokiError(error, CKR.USER_NOT_LOGGED_IN)
    if ((isLost && this.user === CKU.USER && !this.isVerified) || isWebtokiError(error, 'card/pin-blocked'))
      this.forgetLogin()
  }

  /** Ends the login of this application: handles of private objects are void, and what holds a private key ends. */
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
    if (this.#card.isWantedByOthers(this.token, this)) return
    await this.#card.takeBack(this.token, options)
    // A login that was under way came in before it, and the card has forgotten that one too.
    if (this.user !== undefined) this.forgetLogin()
  }

  /** A session object: its handle is good until the session that made it is closed (PKCS#11 v2.40, 4.4). */
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
   * Loads only what the known attributes leave open, one object after the other as they are asked for. An object that the
   * card will not give, or gives in pieces, hides none of the others. Throws why it cannot be had if it is asked for by its
   * CKA_ID, or if nothing else fits: that the card has none would not be true.
   */
  async *find(
    template: Attributes,
    showPrivate: boolean,
    options: TransmitOptions & Pick<FindOptions, 'after' | 'onUnreadable'>,
  ): AsyncGenerator<CkObject, void, undefined> {
    const { after, onUnreadable } = options
    const sources = [...this.#sessionObjects.keys(), ...this.token.objects()]
    const begin =
      after === undefined ? 0 : sources.indexOf(after.sourceFor(this, CKR.OBJECT_HANDLE_INVALID)) + 1
    let hasFound = false
    let failed: { readonly error: unknown } | undefined
    for (const source of sources.slice(begin)) {
      let attributes: Attributes | undefined
      try {
        attributes = await this.#fitting(source, template, showPrivate, options)
      } catch (error) {
        const isObjects = isWebtokiError(error, 'card/status', 'wire/malformed')
        if (!isObjects || template[CKA.ID] !== undefined) throw error
        failed ??= { error }
        onUnreadable?.(this.translate(error))
      }
      if (attributes === undefined) continue
      hasFound = true
      yield this.#handleOf(source, attributes)
    }
    if (!hasFound && failed !== undefined) throw failed.error
  }

  /** The attributes of an object that fits; undefined: it does not. */
  async #fitting(
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
    // Before its handle is given out, because an Init waits for nothing.
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

  /** Every error that leaves towards the application passes here. */
  translate(error: unknown): CryptokiError {
    return this.#card.translate(error)
  }

  /** The card has gone. */
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

  /** The sessions of this application are closed; others keep theirs, and the card. */
  async closeAll(): Promise<void> {
    this.endSessions(new CryptokiError(CKR.SESSION_CLOSED))
    if (this.#mustLogOut) await this.#logout().catch(() => {})
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
