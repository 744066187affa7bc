/** Operations that run once, awaited or subscribed to: the first use is Init, each input Update, its completion Final, unsubscribing abandons (PKCS#11 v2.20, 6.6 "Operations, sessions, and threads"). */
import { AbortedError, type AbortSignalLike, type TransmitOptions, type WaitReason } from '@webtoki/apdu'
import { NEVER, Observable, ReplaySubject, share, takeUntil } from 'rxjs'
import { Cancellation } from './cancellation.ts'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
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

/** How a caller waits for an operation. */
export interface ResultOptions<T> {
  /**
   * Its abort rejects this caller's promise with CKR_FUNCTION_CANCELED, the reason as `cause`. The operation is abandoned,
   * and the session free at once, unless another caller still waits for the same run. A signal that has already aborted
   * begins nothing.
   */
  readonly signal?: AbortSignalLike | undefined
  /**
   * Hears each event, `done` included. A caller that joins a run hears the latest event first. An error that it throws is
   * reported as rxjs reports unhandled errors, and does not change the result.
   */
  readonly onEvent?: ((event: OperationEvent<T>) => void) | undefined
}

/**
 * An operation that runs once. The first use begins it, and is its Init: an `await`, a `result()` or a subscription to
 * `events$`. All callers of `then` and `result` share that run; any other second use fails with CKR_ARGUMENTS_BAD. Before a
 * result or an error is told, the operation has left its session, so the next one can begin in that very call.
 *
 * Init is synchronous in `result`, `then` and `subscribe`; JavaScript calls `then` a microtask after an `await`.
 *
 * RxJS takes an operation for a promise: `from(operation)` and `switchMap(() => operation)` emit the result, and
 * unsubscribing from them does **not** cancel. Use `events$` there, or a signal.
 *
 * ```ts
 * const signature = await session.sign(mechanism, key, data)
 * const same = await session.sign(mechanism, key, data).result({ signal, onEvent: ({ phase }) => show(phase) })
 * const subscription = session.sign(mechanism, key, data).events$.subscribe({ next: show, error: explain })
 * ```
 */
export class Operation<T> implements PromiseLike<T> {
  /**
   * Cold, and for one subscriber: subscribing is Init, unsubscribing abandons. Replays nothing; completes after `done`. Errors
   * with CKR_ARGUMENTS_BAD if the operation was begun before, so that no operator spends a second PIN attempt or reads a
   * source again by accident. To retry, make a new operation: `defer(() => session.sign(…).events$).pipe(retry(1))`.
   */
  readonly events$: Observable<OperationEvent<T>>
  /** The run that all callers of `then` and `result` share; abandoned when the last of them leaves. */
  readonly #shared$: Observable<OperationEvent<T>>

  /** `events$`: cold, ends in `done` or an error. Sessions make operations; a test may make one of `of({ phase: 'done', value })`. */
  constructor(events$: Observable<OperationEvent<T>>) {
    let isBegun = false
    this.events$ = new Observable((subscriber) => {
      if (isBegun) {
        const detail =
          'an operation runs once; to retry, make a new one: defer(() => session.sign(…).events$)'
        subscriber.error(new CryptokiError(CKR.ARGUMENTS_BAD, { detail }))
        return
      }
      isBegun = true
      events$.subscribe(subscriber)
    })
    // Kept after the end, for those who ask later. An abandoned run is forgotten: who asks then is told that it ran.
    const connector = () => new ReplaySubject<OperationEvent<T>>(1)
    this.#shared$ = this.events$.pipe(share({ connector, resetOnComplete: false, resetOnError: false }))
  }

  /** Resolves to the operation's value. Rejects with its error, or with CKR_FUNCTION_CANCELED when the signal aborts. */
  result({ signal, onEvent }: ResultOptions<T> = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#shared$.pipe(takeUntil(canceledBy(signal))).subscribe({
        next: (event) => {
          if (event.phase === 'done') resolve(event.value)
          onEvent?.(event)
        },
        error: reject,
        complete: () => reject(new Error('The operation completed without a result.')),
      })
    })
  }

  /** What `await` calls: `result()` without options. */
  // oxlint-disable-next-line unicorn/no-thenable -- Awaiting an operation is what runs it.
  then<R = T, E = never>(
    onFulfilled?: ((value: T) => R | PromiseLike<R>) | null,
    onRejected?: ((reason: any) => E | PromiseLike<E>) | null,
  ): Promise<R | E> {
    return this.result().then(onFulfilled, onRejected)
  }
}

/** Errors when the signal aborts; its listener leaves with the subscription. */
function canceledBy(signal: AbortSignalLike | undefined): Observable<never> {
  if (signal === undefined) return NEVER
  return new Observable((subscriber) => {
    const abort = (): void =>
      subscriber.error(new CryptokiError(CKR.FUNCTION_CANCELED, { cause: signal.reason }))
    if (signal.aborted) {
      abort()
      return undefined
    }
    signal.addEventListener('abort', abort, { once: true })
    return () => signal.removeEventListener('abort', abort)
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

/** Makes the operation around `init`, which is synchronous: what it refuses, it refuses before anything is touched. */
export function operation<T>(init: () => Started<T>, translate: (error: unknown) => unknown): Operation<T> {
  const events$ = new Observable<OperationEvent<T>>((subscriber) => {
    let started: Started<T>
    try {
      started = init()
    } catch (error) {
      subscriber.error(translate(error))
      return
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
    // Not returned at the end: an event may be told before that, and whoever hears it may unsubscribe.
    subscriber.add(() => settle(new AbortedError()))
    for (const active of started.operations) {
      active.onCancel = (error) => {
        if (settle(error)) subscriber.error(error)
      }
    }
    started.announce?.()
    // Whoever was told of its end has ended this one in turn.
    if (settled) return
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
  })
  return new Operation(events$)
}
