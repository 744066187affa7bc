/** Work in turns: a page or a server that verifies something long stays responsive. */

/** Half of a frame. */
const TURN_MS = 8

interface Platform {
  /** Prioritized Task Scheduling: a turn without the 4 ms that browsers make nested timers wait. */
  readonly scheduler?: { yield?: () => Promise<void> }
  setTimeout(callback: () => void, delayMs: number): unknown
}

/** A function to await between pieces of work: after 8 ms it lets others have a turn. */
export function turns(): () => Promise<void> {
  let since = Date.now()
  return async () => {
    if (Date.now() - since < TURN_MS) return
    const platform = globalThis as unknown as Platform
    await (platform.scheduler?.yield?.() ??
      new Promise<void>((resolve) => void platform.setTimeout(resolve, 0)))
    since = Date.now()
  }
}
