/**
 * Gives a reader to one tab of a site at a time (Web Locks API). A tab that does not need the reader hands it over
 * when another tab requests it (BroadcastChannel).
 */
import { ReaderInUseError } from '@webtoki/apdu'
import { Observable } from 'rxjs'
import type { Clock } from './clock.ts'
import type { DeviceReader } from './device-ports.ts'
import type { DeviceDescription, ReaderIdentity } from './identity.ts'
import type { ReaderChannel, ReaderLocks, Tabs } from './tabs.ts'

/** How long another tab may take to release a reader or to decline. It may have to power a card off first. */
const RESPONSE_MS = 1000
const CHANNEL = 'webtoki readers'

/** The turns of this page by device. Each page has its own object for a device. */
const turnsOfPage = new WeakMap<object, Set<ReaderTurn>>()

/** A reader and its slots, as this tab holds them. */
export interface ReaderHolder extends DeviceReader {
  readonly device: object
  /** Called when the reader has passed from another tab to this one. */
  resume(): void
}

/**
 * A message between tabs. It identifies the reader by a hash, because the reader's name contains its serial number.
 */
interface TurnMessage {
  readonly webtoki: 'reader wanted' | 'reader kept'
  readonly reader: number
}

/** The turns of one source. */
export class ReaderTurns {
  readonly locks: ReaderLocks
  readonly channel: ReaderChannel | undefined
  readonly clock: Clock
  readonly #ownChannel: BroadcastChannel | undefined
  readonly #turns = new Set<ReaderTurn>()
  readonly #activations: { unsubscribe(): void } | undefined

