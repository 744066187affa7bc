/** Whose turn it is: one tab of a site has a reader at a time (Web Locks API), and gives it to a tab that asks (Broadcast Channel) while it does not need it. */
import { ReaderInUseError } from '@webtoki/apdu'
import { Observable } from 'rxjs'
import type { Clock } from './clock.ts'
import type { DeviceReader } from './device-ports.ts'
import type { DeviceDescription, ReaderIdentity } from './identity.ts'
import type { ReaderChannel, ReaderLocks, Tabs } from './tabs.ts'

/** How long a tab may take to let a reader go, or to say that it keeps it: its card may have to be put to rest. */
const ANSWER_MS = 1000
const CHANNEL = 'webtoki readers'

/** The turns of this page. A browser gives a page one object for each device, and another page another one. */
const turnsHere = new WeakMap<object, Set<ReaderTurn>>()

/** The reader, as this tab has it. */
export interface TurnHolder extends DeviceReader {
  readonly device: object
  /** The reader is this tab's, and was another's until now. */
  resume(): void
}

/** What one tab says to the others. The reader goes by a number: its name has its serial number. */
interface TurnMessage {
  readonly webtoki: 'reader wanted' | 'reader kept'
  readonly reader: number
}

/** The turns of one source. */
export class ReaderTurns {
  readonly locks: ReaderLocks
  readonly channel: ReaderChannel | undefined
  readonly clock: Clock
  readonly #own: BroadcastChannel | undefined
  readonly #turns = new Set<ReaderTurn>()
  readonly #turning: { unsubscribe(): void } | undefined

  constructor({ locks, channel, turnedTo$, isBrowsers }: Tabs, clock: Clock) {
    this.locks = locks
    this.clock = clock
    if (channel === undefined && isBrowsers) this.#own = new BroadcastChannel(CHANNEL)
    this.channel = channel ?? this.#own
    this.channel?.addEventListener('message', this.#heard)
    this.#turning = (turnedTo$ ?? (isBrowsers ? pageTurnedTo() : undefined))?.subscribe(() => {
      for (const turn of this.#turns) turn.ask()
    })
  }

  /** The turn at one reader; undefined: only a serial number is the same in every tab. */
  at(
    { serialNumber }: DeviceDescription,
    { id }: ReaderIdentity,
    interfaceNumber: number,
    holder: TurnHolder,
  ): ReaderTurn | undefined {
    if (!serialNumber || !id.endsWith(`:${serialNumber}`)) return undefined
    const name = `webtoki-reader ${id}/${interfaceNumber}`
    const turn = new ReaderTurn(this, name, holder, () => this.#turns.delete(turn))
    this.#turns.add(turn)
    return turn
  }

  /** Others of the site write here too: what is no message of ours is passed over. */
  readonly #heard = ({ data }: { readonly data: unknown }): void => {
    if (typeof data !== 'object' || data === null) return
    const { webtoki, reader } = data as Partial<TurnMessage>
    for (const turn of this.#turns) {
      if (turn.number !== reader) continue
      if (webtoki === 'reader wanted') turn.wanted()
      else if (webtoki === 'reader kept') turn.refused()
    }
  }

