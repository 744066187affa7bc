/**
 * The locks and the channel that the tabs of one site share. The browser's own are tested in the end-to-end tests in
 * Chromium.
 */
import type { ReaderChannel, ReaderLocks } from '@webtoki/ccid'

/** The locks of one site (Web Locks API, 3.4). */
export class SiteLocks implements ReaderLocks {
  readonly #held = new Set<string>()
  readonly #queues = new Map<string, (() => void)[]>()

  async request(
    name: string,
    { ifAvailable = false, signal }: { ifAvailable?: boolean; signal?: AbortSignal },
    work: (lock: unknown) => Promise<void> | undefined,
  ): Promise<unknown> {
    if (this.#held.has(name)) {
      if (ifAvailable) return work(null)
      await new Promise<void>((resolve, reject) => {
        const over = (): void => {
          signal?.removeEventListener('abort', gone)
          resolve()
        }
        const gone = (): void => {
          this.#queues.set(
            name,
            (this.#queues.get(name) ?? []).filter((other) => other !== over),
          )
          reject(new Error('AbortError'))
        }
        this.#queues.set(name, [...(this.#queues.get(name) ?? []), over])
        signal?.addEventListener('abort', gone, { once: true })
      })
    }
    this.#held.add(name)
    try {
      return await work({})
    } finally {
      this.#held.delete(name)
      this.#queues.get(name)?.shift()?.()
    }
  }
}

type Listener = (event: { readonly data: unknown }) => void

/** The channel of one site: copies each message to every other tab in a task of its own (HTML, 9.5). */
export class SiteChannel {
  /** All messages posted so far. */
  readonly posted: unknown[] = []
  readonly #ends = new Set<Set<Listener>>()

  /** Returns the channel of one tab. */
  tab(): ReaderChannel {
    const own = new Set<Listener>()
    this.#ends.add(own)
    return {
      postMessage: (message) => {
        this.posted.push(structuredClone(message))
        for (const end of this.#ends) {
          if (end === own) continue
          setImmediate(() => {
            for (const listener of end) listener({ data: structuredClone(message) })
          })
        }
      },
      addEventListener: (_, listener) => void own.add(listener),
      removeEventListener: (_, listener) => void own.delete(listener),
    }
  }
}
