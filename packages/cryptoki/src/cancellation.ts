/** A signal of our own: the part of AbortController that we use, for rooms without DOM types. */
import type { AbortSignalLike } from '@webtoki/apdu'

/** Aborts once; who listens too late is not called, but sees `aborted`. */
export class Cancellation implements AbortSignalLike {
  #aborted = false
  #reason: unknown
  readonly #listeners = new Map<() => void, () => void>()

  get aborted(): boolean {
    return this.#aborted
  }

  get reason(): unknown {
    return this.#reason
  }

  addEventListener(_type: 'abort', listener: () => void, options?: { once?: boolean }): void {
    if (this.#aborted) return
    this.#listeners.set(listener, () => {
      if (options?.once === true) this.#listeners.delete(listener)
      listener()
    })
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  abort(reason: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    const listeners = [...this.#listeners.values()]
    this.#listeners.clear()
    for (const listener of listeners) {
      try {
        listener()
      } catch (error) {
        // As with an AbortSignal: a page whose dialog cannot close is told, and the others hear of the end all the same.
        void Promise.reject(error as Error)
      }
    }
  }
}
