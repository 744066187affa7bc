/** Time as the simulator sees it: real by default, or moved by hand in tests. */

/** What waits in a reader: slow cards and time extensions. */
export interface SimulatorClock {
  /** Runs the action after the delay; the returned function calls it off. */
  after(delayMs: number, action: () => void): () => void
}

/** The timers of the platform. */
export const realClock: SimulatorClock = {
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs)
    return () => clearTimeout(timer)
  },
}

/** A clock that stands still until it is advanced. */
export class HandClock implements SimulatorClock {
  #nowMs = 0
  #order = 0
  #waiting: { readonly dueMs: number; readonly order: number; readonly action: () => void }[] = []

  /** Milliseconds since this clock was made. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** How many actions wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  after(delayMs: number, action: () => void): () => void {
    const entry = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, action }
    this.#waiting.push(entry)
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== entry)
    }
  }

  /** Moves the time on and runs what falls due, in order, letting promises settle between. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs
    for (;;) {
      await settle()
      const next = this.#waiting
        .filter((entry) => entry.dueMs <= untilMs)
        .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0]
      if (next === undefined) break
      this.#waiting = this.#waiting.filter((entry) => entry !== next)
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.action()
    }
    this.#nowMs = untilMs
    await settle()
  }
}

// Long enough for the promise chains between a transfer and the card's answer; no real time passes.
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}
