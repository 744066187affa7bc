/** The library: slot sources below, token drivers beside, slots above (PKCS#11 v2.40, 5.4 and 5.5). */
import type { CardSlot, ReaderProblem, SlotSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { combineLatest, map, type Observable, of, shareReplay, switchMap } from 'rxjs'
import { inTime, JoinedSources } from './joined-sources.ts'
import { platformRandomBytes } from './random.ts'
import type { SessionPolicy } from './session-options.ts'
import { CardPlace, type Slot, type SlotSettings } from './slot.ts'
import type { Token, TokenDriver } from './token.ts'

/** What the standard leaves to the token. */
type ByToken = 'dualOperations' | 'singlePartWhileActive'

/** What a library is made of. */
export interface CryptokiOptions extends Partial<Omit<SessionPolicy, ByToken>> {
  /** For all tokens, or for each. Default: true. */
  readonly dualOperations?: boolean | ((token: Token) => boolean)
  /** For all tokens, or for each. Default: 'reject'. */
  readonly singlePartWhileActive?: 'reject' | 'allow' | ((token: Token) => 'reject' | 'allow')
  readonly sources: readonly SlotSource[]
  /** Which applications of cards are known. A card's tokens are in the order of these. */
  readonly drivers: readonly TokenDriver[]
  /** Default: `crypto.getRandomValues`. */
  readonly randomBytes?: (bytes: number) => Uint8Array
  /** Milliseconds since any moment. Default: `Date.now`. */
  readonly now?: () => number
}

/** C_Initialize is the constructor, C_Finalize is `close`. */
export class Cryptoki extends Closable {
  /** Hot; replays the latest list; completes on close. A slot stays the same object while its reader is plugged in. */
  readonly slots$: Observable<readonly Slot[]>
  /** Readers that cannot be used, and sources that failed, with the reasons. Hot; replays the latest list. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  readonly #sources: JoinedSources
  readonly #settings: SlotSettings
  readonly #places = new Map<CardSlot, CardPlace>()
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
        singlePartWhileActive: forToken(options.singlePartWhileActive, token) ?? 'reject',
        login: options.login ?? 'explicit',
        dualOperations: forToken(options.dualOperations, token) ?? true,
      }),
    }
    this.slots$ = this.#sources.slots$.pipe(
      switchMap((cards) => {
        const places = this.#placesOf(cards)
        return places.length === 0 ? of([]) : combineLatest(places.map(({ slots$ }) => slots$))
      }),
      // Replayed to everybody: frozen, so that nobody can empty it for the next.
      map((each) => Object.freeze(each.flat())),
      shareReplay({ bufferSize: 1, refCount: false }),
    )
  }

  #placesOf(cards: readonly CardSlot[]): readonly CardPlace[] {
    for (const [card, place] of this.#places) {
      if (cards.includes(card)) continue
      this.#places.delete(card)
      place.end()
    }
    return cards.map((card) => {
      const place = this.#places.get(card) ?? new CardPlace(card, this.#settings)
      this.#places.set(card, place)
      return place
    })
  }

  /**
   * Tries once more what failed: lists readers again, opens those that could not be opened, and asks for their cards. For a
   * person who wants a card now and sees none. Resolves when the sources are done, after 25 s at the latest; never rejects.
   */
  lookAgain(): Promise<void> {
    return this.#sources.lookAgain()
  }

  /**
   * Closes every session, logs out, and closes the sources. Idempotent; never rejects, whatever a source does. A card or a
   * source that does not end has 25 s and holds up no other.
   */
  close(): Promise<void> {
    // Set first: a session that is opened on hearing of another's end is not forgotten.
    this.#isClosed = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#places.values()].map((place) => inTime(() => place.close())))
    await this.#sources.close()
    for (const place of this.#places.values()) place.end()
  }
}

function forToken<T extends boolean | string>(
  setting: T | ((token: Token) => T) | undefined,
  token: Token,
): T | undefined {
  return typeof setting === 'function' ? setting(token) : setting
}
