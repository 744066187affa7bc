/** C_WaitForSlotEvent: card insertion and removal (PKCS#11 v3.0, 5.5). A separate module, because a login does not need it. */
import type { AbortSignalLike } from '@webtoki/apdu'
import {
  catchError,
  combineLatest,
  defer,
  EMPTY,
  endWith,
  ignoreElements,
  map,
  mergeMap,
  type Observable,
  of,
  scan,
  startWith,
  switchMap,
  takeUntil,
} from 'rxjs'
import { CKR } from './constants.ts'
import type { Cryptoki } from './cryptoki.ts'
import { CryptokiError } from './errors.ts'
import type { Slot } from './slot.ts'

/** A card was inserted into a slot or removed from it. Unplugging a reader removes its card. */
export interface SlotEvent {
  readonly slot: Slot
  readonly present: boolean
}

/**
 * Emits card insertions and removals. Hot; replays nothing: cards present at the subscription are not events. Each subscriber
 * receives every event. Completes when the library is closed.
 */
export function slotEvents({ slots$ }: Pick<Cryptoki, 'slots$'>): Observable<SlotEvent> {
  const closed$ = slots$.pipe(ignoreElements(), endWith(undefined))
  return defer(() => {
    /** The last known presence of each slot; undefined for slots that existed at the subscription and have not reported yet. */
    let before: ReadonlyMap<Slot, boolean | undefined> | undefined
    return slots$.pipe(
      switchMap((slots) =>
        slots.length === 0
          ? of([])
          : combineLatest(
              slots.map((slot) => presenceOf(slot, before?.has(slot) === false ? false : before?.get(slot))),
            ),
      ),
      mergeMap((entries) => {
        const [old, now] = [before, new Map(entries)]
        before = now
        if (old === undefined) return []
        return [...new Set([...old.keys(), ...now.keys()])]
          .map((slot) => ({
            slot,
            was: old.has(slot) ? old.get(slot) : false,
            present: now.get(slot) === true,
          }))
          .filter(({ was, present }) => was !== undefined && was !== present)
          .map(({ slot, present }) => Object.freeze({ slot, present }))
      }),
      takeUntil(closed$),
    )
  })
}

function presenceOf(
  slot: Slot,
  known: boolean | undefined,
): Observable<readonly [Slot, boolean | undefined]> {
  return slot.presence$.pipe(
    // An unreadable reader, such as one that is being closed, reports nothing about its card: keep the last value.
    scan(
      (was: boolean | undefined, presence) => (presence === 'unreadable' ? was : presence !== 'empty'),
      known,
    ),
    // A slot that has not reported yet, or that fails, must not delay the others.
    startWith(known),
    catchError(() => EMPTY),
    map((isPresent) => [slot, isPresent] as const),
  )
}

/** Options of `waitForSlotEvent`. */
export interface WaitOptions {
  /** False is CKF_DONT_BLOCK. Default: true. */
  readonly block?: boolean
  /** Cancels the wait; the call rejects with CKR_FUNCTION_CANCELED. */
  readonly signal?: AbortSignalLike
}

/**
 * C_WaitForSlotEvent: resolves to the next event. Each event is reported by a single call. Events are recorded from the first call
 * for a library; if several events of one slot are pending, only the latest is reported. Rejects with CKR_NO_EVENT if `block` is
 * false and no event is pending, and with CKR_CRYPTOKI_NOT_INITIALIZED if the library is closed before or during the call.
 */
export async function waitForSlotEvent(
  cryptoki: Pick<Cryptoki, 'slots$'>,
  options: WaitOptions = {},
): Promise<SlotEvent> {
  const flags = flagsOf.get(cryptoki) ?? new SlotFlags(slotEvents(cryptoki))
  flagsOf.set(cryptoki, flags)
  return flags.next(options)
}

interface Waiter {
  resolve(event: SlotEvent): void
  reject(error: CryptokiError): void
}

/** The pending event of each slot: set by an event, and cleared by the call that reports it. */
class SlotFlags {
  readonly #pending = new Map<Slot, SlotEvent>()
  readonly #waiters = new Set<Waiter>()
  #isClosed = false

  constructor(events$: Observable<SlotEvent>) {
    events$.subscribe({
      next: (event) => {
        const [waiter] = this.#waiters
        if (waiter === undefined) this.#pending.set(event.slot, event)
        else waiter.resolve(event)
      },
      complete: () => {
        this.#isClosed = true
        for (const waiter of this.#waiters) waiter.reject(closed())
      },
    })
  }

  async next({ block = true, signal }: WaitOptions): Promise<SlotEvent> {
    if (this.#isClosed) throw closed()
    if (signal?.aborted) throw canceled(signal)
    const [pending] = this.#pending.values()
    if (pending !== undefined) {
      this.#pending.delete(pending.slot)
      return pending
    }
    if (!block) throw new CryptokiError(CKR.NO_EVENT)
    let waiter: Waiter | undefined
    let abort: (() => void) | undefined
    try {
      return await new Promise<SlotEvent>((resolve, reject) => {
        // Removed synchronously, so that a second event in the same turn goes to the next waiter.
        const remove = (): boolean => this.#waiters.delete(waiter as Waiter)
        waiter = {
          resolve: (event) => remove() && resolve(event),
          reject: (error) => remove() && reject(error),
        }
        this.#waiters.add(waiter)
        abort = () => waiter?.reject(canceled(signal))
        signal?.addEventListener('abort', abort, { once: true })
      })
    } finally {
      if (abort !== undefined) signal?.removeEventListener('abort', abort)
    }
  }
}

/** The pending events of each library. */
const flagsOf = /* @__PURE__ */ new WeakMap<object, SlotFlags>()

function closed(): CryptokiError {
  return new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
}

function canceled(signal: AbortSignalLike | undefined): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { cause: signal?.reason })
}
