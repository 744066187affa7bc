/** Operations as cold Observables: subscribe is Init, each input Update, its completion Final, unsubscribing abandons (PKCS#11 v2.20, 6.6 "Operations, sessions, and threads"). */
import { AbortedError, type TransmitOptions, type WaitReason } from '@webtoki/apdu'
import { Observable } from 'rxjs'
import { Cancellation } from './cancellation.ts'
import type { OperationType } from './operation-rules.ts'

/** What a running operation tells; the last event is `done`. */
export type OperationEvent<T> =
  | { readonly phase: 'collecting'; readonly bytes: number }
  | { readonly phase: 'output'; readonly chunk: Uint8Array }
  | { readonly phase: 'awaiting-pin' }
  | { readonly phase: 'awaiting-pin-pad' }
  | { readonly phase: 'awaiting-touch' }
  | { readonly phase: 'awaiting-card'; readonly why: 'queued' | 'working' }
  | { readonly phase: 'done'; readonly value: T }

/**
 * Cold: each subscription is an Init of its own, so subscribe once (a second subscription, while the first runs,
 * errors with CKR_OPERATION_ACTIVE and harms nothing). Replays nothing; completes after `done`. The session is free
 * again before `done` or the error is emitted. Unsubscribing abandons.
 */
export type Operation<T> = Observable<OperationEvent<T>>

/** Runs an operation to its end and resolves to its value. */
export function result<T>(operation: Operation<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let value: { readonly done: T } | undefined
    operation.subscribe({
      next: (event) => {
        if (event.phase === 'done') value = { done: event.value }
      },
      error: reject,
      complete: () => {
        if (value === undefined) reject(new Error('The operation completed without a result.'))
        else resolve(value.done)
      },
    })
  })
}

/** One place in a session, held by one operation from Init until it ends. */
export class ActiveOperation {
  readonly type: OperationType
  /** Whether logging out ends it: it holds a private key, or it is a search. */
  readonly endsOnLogout: boolean
  readonly #leave: (operation: ActiveOperation) => void
  #active = true
  /** Set by whoever runs it: told when the operation is ended from outside. */
  onCancel: (error: unknown) => void = () => {}

  constructor(type: OperationType, endsOnLogout: boolean, leave: (operation: ActiveOperation) => void) {
    this.type = type
    this.endsOnLogout = endsOnLogout
    this.#leave = leave
  }

  get active(): boolean {
    return this.#active
  }

  /** Frees the place; false where it was free already. */
  release(): boolean {
    if (!this.#active) return false
    this.#active = false
    this.#leave(this)
    return true
  }

  /** Ends it from outside: the place is free before the error is told. */
  cancel(error: unknown): void {
    if (this.release()) this.onCancel(error)
  }
}

/** What a running operation may do: tell how far it is, and hear that it has ended. */
export class Progress {
  readonly signal: Cancellation = new Cancellation()
  readonly #next: (event: OperationEvent<never>) => void

  constructor(next: (event: OperationEvent<never>) => void) {
    this.#next = next
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

/** What a successful Init leaves: the places taken, and the work from Update to Final. */
export interface Started<T> {
  readonly operations: readonly ActiveOperation[]
  /** Tells those that had to end for this one. Who hears of it may begin another at once, which finds this one in its place. */
  readonly announce?: () => void
  /** Hears of a failure when the operation has ended, and before the caller does. */
  readonly failed?: (error: unknown) => void
  run(progress: Progress): Promise<T>
}

/** Makes the Observable around `init`, which is synchronous: what it refuses, it refuses before anything is touched. */
export function operation<T>(init: () => Started<T>, translate: (error: unknown) => unknown): Operation<T> {
  return new Observable((subscriber) => {
    let started: Started<T>
    try {
      started = init()
    } catch (error) {
      subscriber.error(translate(error))
      return undefined
    }
    const progress = new Progress((event) => subscriber.next(event))
    let settled = false
    // The one place where an operation ends: whoever comes second finds nothing left to do.
    const settle = (reason: unknown): boolean => {
      if (settled) return false
      settled = true
      for (const active of started.operations) active.release()
      progress.signal.abort(reason)
      return true
    }
    for (const active of started.operations) {
      active.onCancel = (error) => {
        if (settle(error)) subscriber.error(error)
      }
    }
    started.announce?.()
    // Whoever was told of its end has ended this one in turn.
    if (settled) return undefined
    started.run(progress).then(
      (value) => {
        if (!settle(undefined)) return
        subscriber.next({ phase: 'done', value })
        subscriber.complete()
      },
      (error: unknown) => {
        const translated = translate(error)
        const isNews = settle(translated)
        started.failed?.(error)
        if (isNews) subscriber.error(translated)
      },
    )
    return () => {
      settle(new AbortedError())
    }
  })
}
