/** All sources of readers as one: choosing a reader, and why none can be used. */
import {
  CardSilentError,
  type CardSlot,
  NoReaderError,
  type Presence,
  ReaderInUseError,
  type ReaderSource,
  type ReaderSupport,
  ReadersUnreachableError,
  type SlotSource,
  SourceClosedError,
  type WebtokiError,
} from '@webtoki/apdu'
import { firstValueFrom, of, timeout } from 'rxjs'

/** A source with readers to choose has more members than one whose slots are simply there. */
export type AnySource = SlotSource & Partial<ReaderSource>

/** The readers of one front door. */
export class Readers {
  readonly sources: readonly AnySource[]
  readonly #platform: ReaderSupport
  #isClosed = false
  #wasNoneChosen = false

  /** `platform`: what it says if there is no source at all. */
  constructor(sources: readonly AnySource[], platform: ReaderSupport) {
    this.sources = sources
    this.#platform = platform
  }

  /** 'available' if that is so of any source. */
  get support(): ReaderSupport {
    const each = this.sources.map(({ support = 'available' }) => support)
    return each.includes('available') ? 'available' : (each[0] ?? this.#platform)
  }

  /** False: the person chose none. Rejects with ReadersUnreachableError if there is nothing to choose from. */
  async request(): Promise<boolean> {
    const { support } = this
    if (support !== 'available') throw new ReadersUnreachableError(support)
    const source = this.sources.find(({ requestReader }) => requestReader !== undefined)
    // Where readers need no permission there is nothing to ask.
    if (source === undefined) return true
    const isChosen = (await source.requestReader?.()) !== undefined
    this.#wasNoneChosen = !isChosen
    return isChosen
  }

  close(): void {
    this.#isClosed = true
  }

  /** Why no card can be used, if more is known than that none is in. `presences`: of all slots; `problem`: of a reader. */
  whyNone(presences: readonly Presence[], problem: WebtokiError | undefined): WebtokiError | undefined {
    const { support } = this
    if (this.#isClosed) return new SourceClosedError()
    if (support !== 'available') return new ReadersUnreachableError(support)
    for (const presence of presences) {
      if (typeof presence === 'object') return new ReaderInUseError({ by: presence.inUse })
      if (presence === 'unreadable') return new CardSilentError()
    }
    // A card that is not in may be put in; a reader that cannot be used stays so.
    if (presences.length > 0) return undefined
    return problem ?? new NoReaderError(this.#wasNoneChosen ? 'not-chosen' : 'unknown')
  }
}

/** How long a reader may take to tell what lies in it. */
const PRESENCE_MS = 3_000

/** What lies there as far as is known: a reader that tells nothing holds up no other, and one that leaves has no card. */
export function presenceOf({ presence$ }: Pick<CardSlot, 'presence$'>): Promise<Presence> {
  const inTime = presence$.pipe(timeout({ first: PRESENCE_MS, with: () => of('unreadable' as const) }))
  return firstValueFrom(inTime, { defaultValue: 'empty' as const })
}