  constructor({ locks, channel, activated$, usesBrowserDefaults }: Tabs, clock: Clock) {
    this.locks = locks
    this.clock = clock
    if (channel === undefined && usesBrowserDefaults) this.#ownChannel = new BroadcastChannel(CHANNEL)
    this.channel = channel ?? this.#ownChannel
    this.channel?.addEventListener('message', this.#onMessage)
    this.#activations = (activated$ ?? (usesBrowserDefaults ? pageActivations() : undefined))?.subscribe(
      () => {
        for (const turn of this.#turns) turn.request()
      },
    )
  }

  /**
   * Creates the turn for one reader. Undefined if the reader has no unique serial number, the only name that all tabs
   * share.
   */
  create(
    { serialNumber }: DeviceDescription,
    { id }: ReaderIdentity,
    interfaceNumber: number,
    holder: ReaderHolder,
  ): ReaderTurn | undefined {
    if (!serialNumber || !id.endsWith(`:${serialNumber}`)) return undefined
    const name = `webtoki-reader ${id}/${interfaceNumber}`
    const turn = new ReaderTurn(this, name, holder, () => this.#turns.delete(turn))
    this.#turns.add(turn)
    return turn
  }

  /** Other code of the site may post to this channel. Unknown messages are ignored. */
  readonly #onMessage = ({ data }: { readonly data: unknown }): void => {
    if (typeof data !== 'object' || data === null) return
    const { webtoki, reader } = data as Partial<TurnMessage>
    for (const turn of this.#turns) {
      if (turn.number !== reader) continue
      if (webtoki === 'reader wanted') turn.onRequested()
      else if (webtoki === 'reader kept') turn.onReaderKept()
    }
  }

  close(): void {
    for (const turn of this.#turns) turn.close()
    this.#activations?.unsubscribe()
    this.channel?.removeEventListener('message', this.#onMessage)
    this.#ownChannel?.close()
  }
}

/** The right of this tab to use one reader. */
export class ReaderTurn {
  readonly number: number
  readonly #turns: ReaderTurns
  readonly #name: string
  readonly #holder: ReaderHolder
  readonly #onClose: () => void
  readonly #closing = new AbortController()
  #release: (() => void) | undefined
  #waiting: Promise<boolean> | undefined
  /** True if another tab requested the reader while this one waits: the other tab goes first. */
  #yieldsNext = false
  #handingOver: Promise<void> | undefined
  #onKept: (() => void) | undefined

  constructor(turns: ReaderTurns, name: string, holder: ReaderHolder, onClose: () => void) {
    this.#turns = turns
    this.#name = name
    this.number = hashOf(name)
    this.#holder = holder
    this.#onClose = onClose
    const { device } = holder
    turnsOfPage.set(device, (turnsOfPage.get(device) ?? new Set()).add(this))
  }

  /** Acquires the reader, from another tab if that tab does not need it. Rejects with ReaderInUseError. */
  async take(): Promise<void> {
    await this.#handingOver
    if (this.#release !== undefined) return
    if (this.#waiting === undefined && (await this.#requestLock({ ifAvailable: true }))) return
    // Stays in the lock queue from now on, even if this attempt fails.
    const waiting = this.#waitInQueue()
    if (this.#turns.channel !== undefined && (await this.#requestFromTab(waiting))) return
    if (this.#release === undefined)
      throw new ReaderInUseError({
        by: this.#turnsOfOtherSources.some((turn) => turn.#release) ? 'page' : 'tab',
      })
  }

  /** The turns of this page's other sources at the same reader. */
  get #turnsOfOtherSources(): readonly ReaderTurn[] {
    const turns = [...(turnsOfPage.get(this.#holder.device) ?? [])]
    return turns.filter((turn) => turn !== this && turn.#name === this.#name)
  }

  /** Requests the reader from the other tabs, if this tab waits for it. */
  request(): void {
    if (this.#waiting === undefined) return
    this.#yieldsNext = false
    this.#post('reader wanted')
  }

  /** Requests the reader from the tab that has it. Resolves to true if this tab then has it. */
  #requestFromTab(waiting: Promise<boolean>): Promise<boolean> {
    return new Promise((resolve) => {
      const { clock } = this.#turns
      const finish = (isTaken: boolean): void => {
        clock.clearTimeout(timer)
        this.#onKept = undefined
        resolve(isTaken)
      }
      const timer = clock.setTimeout(() => finish(false), RESPONSE_MS)
      this.#onKept = () => finish(false)
      void waiting.then(finish)
      this.request()
    })
  }

  /** Another tab requests the reader. */
  onRequested(): void {
    if (this.#handingOver !== undefined) return
    if (this.#release === undefined) {
      this.#yieldsNext = this.#onKept === undefined
      return
    }
    this.#handingOver = tryHandOver(this.#holder).then((isGiven) => {
      this.#handingOver = undefined
      if (this.#closing.signal.aborted) return
      if (!isGiven) this.#post('reader kept')
      else {
        this.release()
        void this.#waitInQueue()
      }
    })
  }

  /** The tab that has the reader declines, because it needs it. */
  onReaderKept(): void {
    this.#onKept?.()
  }

  /** Waits in the queue of the Web Lock, which is first in, first out. */
  #waitInQueue(): Promise<boolean> {
    this.#waiting ??= this.#requestLock({ signal: this.#closing.signal }).then((isTaken) => {
      this.#waiting = undefined
      if (isTaken && this.#yieldsNext) {
        this.#yieldsNext = false
        this.release()
        return this.#waitInQueue()
      }
      if (isTaken) this.#holder.resume()
      return isTaken
    })
    return this.#waiting
  }

  #requestLock(options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal }): Promise<boolean> {
    return new Promise((resolve) => {
      const work = (lock: unknown): Promise<void> | undefined => {
        const isTaken = lock !== null && !this.#closing.signal.aborted
        resolve(isTaken)
        if (!isTaken) return undefined
        // A source that handed the reader over cannot know that the receiver is another source of its own page.
        for (const turn of this.#turnsOfOtherSources)
          for (const slot of turn.#holder.slots) slot.markInUse('page')
        return new Promise<void>((release) => (this.#release = release))
      }
      this.#turns.locks.request(this.#name, options, work).catch(() => {
        if (this.#closing.signal.aborted) resolve(false)
        // A page that may not use locks works without them.
        else void work({})
      })
    })
  }

  #post(webtoki: TurnMessage['webtoki']): void {
    this.#turns.channel?.postMessage({ webtoki, reader: this.number } satisfies TurnMessage)
  }

  /** Releases the lock. The next tab in the queue gets it. */
  release(): void {
    this.#release?.()
    this.#release = undefined
  }

  /** Ends the turn, because the reader was removed or its source was closed. */
  close(): void {
    this.#closing.abort()
    this.onReaderKept()
    this.release()
    turnsOfPage.get(this.#holder.device)?.delete(this)
    this.#onClose()
  }
}

/** Closes a reader that another tab requests if no slot needs it. Resolves to whether it was closed. Never rejects. */
async function tryHandOver({ reader, slots }: ReaderHolder): Promise<boolean> {
  await Promise.all(slots.map((slot) => slot.requestRelease()))
  if (slots.some((slot) => slot.isUsed) || !(await reader.closeIfIdle())) return false
  for (const slot of slots) slot.markInUse('tab')
  return true
}

/**
 * FNV-1a, 32 bits. If two readers have the same hash, the cost is one idle reader that is handed over for a moment.
 */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

/**
 * Cold. Emits when the page becomes visible or its window gets the focus. Never emits in a worker, which has no page.
 */
function pageActivations(): Observable<void> {
  return new Observable((subscriber) => {
    const page = globalThis.document
    if (page === undefined) return
    const emitIfVisible = (): void => {
      if (page.visibilityState === 'visible') subscriber.next()
    }
    page.addEventListener('visibilitychange', emitIfVisible)
    // Two windows side by side are both visible, so only the focus changes.
    addEventListener('focus', emitIfVisible)
    return () => {
      page.removeEventListener('visibilitychange', emitIfVisible)
      removeEventListener('focus', emitIfVisible)
    }
  })
}
