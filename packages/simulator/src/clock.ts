/** Clocks of the simulator: real time by default, or a clock that tests advance by hand. */

/** Runs delayed actions of a virtual reader, such as slow cards and time extensions. */
export interface SimulatorClock {
  /** Runs the action after a delay in milliseconds. The returned function cancels it. */
  after(delayMs: number, action: () => void): () => void
}

/** A clock based on the platform's timers. */
export const realClock: SimulatorClock = {
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs)
    return () => clearTimeout(timer)
  },
}

/** A clock whose time changes only when `advance` is called. */
export class HandClock implements SimulatorClock {
  #nowMs = 0
  #order = 0
  #waiting: { readonly dueMs: number; readonly order: number; readonly action: () => void }[] = []

  /** Milliseconds since this clock was created. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Number of pending actions. */
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

  /**
   * Advances the time by `byMs` milliseconds and runs the actions that fall due, in order. Lets promises settle in
   * between.
   */
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

// 50 microtasks are enough for the promise chains between a transfer and the card's response. No real time passes.
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}
