/**
 * The browser APIs through which tabs of one site share readers (Web Locks API, BroadcastChannel). Tests and other
 * hosts supply their own.
 */
import type { Observable } from 'rxjs'

/** The part of `navigator.locks` that is used. */
export interface ReaderLocks {
  request(
    name: string,
    options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal },
    work: (lock: unknown) => Promise<void> | undefined,
  ): Promise<unknown>
}

/** The part of a `BroadcastChannel` that is used. */
export interface ReaderChannel {
  postMessage(message: unknown): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  removeEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
}

/** How a source shares its readers with other tabs. */
export interface Tabs {
  readonly locks: ReaderLocks
  readonly channel: ReaderChannel | undefined
  /** Emits when the person activates this tab. */
  readonly activated$: Observable<unknown> | undefined
  /** True if a missing member defaults to the browser's own. */
  readonly usesBrowserDefaults: boolean
}
