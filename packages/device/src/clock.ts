/** Time as the driver sees it: handed in, so that tests turn the hands themselves. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (timer) => clearTimeout(timer as number),
}
