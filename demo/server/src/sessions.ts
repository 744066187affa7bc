/** The site's sessions: issued by the server alone, forgotten after a while, and new when somebody logs in. */
import { randomBytes } from 'node:crypto'

/** What the site tells of whom it let in. */
export type Person = Readonly<Record<string, string>>

const LIFETIME_MS = 30 * 60_000
/** Who only asks is forgotten first. */
const MAX_SESSIONS = 10_000

/** In memory, for one process. */
export class Sessions {
  readonly #now: () => number
  readonly #sessions = new Map<string, { readonly person: Person | undefined; readonly until: number }>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** A new one; its name cannot be guessed. */
  issue(person?: Person): string {
    this.#makeRoom()
    const name = randomBytes(32).toString('hex')
    this.#sessions.set(name, { person, until: this.#now() + LIFETIME_MS })
    return name
  }

  #makeRoom(): void {
    // They stand in the order in which they end.
    for (const [name, { until }] of this.#sessions) {
      if (until >= this.#now()) break
      this.#sessions.delete(name)
    }
    if (this.#sessions.size < MAX_SESSIONS) return
    // Without a copy: whoever fills the table asks often.
    let first: string | undefined
    for (const [name, { person }] of this.#sessions) {
      first ??= name
      if (person !== undefined) continue
      first = name
      break
    }
    if (first !== undefined) this.#sessions.delete(first)
  }

  /** Whether this was issued here, and its time is not up. */
  has(name: string): boolean {
    return (this.#sessions.get(name)?.until ?? -1) >= this.#now()
  }

  personOf(name: string): Person | undefined {
    return this.has(name) ? this.#sessions.get(name)?.person : undefined
  }

  end(name: string): void {
    this.#sessions.delete(name)
  }
}
