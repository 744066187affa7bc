/** The library: slot sources below, token drivers beside, slots above (PKCS#11 v2.40, 5.4 and 5.5). */
import type { CardSlot, SlotSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { combineLatest, map, type Observable, of, shareReplay } from 'rxjs'
import { platformRandomBytes } from './random.ts'
import type { SessionPolicy } from './session.ts'
import { Slot, type SlotSettings } from './slot.ts'
import type { TokenDriver } from './token.ts'

/** What a library is made of. */
export interface CryptokiOptions extends Partial<SessionPolicy> {
  readonly sources: readonly SlotSource[]
  /** Tried in this order; the first whose applet the card has serves it. */
  readonly drivers: readonly TokenDriver[]
  /** Default: `crypto.getRandomValues`. */
  readonly randomBytes?: (bytes: number) => Uint8Array
}

/** C_Initialize is the constructor, C_Finalize is `close`. */
export class Cryptoki extends Closable {
  /** Hot; replays the latest list; completes on close. A slot stays the same object while its reader is plugged in. */
  readonly slots$: Observable<readonly Slot[]>
  readonly #sources: readonly SlotSource[]
  readonly #settings: SlotSettings
  readonly #slots = new Map<CardSlot, Slot>()
  #closing: Promise<void> | undefined

  constructor(options: CryptokiOptions) {
    super()
    this.#sources = options.sources
    this.#settings = {
      drivers: options.drivers,
      randomBytes: options.randomBytes ?? platformRandomBytes,
      policy: {
        onConflict: options.onConflict ?? 'reject',
        oneCallWhileActive: options.oneCallWhileActive ?? 'reject',
        login: options.login ?? 'explicit',
      },
    }
    const lists = this.#sources.map((source) => source.slots$)
    const joined = lists.length === 0 ? of([]) : combineLatest(lists)
    this.slots$ = joined.pipe(
      // Replayed to everybody: frozen, so that nobody can empty it for the next.
      map((each) => Object.freeze(this.#slotsOf(each.flat()))),
      shareReplay({ bufferSize: 1, refCount: false }),
    )
  }

  #slotsOf(cards: readonly CardSlot[]): readonly Slot[] {
    for (const card of this.#slots.keys()) if (!cards.includes(card)) this.#slots.delete(card)
    return cards.map((card) => {
      const known = this.#slots.get(card)
      if (known !== undefined) return known
      const slot = new Slot(card, this.#settings)
      this.#slots.set(card, slot)
      return slot
    })
  }

  /** Closes every session, logs out, and closes the sources. Idempotent; never rejects, whatever a source does. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.allSettled([...this.#slots.values()].map((slot) => slot.closeAllSessions()))
    await Promise.allSettled(this.#sources.map(async (source) => source.close()))
  }
}
