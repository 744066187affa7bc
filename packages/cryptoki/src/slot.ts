/** A slot as PKCS#11 has it: a place for a card, and the token on the card that lies there (PKCS#11 v2.40, 5.5). */
import { type CardSlot, NotSupportedError, type Presence, sealed } from '@webtoki/apdu'
import type { Observable } from 'rxjs'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { Insertion } from './insertion.ts'
import type { MechanismInfo } from './mechanisms.ts'
import type { PinSource } from './pin.ts'
import { toCryptokiError } from './rv.ts'
import { Session, type SessionPolicy } from './session.ts'
import type { TokenDriver, TokenInfo } from './token.ts'

/** What `Slot.openSession` takes. */
export interface SessionOptions {
  /** CKF_RW_SESSION. Default: read-only. */
  readonly readWrite?: boolean
  /** Asked where a login or a signature needs a PIN and was given no source of its own. */
  readonly pin?: PinSource
}

/** What every slot of one library shares. */
export interface SlotSettings {
  readonly drivers: readonly TokenDriver[]
  readonly policy: SessionPolicy
  readonly randomBytes: (bytes: number) => Uint8Array
}

/** Made by `Cryptoki`, one for each slot of its sources. */
export class Slot {
  readonly id: string
  readonly name: string
  readonly kind: CardSlot['kind']
  /** Hot; replays the latest; completes when the reader leaves. */
  readonly presence$: Observable<Presence>
  readonly #card: CardSlot
  readonly #settings: SlotSettings
  #insertion: Insertion | undefined
  #opening: Promise<Insertion> | undefined

  constructor(card: CardSlot, settings: SlotSettings) {
    this.id = card.id
    this.name = card.name
    this.kind = card.kind
    this.presence$ = card.presence$
    this.#card = card
    this.#settings = settings
  }

  /** C_GetTokenInfo. Rejects with CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED or CKR_DEVICE_ERROR. */
  async tokenInfo(): Promise<TokenInfo> {
    const { token } = await this.#open()
    try {
      return sealed(await token.describe())
    } catch (error) {
      throw toCryptokiError(error, 'slot')
    }
  }

  /** C_GetMechanismList and C_GetMechanismInfo in one: CKM_* to what the token can do with it. A copy. */
  async mechanisms(): Promise<ReadonlyMap<number, MechanismInfo>> {
    const { mechanisms } = (await this.#open()).token
    return new Map([...mechanisms].map(([type, info]) => [type, sealed(info)]))
  }

  /** C_OpenSession: powers the card and selects its applet where that has not been done. */
  async openSession(options: SessionOptions = {}): Promise<Session> {
    const insertion = await this.#open()
    if (insertion.ended !== undefined) throw toCryptokiError(insertion.ended.cause, 'slot')
    const { policy, randomBytes } = this.#settings
    return new Session(insertion, options.readWrite === true, policy, options.pin, randomBytes, this.name)
  }

  /** C_CloseAllSessions, and the card's power goes off; the next session finds the card as new. */
  async closeAllSessions(): Promise<void> {
    // Begun in this very call where it can be: who opens a session right after it is not among the closed.
    if (this.#opening !== undefined) await this.#opening.catch(() => {})
    await this.#insertion?.close()
  }

  async #open(): Promise<Insertion> {
    const closing = this.#insertion?.closing
    if (this.#insertion !== undefined && closing === undefined) return this.#insertion
    // Two callers at once share one connection.
    this.#opening ??= this.#connect(closing).finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #connect(before: Promise<void> | undefined): Promise<Insertion> {
    try {
      await before
      const connection = await this.#card.connect({ onWanted: () => this.#insertion?.letGo() })
      try {
        for (const driver of this.#settings.drivers) {
          const token = await driver.open(connection)
          if (token === undefined) continue
          const insertion = new Insertion(connection, token, (ended) => {
            if (this.#insertion === ended) this.#insertion = undefined
          })
          this.#insertion = insertion
          return insertion
        }
      } catch (error) {
        await connection.close()
        throw error
      }
      await connection.close()
      const names = this.#settings.drivers.map((driver) => driver.name).join(', ')
      const cause = new NotSupportedError(
        `The card has none of the applications that can be used here (${names}).`,
      )
      throw new CryptokiError(CKR.TOKEN_NOT_RECOGNIZED, { cause })
    } catch (error) {
      throw toCryptokiError(error, 'slot')
    }
  }
}
