/**
 * Slots (PKCS#11 v2.40, 5.5). A PKCS#11 slot holds one token, so a physical slot of a reader has one PKCS#11 slot for each
 * token of its card.
 */
import { type CardConnection, type CardSlot, isWebtokiError, type Presence, sealed } from '@webtoki/apdu'
import { BehaviorSubject, combineLatest, distinctUntilChanged, map, type Observable } from 'rxjs'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { InsertedCard } from './inserted-card.ts'
import type { MechanismInfo } from './mechanisms.ts'
import type { PinSource } from './pin.ts'
import type { Session } from './session.ts'
import type { SessionPolicy } from './session-options.ts'
import type { Token, TokenDriver, TokenInfo } from './token.ts'

/** Options of `Slot.openSession`. */
export interface SessionOptions {
  /** CKF_RW_SESSION. Default: read-only. */
  readonly readWrite?: boolean
  /** Called for a PIN if the login or the use of a key was not given a source of its own. */
  readonly pin?: PinSource
  /**
   * Any object that identifies a PKCS#11 application. Only sessions with the same object share the login, handles and
   * session objects. Default: one application for the library.
   */
  readonly application?: object
}

/** The settings that all slots of a library share. */
export interface SlotSettings {
  readonly drivers: readonly TokenDriver[]
  readonly policyFor: (token: Token) => SessionPolicy
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly now: () => number
  /** Returns true after the library has been closed. */
  readonly isClosed: () => boolean
}

/** The application of sessions that do not specify one. */
const defaultApplication = {}

/** A physical slot of a reader with the card in it. The PKCS#11 slots of the card's tokens share it. */
export class PhysicalSlot {
  readonly card: CardSlot
  readonly settings: SlotSettings
  /** Replays the latest list. The first slot always exists; additional ones stay until the reader is removed. */
  readonly slots$: BehaviorSubject<readonly Slot[]>
  /** The tokens of the inserted card; empty until the card has been connected. */
  readonly tokens$: BehaviorSubject<readonly Token[]> = new BehaviorSubject<readonly Token[]>([])
  #inserted: InsertedCard | undefined
  #opening: Promise<InsertedCard> | undefined

  constructor(card: CardSlot, settings: SlotSettings) {
    this.card = card
    this.settings = settings
    this.slots$ = new BehaviorSubject<readonly Slot[]>([new Slot(this, 0)])
  }

  /** Closes all sessions of all applications and powers the card off. The next session connects to it again. */
  async close(): Promise<void> {
    // Starts in the same task if possible, so that a session opened right after this call is not closed.
    if (this.#opening !== undefined) await this.#opening.catch(() => {})
    await this.#inserted?.close()
  }

  /** The connected card, or undefined if there is none. */
  get inserted(): InsertedCard | undefined {
    return this.#inserted
  }

  /** Called when the reader has been removed or the library has been closed. */
  end(): void {
    this.slots$.complete()
    this.tokens$.complete()
  }

  /** Connects to the card. Concurrent calls share one connection. */
  async open(): Promise<InsertedCard> {
    if (this.settings.isClosed()) throw new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
    const closing = this.#inserted?.closing
    if (this.#inserted !== undefined && closing === undefined) return this.#inserted
    this.#opening ??= this.#connect(closing).finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #connect(before: Promise<void> | undefined): Promise<InsertedCard> {
    try {
      await before
      // Loaded with the first card, because pages without a card do not need it.
      const { InsertedCard } = await import('./card-side.ts')
      const connection = await this.card.connect({ onReleaseRequested: () => this.#inserted?.release() })
      const tokens = await this.#openTokens(connection).catch(async (error: unknown) => {
        await connection.close()
        throw error
      })
      if (tokens.length > 0)
        return this.#setCard(new InsertedCard(connection, tokens, (ended) => this.#onCardEnd(ended)))
      const { unrecognized } = await import('./card-families.ts')
      throw await unrecognized(connection, this.settings.drivers)
    } catch (error) {
      throw await slotError(error)
    }
  }

  /**
   * Opens the tokens of all drivers. An application that fails does not hide the others; its error is thrown only if there
   * are no tokens at all.
   */
  async #openTokens(connection: CardConnection): Promise<readonly Token[]> {
    let tokens: readonly Token[] = []
    let failed: { readonly error: unknown } | undefined
    // In reverse order, so that the application of the first driver, which is used most, stays selected.
    for (const driver of [...this.settings.drivers].reverse()) {
      try {
        tokens = [...(await driver.open(connection)), ...tokens]
      } catch (error) {
        if (!isWebtokiError(error, 'card/status', 'wire/malformed')) throw error
        failed ??= { error }
      }
    }
    if (tokens.length === 0 && failed !== undefined) throw failed.error
    return tokens
  }

  #setCard(inserted: InsertedCard): InsertedCard {
    this.#inserted = inserted
    const { tokens } = inserted
    const slots = this.slots$.value
    const added = tokens.slice(slots.length).map((_, at) => new Slot(this, slots.length + at))
    this.tokens$.next(tokens)
    if (added.length > 0) this.slots$.next([...slots, ...added])
    return inserted
  }

