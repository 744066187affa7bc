/** The time source of the driver. Callers pass it in, so that tests control time. */
export interface Clock {
  /** Milliseconds since a fixed moment; monotonic. */
  now(): number
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

/** The clock of the JavaScript runtime. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (timer) => clearTimeout(timer as number),
}
