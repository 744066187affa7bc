/** A slot as PKCS#11 has it: a place for one token (PKCS#11 v2.40, 5.5). A reader's place for a card has a slot for each token of the card. */
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

/** What `Slot.openSession` takes. */
export interface SessionOptions {
  /** CKF_RW_SESSION. Default: read-only. */
  readonly readWrite?: boolean
  /** Asked if a login or a signature needs a PIN and was given no source of its own. */
  readonly pin?: PinSource
  /**
   * Any object that stands for a PKCS#11 application: sessions with the same object share a login, its handles and its
   * session objects, and no others do. Default: one for the library.
   */
  readonly application?: object
}

/** What every slot of one library shares. */
export interface SlotSettings {
  readonly drivers: readonly TokenDriver[]
  readonly policyFor: (token: Token) => SessionPolicy
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly now: () => number
  /** True once the library is closed. */
  readonly isClosed: () => boolean
}

/** The application of sessions that name none. */
const defaultApplication = {}

/** A place for a card, and the card that lies there; the slots of its tokens share it. */
export class CardPlace {
  readonly card: CardSlot
  readonly settings: SlotSettings
  /** The first slot is always there; further ones stay, empty, until the reader leaves. Replays the latest. */
  readonly slots$: BehaviorSubject<readonly Slot[]>
  /** Tokens of the card that lies there, as far as they are known. */
  readonly tokens$: BehaviorSubject<readonly Token[]> = new BehaviorSubject<readonly Token[]>([])
  #inserted: InsertedCard | undefined
  #opening: Promise<InsertedCard> | undefined

  constructor(card: CardSlot, settings: SlotSettings) {
    this.card = card
    this.settings = settings
    this.slots$ = new BehaviorSubject<readonly Slot[]>([new Slot(this, 0)])
  }

  /** Closes every session of every application, and the card's power goes off; the next session finds the card as new. */
  async close(): Promise<void> {
    // Begun in this very call if it can be: a session that is opened right after it is not among the closed.
    if (this.#opening !== undefined) await this.#opening.catch(() => {})
    await this.#inserted?.close()
  }

  /** The card, if it is connected. */
  get inserted(): InsertedCard | undefined {
    return this.#inserted
  }

  /** The reader has left, or the library is closed. */
  end(): void {
    this.slots$.complete()
    this.tokens$.complete()
  }

  /** The card; two callers at once share one connection. */
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
      // What only a card needs is loaded when the first one is connected.
      const { InsertedCard } = await import('./card-side.ts')
      const connection = await this.card.connect({ onReleaseRequested: () => this.#inserted?.release() })
      const tokens = await this.#tokensOn(connection).catch(async (error: unknown) => {
        await connection.close()
        throw error
      })
      if (tokens.length > 0)
        return this.#insert(new InsertedCard(connection, tokens, (ended) => this.#left(ended)))
      const { unrecognized } = await import('./card-families.ts')
      throw await unrecognized(connection, this.settings.drivers)
    } catch (error) {
      throw await slotError(error)
    }
  }

  /** An application that answers nonsense hides none of the others; alone, it is told what is wrong with it. */
  async #tokensOn(connection: CardConnection): Promise<readonly Token[]> {
    let tokens: readonly Token[] = []
    let failed: { readonly error: unknown } | undefined
    // The last first: what the first driver selected is what is used most, and stays selected.
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

  #insert(inserted: InsertedCard): InsertedCard {
    this.#inserted = inserted
    const { tokens } = inserted
    const slots = this.slots$.value
    const more = tokens.slice(slots.length).map((_, at) => new Slot(this, slots.length + at))
    this.tokens$.next(tokens)
    if (more.length > 0) this.slots$.next([...slots, ...more])
    return inserted
  }

  #left(ended: InsertedCard): void {
    if (this.#inserted !== ended) return
    this.#inserted = undefined
    this.tokens$.next([])
  }
}

/** Made by `Cryptoki`. The first slot of a reader is there always, further ones when a card with several tokens was seen. */
export class Slot {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
  /** Hot; replays the latest; completes when the reader leaves. A further slot is 'empty' until its token is known. */
  readonly presence$: Observable<Presence>
  readonly #place: CardPlace
  readonly #index: number

  constructor(place: CardPlace, index: number) {
    const { card } = place
    this.#place = place
    this.#index = index
    this.id = index === 0 ? card.id : `${card.id}/${index + 1}`
    this.name = index === 0 ? card.name : `${card.name}, token ${index + 1}`
    this.kind = card.kind
    this.presence$ =
      index === 0
        ? card.presence$
        : combineLatest([card.presence$, place.tokens$]).pipe(
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
        dual: this.#place.settings.policyFor(token).dualOperations,
        sessions: card.sessionsOf(token),
      })
    } catch (error) {
      throw await slotError(error)
    }
  }

  /** C_GetMechanismList and C_GetMechanismInfo in one: CKM_* to what the token can do with it. A copy. */
  async mechanisms(): Promise<ReadonlyMap<number, MechanismInfo>> {
    const { token } = await this.#open()
    const { capabilities } = await import('./card-side.ts')
    const { mechanismsOf } = await capabilities()
    return new Map([...mechanismsOf(token)].map(([type, info]) => [type, sealed(info)]))
  }

  /**
   * C_OpenSession: powers the card and selects its application if that has not been done. Rejects as `tokenInfo` does, and
   * with CKR_TOKEN_WRITE_PROTECTED for a read/write session on a token that cannot be written.
   */
  async openSession(options: SessionOptions = {}): Promise<Session> {
    const { Session } = await import('./card-side.ts')
    let open = await this.#open()
    // Its sessions were closed meanwhile: this one is not among them.
    while (open.card.closing !== undefined) open = await this.#open()
    const { card, token } = open
    if (card.ended !== undefined) throw await slotError(card.ended.cause)
    const { application = defaultApplication, readWrite = false, pin } = options
    const { policyFor, randomBytes, now, isClosed } = this.#place.settings
    return new Session({
      context: card.contextOf(token, application),
      readWrite: readWrite === true,
      policy: policyFor(token),
      pin,
      randomBytes,
      now,
      isClosed,
      slotId: this.id,
      reader: this.#place.card.name,
    })
  }

  /**
   * C_CloseAllSessions. Without an application: those of all, and the card's power goes off, so that the next session finds
   * the card as new. With one: its own sessions on this token, and its login.
   */
  async closeAllSessions(options: Pick<SessionOptions, 'application'> = {}): Promise<void> {
    const { application } = options
    if (application === undefined) return this.#place.close()
    const card = this.#place.inserted
    const token = card?.tokens[this.#index]
    if (token !== undefined) await card?.contextOf(token, application).closeAll()
  }

  async #open(): Promise<{ readonly card: InsertedCard; readonly token: Token }> {
    const card = await this.#place.open()
    const token = card.tokens[this.#index]
    if (token === undefined) throw new CryptokiError(CKR.TOKEN_NOT_PRESENT)
    return { card, token }
  }
}

/** Slots are on every page, and most never fail: the table of errors is loaded with a card, or by the first slot that fails. */
async function slotError(error: unknown): Promise<CryptokiError> {
  try {
    const { toCryptokiError } = await import('./card-side.ts')
    return toCryptokiError(error, 'slot')
  } catch {
    return new CryptokiError(CKR.FUNCTION_FAILED, { cause: error })
  }
}
