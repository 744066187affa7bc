/** Treats all reader sources as one: opens the chooser and says why no reader can be used. */
import {
  type CardSlot,
  NoReaderError,
  type Presence,
  type ReaderSource,
  ReadersUnreachableError,
  type ReaderSupport,
  reasonForNoCard,
  type SlotSource,
  SourceClosedError,
  type WebtokiError,
} from '@webtoki/apdu'
import { firstValueFrom, of, timeout } from 'rxjs'

/** A slot source. It is a `ReaderSource` if the person has to choose its readers. */
export type AnySource = SlotSource & Partial<ReaderSource>

/** The readers of one `Webtoki`. */
export class Readers {
  readonly sources: readonly AnySource[]
  readonly #platform: ReaderSupport
  #isClosed = false
  #wasNoneChosen = false

  /** `platform` is the support to report if there is no source. */
  constructor(sources: readonly AnySource[], platform: ReaderSupport) {
    this.sources = sources
    this.#platform = platform
  }

  /** 'available' if any source is available; otherwise the reason of the first. */
  get support(): ReaderSupport {
    const each = this.sources.map(({ support = 'available' }) => support)
    return each.includes('available') ? 'available' : (each[0] ?? this.#platform)
  }

  /** Resolves to false if the person chose no reader. Rejects with ReadersUnreachableError if no source is available. */
  async request(): Promise<boolean> {
    const { support } = this
    if (support !== 'available') throw new ReadersUnreachableError(support)
    const source = this.sources.find(({ requestReader }) => requestReader !== undefined)
    // Sources without a chooser need no permission.
    if (source === undefined) return true
    const isChosen = (await source.requestReader?.()) !== undefined
    this.#wasNoneChosen = !isChosen
    return isChosen
  }

  close(): void {
    this.#isClosed = true
  }

  /**
   * Says why no card can be used, if there is a reason besides missing cards. `presences` are those of all slots, `problem` is
   * that of a reader.
   */
  whyNone(presences: readonly Presence[], problem: WebtokiError | undefined): WebtokiError | undefined {
    const { support } = this
    if (this.#isClosed) return new SourceClosedError()
    if (support !== 'available') return new ReadersUnreachableError(support)
    const reason = reasonForNoCard(presences)
    if (reason !== undefined) return reason
    // A person can insert a card into an empty reader, so that is reported before a reader that cannot be used.
    if (presences.length > 0) return undefined
    return problem ?? new NoReaderError(this.#wasNoneChosen ? 'not-chosen' : 'unknown')
  }
}

/** How long to wait for the first presence of a slot. */
const PRESENCE_MS = 3_000

/** Resolves to the presence of a slot. A slot without one in time counts as unreadable, a removed slot as empty. */
export function presenceOf({ presence$ }: Pick<CardSlot, 'presence$'>): Promise<Presence> {
  const inTime = presence$.pipe(timeout({ first: PRESENCE_MS, with: () => of('unreadable' as const) }))
  return firstValueFrom(inTime, { defaultValue: 'empty' as const })
}