  #onCardEnd(ended: InsertedCard): void {
    if (this.#inserted !== ended) return
    this.#inserted = undefined
    this.tokens$.next([])
  }
}

/**
 * A PKCS#11 slot. `Cryptoki.slots$` provides them: one for each physical slot of a reader, and additional ones after a card
 * with several tokens has been connected.
 */
export class Slot {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
  /**
   * Hot; replays the latest value; completes when the reader is removed. An additional slot is 'empty' until its token is
   * known.
   */
  readonly presence$: Observable<Presence>
  readonly #physicalSlot: PhysicalSlot
  readonly #index: number

  constructor(physicalSlot: PhysicalSlot, index: number) {
    const { card } = physicalSlot
    this.#physicalSlot = physicalSlot
    this.#index = index
    this.id = index === 0 ? card.id : `${card.id}/${index + 1}`
    this.name = index === 0 ? card.name : `${card.name}, token ${index + 1}`
    this.kind = card.kind
    this.presence$ =
      index === 0
        ? card.presence$
        : combineLatest([card.presence$, physicalSlot.tokens$]).pipe(
            map(([presence, tokens]): Presence => (index < tokens.length ? presence : 'empty')),
            distinctUntilChanged(),
          )
  }

  /** C_GetTokenInfo. Rejects with CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED or CKR_DEVICE_ERROR. */
  async tokenInfo(): Promise<TokenInfo> {
    const { card, token } = await this.#open()
    const { capabilities } = await import('./card-side.ts')
    const { tokenInfoOf } = await capabilities()
    try {
      const { user } = token.pins
      const description = await token.describe({ mayRead: card.mayRead(token) })
      const usesPinPad = card.pad.isUsable && user.format.padTemplate !== undefined
      return tokenInfoOf(token, description, {
        usesPinPad,
        dual: this.#physicalSlot.settings.policyFor(token).dualOperations,
        sessions: card.sessionsOf(token),
      })
    } catch (error) {
      throw await slotError(error)
    }
  }

  /** C_GetMechanismList and C_GetMechanismInfo: returns a new map from CKM_* to the information about each mechanism. */
  async mechanisms(): Promise<ReadonlyMap<number, MechanismInfo>> {
    const { token } = await this.#open()
    const { capabilities } = await import('./card-side.ts')
    const { mechanismsOf } = await capabilities()
    return new Map([...mechanismsOf(token)].map(([type, info]) => [type, sealed(info)]))
  }

  /**
   * C_OpenSession. Connects to the card if necessary. Rejects with the errors of `tokenInfo`, and with
   * CKR_TOKEN_WRITE_PROTECTED for a read/write session on a write-protected token.
   */
  async openSession(options: SessionOptions = {}): Promise<Session> {
    const { Session } = await import('./card-side.ts')
    let open = await this.#open()
    // The card is being closed: the session belongs to the next connection.
    while (open.card.closing !== undefined) open = await this.#open()
    const { card, token } = open
    if (card.ended !== undefined) throw await slotError(card.ended.cause)
    const { application = defaultApplication, readWrite = false, pin } = options
    const { policyFor, randomBytes, now, isClosed } = this.#physicalSlot.settings
    return new Session({
      context: card.contextOf(token, application),
      readWrite: readWrite === true,
      policy: policyFor(token),
      pin,
      randomBytes,
      now,
      isClosed,
      slotId: this.id,
      reader: this.#physicalSlot.card.name,
    })
  }

  /**
   * C_CloseAllSessions. With an application: closes its sessions on this token and ends its login. Without one: closes the
   * sessions of all applications on all tokens of the card and powers the card off.
   */
  async closeAllSessions(options: Pick<SessionOptions, 'application'> = {}): Promise<void> {
    const { application } = options
    if (application === undefined) return this.#physicalSlot.close()
    const card = this.#physicalSlot.inserted
    const token = card?.tokens[this.#index]
    if (token !== undefined) await card?.contextOf(token, application).closeAll()
  }

  async #open(): Promise<{ readonly card: InsertedCard; readonly token: Token }> {
    const card = await this.#physicalSlot.open()
    const token = card.tokens[this.#index]
    if (token === undefined) throw new CryptokiError(CKR.TOKEN_NOT_PRESENT)
    return { card, token }
  }
}

/** Translates an error. The error table is loaded on first use, because every page has slots and most of them never fail. */
async function slotError(error: unknown): Promise<CryptokiError> {
  try {
    const { toCryptokiError } = await import('./card-side.ts')
    return toCryptokiError(error, 'slot')
  } catch {
    return new CryptokiError(CKR.FUNCTION_FAILED, { cause: error })
  }
}
