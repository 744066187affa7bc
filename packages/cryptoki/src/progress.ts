/** The events of a running operation, and the signal that ends it. */
import type { AbortSignalLike, TransmitOptions, WaitReason } from '@webtoki/apdu'
import type { CkObject } from './object.ts'

/**
 * An event of an operation. 'collecting': `bytes` of the data have been processed. 'output': a part of a cipher's output.
 * 'found': an object of a search. The 'awaiting' phases: what the operation waits for. 'done': the result, always last.
 */
export type OperationEvent<T> =
  | { readonly phase: 'collecting'; readonly bytes: number }
  | { readonly phase: 'output'; readonly chunk: Uint8Array }
  | { readonly phase: 'found'; readonly object: CkObject }
  | { readonly phase: 'awaiting-pin' }
  | { readonly phase: 'awaiting-pin-pad' }
  | { readonly phase: 'awaiting-touch' }
  | { readonly phase: 'awaiting-card'; readonly why: 'queued' | 'working' }
  | { readonly phase: 'done'; readonly value: T }

/** Reports the events of a running operation, and signals its end to the work in progress. */
export class Progress {
  readonly #abortController = new AbortController()
  readonly #next: (event: OperationEvent<never>) => void

  constructor(next: (event: OperationEvent<never>) => void) {
    this.#next = next
  }

  /** Aborts when the operation ends. */
  get signal(): AbortSignalLike {
    return this.#abortController.signal
  }

  /** Ends the work of the operation. Later events are dropped. */
  abort(reason: unknown): void {
    this.#abortController.abort(reason)
  }

  report(event: OperationEvent<never>): void {
    if (!this.signal.aborted) this.#next(event)
  }

  /** Throws the reason if the operation has ended in the meantime. */
  check(): void {
    if (this.signal.aborted) throw this.signal.reason
  }

  /** Options for calls to the card: they pass the signal, and report waits as events. */
  get transmitOptions(): TransmitOptions {
    return { signal: this.signal, onWait: (why) => this.report(waitEvents[why]) }
  }
}

const waitEvents: Readonly<Record<WaitReason, OperationEvent<never>>> = {
  queue: { phase: 'awaiting-card', why: 'queued' },
  'time-extension': { phase: 'awaiting-card', why: 'working' },
  touch: { phase: 'awaiting-touch' },
  'pin-pad': { phase: 'awaiting-pin-pad' },
}