  close(): void {
    for (const turn of this.#turns) turn.end()
    this.#turning?.unsubscribe()
    this.channel?.removeEventListener('message', this.#heard)
    this.#own?.close()
  }
}

/** The turn at one reader. */
export class ReaderTurn {
  readonly number: number
  readonly #all: ReaderTurns
  readonly #name: string
  readonly #holder: TurnHolder
  readonly #ended: () => void
  readonly #leaving = new AbortController()
  #release: (() => void) | undefined
  #waiting: Promise<boolean> | undefined
  /** Another tab asked while this one only waits: that one goes first. */
  #steppingBack = false
  #giving: Promise<void> | undefined
  #refuse: (() => void) | undefined

  constructor(all: ReaderTurns, name: string, holder: TurnHolder, ended: () => void) {
    this.#all = all
    this.#name = name
    this.number = numberOf(name)
    this.#holder = holder
    this.#ended = ended
    const { device } = holder
    turnsHere.set(device, (turnsHere.get(device) ?? new Set()).add(this))
  }

  /** Takes the reader, from another tab if that one does not need it. Rejects with ReaderInUseError. */
  async take(): Promise<void> {
    await this.#giving
    if (this.#release !== undefined) return
    if (this.#waiting === undefined && (await this.#request({ ifAvailable: true }))) return
    // From now on it waits in the line, however this attempt ends.
    const waiting = this.#wait()
    if (this.#all.channel !== undefined && (await this.#askedFor(waiting))) return
    if (this.#release === undefined)
      throw new ReaderInUseError({ by: this.#othersHere.some((turn) => turn.#release) ? 'page' : 'tab' })
  }

  /** The turns of other sources of this page at the same reader. */
  get #othersHere(): readonly ReaderTurn[] {
    const turns = [...(turnsHere.get(this.#holder.device) ?? [])]
    return turns.filter((turn) => turn !== this && turn.#name === this.#name)
  }

  /** A person turned to this tab: the reader had better be here. */
  ask(): void {
    if (this.#waiting === undefined) return
    this.#steppingBack = false
    this.#say('reader wanted')
  }

  /** Asks the tab that has it; true: it is ours now. */
  #askedFor(waiting: Promise<boolean>): Promise<boolean> {
    return new Promise((resolve) => {
      const { clock } = this.#all
      const over = (isOurs: boolean): void => {
        clock.clearTimeout(timer)
        this.#refuse = undefined
        resolve(isOurs)
      }
      const timer = clock.setTimeout(() => over(false), ANSWER_MS)
      this.#refuse = () => over(false)
      void waiting.then(over)
      this.ask()
    })
  }

  /** Another tab wants the reader. */
  wanted(): void {
    if (this.#giving !== undefined) return
    if (this.#release === undefined) {
      this.#steppingBack = this.#refuse === undefined
      return
    }
    this.#giving = giveUp(this.#holder).then((isGiven) => {
      this.#giving = undefined
      if (this.#leaving.signal.aborted) return
      if (!isGiven) this.#say('reader kept')
      else {
        this.release()
        void this.#wait()
      }
    })
  }

  /** The tab that has the reader needs it. */
  refused(): void {
    this.#refuse?.()
  }

  /** In the line for the reader, which Web Locks keep in order. */
  #wait(): Promise<boolean> {
    this.#waiting ??= this.#request({ signal: this.#leaving.signal }).then((isOurs) => {
      this.#waiting = undefined
      if (isOurs && this.#steppingBack) {
        this.#steppingBack = false
        this.release()
        return this.#wait()
      }
      if (isOurs) this.#holder.resume()
      return isOurs
    })
    return this.#waiting
  }

  #request(options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal }): Promise<boolean> {
    return new Promise((resolve) => {
      const work = (lock: unknown): Promise<void> | undefined => {
        const isOurs = lock !== null && !this.#leaving.signal.aborted
        resolve(isOurs)
        if (!isOurs) return undefined
        // Who gave the reader up could not know to whom.
        for (const turn of this.#othersHere) for (const slot of turn.#holder.slots) slot.markInUse('page')
        return new Promise<void>((release) => (this.#release = release))
      }
      this.#all.locks.request(this.#name, options, work).catch(() => {
        if (this.#leaving.signal.aborted) resolve(false)
        // A page that may not use locks goes without.
        else void work({})
      })
    })
  }

  #say(webtoki: TurnMessage['webtoki']): void {
    this.#all.channel?.postMessage({ webtoki, reader: this.number } satisfies TurnMessage)
  }

  /** The next tab in the line has it. */
  release(): void {
    this.#release?.()
    this.#release = undefined
  }

  /** For good: the reader left, or its source was closed. */
  end(): void {
    this.#leaving.abort()
    this.refused()
    this.release()
    turnsHere.get(this.#holder.device)?.delete(this)
    this.#ended()
  }
}

/** Another tab wants the reader: it is let go where nothing needs it; false: it is kept. Never rejects. */
async function giveUp({ reader, slots }: TurnHolder): Promise<boolean> {
  await Promise.all(slots.map((slot) => slot.release()))
  if (slots.some((slot) => slot.isUsed) || !(await reader.rest())) return false
  for (const slot of slots) slot.markInUse('tab')
  return true
}

/** FNV-1a, 32 bits: two readers of one number cost nothing but an idle reader given up for a moment. */
function numberOf(name: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

/** Cold; emits when a person brings this page before the others, or turns to its window. A worker has no page, and never does. */
function pageTurnedTo(): Observable<void> {
  return new Observable((subscriber) => {
    const page = globalThis.document
    if (page === undefined) return
    const look = (): void => {
      if (page.visibilityState === 'visible') subscriber.next()
    }
    page.addEventListener('visibilitychange', look)
    // Of two windows side by side none is ever hidden.
    addEventListener('focus', look)
    return () => {
      page.removeEventListener('visibilitychange', look)
      removeEventListener('focus', look)
    }
  })
}
