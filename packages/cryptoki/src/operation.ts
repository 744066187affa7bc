/** Operations that run once, awaited or subscribed to: the first use is Init, each input Update, its completion Final, unsubscribing abandons (PKCS#11 v2.20, 13.1 "Operations, sessions, and threads"). */
import { AbortedError, type AbortSignalLike } from '@webtoki/apdu'
import { NEVER, Observable, ReplaySubject, share, type Subscriber, takeUntil } from 'rxjs'
import { CKR } from './constants.ts'
import type { ActiveOperation, SinglePartCall } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { type OperationEvent, Progress } from './progress.ts'

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

/** What a successful Init leaves: the places taken, and the work from Update to Final. */
export interface Started<T> {
  readonly operations: readonly (ActiveOperation | SinglePartCall)[]
  /** Tells those that had to end for this one. Who hears of it may begin another at once, which finds this one in its place. */
  readonly announce?: () => void
  /** Hears of a failure when the operation has ended, and before the caller does. */
  readonly failed?: (error: unknown) => void
  run(progress: Progress): Promise<T>
}

/** Where an Init waits for its place (`onConflict: 'wait'`). */
export interface WaitingLine {
  mustWait(): boolean
  /** `begin` is called once it fits, `refuse` if that can be no more. Returns how to leave the line. */
  wait(begin: () => void, refuse: (error: CryptokiError) => void): () => void
}

/**
 * Makes the operation around `init`, which is synchronous: what it refuses, it refuses before anything is touched. With a
 * line, an Init that does not fit yet is made when it does.
 */
export function operation<T>(
  init: () => Started<T>,
  translate: (error: unknown) => unknown,
  line?: WaitingLine,
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
      if (!line?.mustWait()) {
        begin(subscriber)
        return
      }
      const leave = line.wait(
        () => begin(subscriber),
        (error) => subscriber.error(error),
      )
      subscriber.add(leave)
      subscriber.next({ phase: 'awaiting-card', why: 'queued' })
    }),
  )
}

/** From Init to the end. */
function drive<T>(
  started: Started<T>,
  subscriber: Subscriber<OperationEvent<T>>,
  translate: (error: unknown) => unknown,
): void {
  const progress = new Progress((event) => subscriber.next(event))
  let settled = false
  // The one place where an operation ends: whoever comes second finds nothing left to do.
  const settle = (reason: unknown): boolean => {
    if (settled) return false
    settled = true
    for (const active of started.operations) active.release()
    progress.abort(reason)
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
}
