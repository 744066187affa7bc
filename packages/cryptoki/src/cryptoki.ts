/** The library, which opens the tokens of slot sources with token drivers (PKCS#11 v2.40, 5.4 and 5.5). */
import type { CardSlot, ReaderProblem, SlotSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { combineLatest, map, type Observable, of, shareReplay, switchMap } from 'rxjs'
import { withTimeLimit, JoinedSources } from './joined-sources.ts'
import { platformRandomBytes } from './random.ts'
import type { SessionPolicy } from './session-options.ts'
import { PhysicalSlot, type Slot, type SlotSettings } from './slot.ts'
import type { Token, TokenDriver } from './token.ts'

/** The settings that the standard leaves to the token. */
type TokenSetting = 'dualOperations' | 'singlePartWhileActive'

/** Options of `Cryptoki`. */
export interface CryptokiOptions extends Partial<Omit<SessionPolicy, TokenSetting>> {
  /** For all tokens, or a function of the token. Default: true. */
  readonly dualOperations?: boolean | ((token: Token) => boolean)
  /** For all tokens, or a function of the token. Default: 'reject'. */
  readonly singlePartWhileActive?: 'reject' | 'allow' | ((token: Token) => 'reject' | 'allow')
  readonly sources: readonly SlotSource[]
  /** The supported card applications. The tokens of a card are in this order. */
  readonly drivers: readonly TokenDriver[]
  /** Default: `crypto.getRandomValues`. */
  readonly randomBytes?: (bytes: number) => Uint8Array
  /** Returns milliseconds since any fixed time. Default: `Date.now`. */
  readonly now?: () => number
}

/** The library. The constructor is C_Initialize, `close` is C_Finalize. */
export class Cryptoki extends Closable {
  /** Hot; replays the latest list; completes on close. A slot stays the same object while its reader is plugged in. */
  readonly slots$: Observable<readonly Slot[]>
  /** Readers that cannot be used and sources that failed, with their errors. Hot; replays the latest list. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #sources: JoinedSources
  readonly #settings: SlotSettings
  readonly #physicalSlots = new Map<CardSlot, PhysicalSlot>()
  #isClosed = false
  #closing: Promise<void> | undefined

  constructor(options: CryptokiOptions) {
    super()
    this.#sources = new JoinedSources(options.sources)
    this.problems$ = this.#sources.problems$
    this.#settings = {
      drivers: options.drivers,
      randomBytes: options.randomBytes ?? platformRandomBytes,
      now: options.now ?? Date.now,
      isClosed: () => this.#isClosed,
      policyFor: (token) => ({
        onConflict: options.onConflict ?? 'reject',
        singlePartWhileActive: settingFor(options.singlePartWhileActive, token) ?? 'reject',
        login: options.login ?? 'explicit',
        dualOperations: settingFor(options.dualOperations, token) ?? true,
      }),
    }
    this.slots$ = this.#sources.slots$.pipe(
      switchMap((cards) => {
        const physicalSlots = this.#physicalSlotsOf(cards)
        return physicalSlots.length === 0 ? of([]) : combineLatest(physicalSlots.map(({ slots$ }) => slots$))
      }),
      // All subscribers get the same array, so it is frozen.
      map((each) => Object.freeze(each.flat())),
      shareReplay({ bufferSize: 1, refCount: false }),
    )
  }

  #physicalSlotsOf(cards: readonly CardSlot[]): readonly PhysicalSlot[] {
    for (const [card, physicalSlot] of this.#physicalSlots) {
      if (cards.includes(card)) continue
      this.#physicalSlots.delete(card)
      physicalSlot.end()
    }
    return cards.map((card) => {
      const physicalSlot = this.#physicalSlots.get(card) ?? new PhysicalSlot(card, this.#settings)
      this.#physicalSlots.set(card, physicalSlot)
      return physicalSlot
    })
  }

  /**
   * Retries everything that failed: lists the readers again, opens those that could not be opened, and checks them for
   * cards. Call it when a person expects a card that is not shown. Resolves after at most 25 s; never rejects.
   */
  lookAgain(): Promise<void> {
    return this.#sources.lookAgain()
  }

  /**
   * Closes all sessions, logs out and closes the sources. Idempotent; never rejects. Waits at most 25 s for a card or source
   * that does not respond, and closes the others meanwhile.
   */
  close(): Promise<void> {
    // Set before the sessions end, so that code that opens a session in response gets CKR_CRYPTOKI_NOT_INITIALIZED.
    this.#isClosed = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all(
      [...this.#physicalSlots.values()].map((physicalSlot) => withTimeLimit(() => physicalSlot.close())),
    )
    await this.#sources.close()
    for (const physicalSlot of this.#physicalSlots.values()) physicalSlot.end()
  }
}

function settingFor<T extends boolean | string>(
  setting: T | ((token: Token) => T) | undefined,
  token: Token,
): T | undefined {
  return typeof setting === 'function' ? setting(token) : setting
}
