/** A bound on work that may never end: a control transfer to a device that hangs, a close that is not answered. */
import { ReaderTimeoutError } from '@webtoki/apdu'
import type { Clock } from './clock.ts'

/** Rejects with ReaderTimeoutError when the time is up; what comes later is handed to `tooLate`. */
export function within<T>(
  clock: Clock,
  timeLimitMs: number,
  what: string,
  work: Promise<T>,
  tooLate?: (value: T) => Promise<unknown>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let late = false
    const timer = clock.setTimeout(() => {
      late = true
      reject(new ReaderTimeoutError(what, timeLimitMs))
    }, timeLimitMs)
    work
      .finally(() => clock.clearTimeout(timer))
      .then((value) => {
        if (late) tooLate?.(value).catch(() => {})
        else resolve(value)
      }, reject)
  })
}
