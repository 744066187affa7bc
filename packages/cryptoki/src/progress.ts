/** How far an operation is, and the signal that ends it. */
import type { AbortSignalLike, TransmitOptions, WaitReason } from '@webtoki/apdu'
import type { CkObject } from './object.ts'

/** What a running operation tells; the last event is `done`. */
export type OperationEvent<T> =
  | { readonly phase: 'collecting'; readonly bytes: number }
  | { readonly phase: 'output'; readonly chunk: Uint8Array }
  | { readonly phase: 'found'; readonly object: CkObject }
  | { readonly phase: 'awaiting-pin' }
  | { readonly phase: 'awaiting-pin-pad' }
  | { readonly phase: 'awaiting-touch' }
  | { readonly phase: 'awaiting-card'; readonly why: 'queued' | 'working' }
  | { readonly phase: 'done'; readonly value: T }

/** What a running operation may do: tell how far it is, and hear that it has ended. */
export class Progress {
  readonly #ending = new AbortController()
  readonly #next: (event: OperationEvent<never>) => void

  constructor(next: (event: OperationEvent<never>) => void) {
    this.#next = next
  }

  get signal(): AbortSignalLike {
    return this.#ending.signal
  }

  abort(reason: unknown): void {
    this.#ending.abort(reason)
  }

  tell(event: OperationEvent<never>): void {
    if (!this.signal.aborted) this.#next(event)
  }

  /** Throws the reason where the operation has ended meanwhile. */
  check(): void {
    if (this.signal.aborted) throw this.signal.reason
  }

  /** For calls to the card: the signal goes down, waits come up as events. */
  get transmitOptions(): TransmitOptions {
    return { signal: this.signal, onWait: (why) => this.tell(waitEvents[why]) }
  }
}

const waitEvents: Readonly<Record<WaitReason, OperationEvent<never>>> = {
  queue: { phase: 'awaiting-card', why: 'queued' },
  'time-extension': { phase: 'awaiting-card', why: 'working' },
  touch: { phase: 'awaiting-touch' },
  'pin-pad': { phase: 'awaiting-pin-pad' },
}
