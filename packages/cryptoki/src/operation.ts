/**
 * Operations that run once, awaited or subscribed to: the first use is Init, each input Update, its completion Final, and
 * unsubscribing abandons the operation (PKCS#11 v2.20, 13.1 "Operations, sessions, and threads").
 */
import { AbortedError, type AbortSignalLike } from '@webtoki/apdu'
import { NEVER, Observable, ReplaySubject, share, type Subscriber, takeUntil } from 'rxjs'
import { CKR } from './constants.ts'
import type { ActiveOperation, SinglePartCall } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { type OperationEvent, Progress } from './progress.ts'

/** Options of `Operation.result`. */
export interface ResultOptions<T> {
  /**
   * When the signal aborts, this caller's promise rejects with CKR_FUNCTION_CANCELED and the reason as `cause`. Unless another
   * caller still waits for the same run, the operation is abandoned and its session is free at once. If the signal has
   * already aborted, nothing is started.
   */
  readonly signal?: AbortSignalLike | undefined
  /**
   * Called with each event, including `done`. A caller that joins a run first receives the latest event. RxJS reports an error
   * thrown by the listener as unhandled; the error does not change the result.
   */
  readonly onEvent?: ((event: OperationEvent<T>) => void) | undefined
}

/**
 * An operation that runs once. The first use starts it and is its Init: an `await`, a call of `result()` or a subscription to
 * `events$`. All callers of `then` and `result` share the run; any other second use fails with CKR_ARGUMENTS_BAD. The
 * operation is released before it reports its result or error, so the next operation can be started in that callback.
 *
 * Init is synchronous in `result`, `then` and `subscribe`. With `await`, JavaScript calls `then` one microtask later.
 *
 * RxJS treats an operation as a promise: `from(operation)` and `switchMap(() => operation)` emit the result, and
 * unsubscribing from them does **not** cancel the operation. Use `events$` or a signal instead.
 *
 * ```ts
 * const signature = await session.sign(mechanism, key, data)
 * const same = await session.sign(mechanism, key, data).result({ signal, onEvent: ({ phase }) => show(phase) })
 * const subscription = session.sign(mechanism, key, data).events$.subscribe({ next: show, error: explain })
 * ```
 */
export class Operation<T> implements PromiseLike<T> {
  /**
   * Cold, for one subscriber: subscribing is Init, unsubscribing abandons the operation. Replays nothing; completes after
   * `done`. Errors with CKR_ARGUMENTS_BAD if the operation was started before, so that an operator cannot accidentally use a
   * second PIN attempt or read a source again. To retry, create a new operation:
   * `defer(() => session.sign(…).events$).pipe(retry(1))`.
   */
  readonly events$: Observable<OperationEvent<T>>
  /** The run that all callers of `then` and `result` share. It is abandoned when the last of them unsubscribes. */
  readonly #shared$: Observable<OperationEvent<T>>

  /**
   * Called by sessions. `events$` is cold and ends with `done` or an error. A test can create an operation from
   * `of({ phase: 'done', value })`.
   */
  constructor(events$: Observable<OperationEvent<T>>) {
    let isBegun = false
    this.events$ = new Observable((subscriber) => {
      if (isBegun) {
        const detail =
          'an operation runs once; to retry, create a new one: defer(() => session.sign(…).events$)'
        subscriber.error(new CryptokiError(CKR.ARGUMENTS_BAD, { detail }))
        return
      }
      isBegun = true
      events$.subscribe(subscriber)
    })
    // The outcome is kept for later callers. An abandoned run is reset; a later caller then gets the error "runs once".
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

/** Errors when the signal aborts. Unsubscribing removes its listener from the signal. */
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

/** The result of a successful Init: the active operations, and the work from Update to Final. */
export interface Started<T> {
  readonly operations: readonly (ActiveOperation | SinglePartCall)[]
  /** Reports their end to the abandoned operations. A listener may start another operation, which may end this one in turn. */
  readonly notify?: () => void
  /** Called with the error of a failed run, after the operation is released and before the caller receives the error. */
  readonly onFailure?: (error: unknown) => void
  run(progress: Progress): Promise<T>
}

/** The queue of Inits that wait for active operations to end (`onConflict: 'wait'`). */
export interface InitQueue {
  mustWait(): boolean
  /** Calls `begin` when the Init fits, or `refuse` if the session ends first. Returns a function that leaves the queue. */
  wait(begin: () => void, refuse: (error: CryptokiError) => void): () => void
}

/**
 * Creates an operation from `init`, which is synchronous and throws before any card or data is accessed. With a queue, an Init
 * that does not fit yet waits until it does.
 */
export function operation<T>(
  init: () => Started<T>,
  translate: (error: unknown) => unknown,
  queue?: InitQueue,
): Operation<T> {
  const begin = (subscriber: Subscriber<OperationEvent<T>>): void => {
    let started: Started<T>
    try {
      started = init()
    } catch (error) {
      subscriber.error(translate(error))
      return
    }
    drive(started, subscriber, translate)
  }
  return new Operation(
    new Observable((subscriber) => {
      if (!queue?.mustWait()) {
        begin(subscriber)
        return
      }
      const leave = queue.wait(
        () => begin(subscriber),
        (error) => subscriber.error(error),
      )
      subscriber.add(leave)
      subscriber.next({ phase: 'awaiting-card', why: 'queued' })
    }),
  )
}

/** Runs a started operation to its end. */
function drive<T>(
  started: Started<T>,
  subscriber: Subscriber<OperationEvent<T>>,
  translate: (error: unknown) => unknown,
): void {
  const progress = new Progress((event) => subscriber.next(event))
  let settled = false
  // The only place where an operation ends. All later calls return false.
  const settle = (reason: unknown): boolean => {
    if (settled) return false
    settled = true
    for (const active of started.operations) active.release()
    progress.abort(reason)
    return true
  }
  // Added now, not at the end of this function, because a listener of the events below may unsubscribe.
  subscriber.add(() => settle(new AbortedError()))
  for (const active of started.operations) {
    active.onCancel = (error) => {
      if (settle(error)) subscriber.error(error)
    }
  }
  started.notify?.()
  // A listener of an abandoned operation has ended this one.
  if (settled) return
  started.run(progress).then(
    (value) => {
      if (!settle(undefined)) return
      subscriber.next({ phase: 'done', value })
      subscriber.complete()
    },
    (error: unknown) => {
      const translated = translate(error)
      const isFirst = settle(translated)
      started.onFailure?.(error)
      if (isFirst) subscriber.error(translated)
    },
  )
}
