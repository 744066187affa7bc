/** A time limit for work that may never settle, such as a control transfer to a device that hangs. */
import { ReaderTimeoutError } from '@webtoki/apdu'
import type { Clock } from './clock.ts'

/**
 * Settles as `work` does, or rejects with ReaderTimeoutError after `timeLimitMs` milliseconds. `what` names the work
 * in the message of that error. If `work` fulfils after the limit, its value is passed to `onLate`, which can release
 * it.
 */
export function withTimeout<T>(
  clock: Clock,
  timeLimitMs: number,
  what: string,
  work: Promise<T>,
  onLate?: (value: T) => Promise<unknown>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = clock.setTimeout(() => {
      isLate = true
      reject(new ReaderTimeoutError(what, timeLimitMs))
    }, timeLimitMs)
    work
      .finally(() => clock.clearTimeout(timer))
      .then((value) => {
        if (isLate) onLate?.(value).catch(() => {})
        else resolve(value)
      }, reject)
  })
}
