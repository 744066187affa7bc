/** The site's sessions. Only the server issues them, they expire after 30 minutes, and each login issues a new one. */
import { randomBytes } from 'node:crypto'

/** What the site knows about a person who is logged in. */
export type Person = Readonly<Record<string, string>>

const LIFETIME_MS = 30 * 60_000
/** When there are that many, sessions without a login are removed first. */
const MAX_SESSIONS = 10_000

/** Stores sessions in memory, for one process. */
export class Sessions {
  readonly #now: () => number
  readonly #sessions = new Map<string, { readonly person: Person | undefined; readonly until: number }>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Issues a session and returns its name, which is random and has 256 bits. */
  issue(person?: Person): string {
    this.#removeOldest()
    const name = randomBytes(32).toString('hex')
    this.#sessions.set(name, { person, until: this.#now() + LIFETIME_MS })
    return name
  }

  /** Removes expired sessions and, if there are too many, the oldest one without a login. */
  #removeOldest(): void {
    // The map is in the order of expiry, because all sessions have the same lifetime.
    for (const [name, { until }] of this.#sessions) {
      if (until >= this.#now()) break
      this.#sessions.delete(name)
    }
    if (this.#sessions.size < MAX_SESSIONS) return
    // Iterates without a copy, because an attacker may fill the table with many requests.
    let first: string | undefined
    for (const [name, { person }] of this.#sessions) {
      first ??= name
      if (person !== undefined) continue
      first = name
      break
    }
    if (first !== undefined) this.#sessions.delete(first)
  }

  /** True if the server issued this name and the session has not expired. */
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
