/** C_WaitForSlotEvent: cards that come and go (PKCS#11 v3.0, 5.5). Apart from the library: a login does without. */
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

/** A card was put into a slot, or left it; a reader that is unplugged takes its card along. */
export interface SlotEvent {
  readonly slot: Slot
  readonly present: boolean
}

/**
 * Hot; replays nothing: cards that are there at the subscription are not events. Each subscription is one waiting caller and
 * sees every event. Completes when the library is closed.
 */
export function slotEvents({ slots$ }: Pick<Cryptoki, 'slots$'>): Observable<SlotEvent> {
  const closed$ = slots$.pipe(ignoreElements(), endWith(undefined))
  return defer(() => {
    /** What is known of each slot; of one that was there at the subscription, nothing until it tells. */
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
    // A reader that cannot be read, as one that is being given back, tells nothing of its card.
    scan(
      (was: boolean | undefined, presence) => (presence === 'unreadable' ? was : presence !== 'empty'),
      known,
    ),
    // One that tells nothing yet, or that fails, holds up no other.
    startWith(known),
    catchError(() => EMPTY),
    map((isPresent) => [slot, isPresent] as const),
  )
}

/** Options of `waitForSlotEvent`. */
export interface WaitOptions {
  /** False is CKF_DONT_BLOCK. Default: true. */
  readonly block?: boolean
  /** Ends the wait; rejects with CKR_FUNCTION_CANCELED. */
  readonly signal?: AbortSignalLike
}

/**
 * C_WaitForSlotEvent: the next event, each of which one call reports. Events count from the first call for a library on; of
 * several of one slot that nobody waited for the latest is reported. Rejects with CKR_NO_EVENT if there is none and `block`
 * is false, with CKR_CRYPTOKI_NOT_INITIALIZED if the library is closed, also while the call waits.
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

/** One flag a slot: set by an event, cleared by the call that reports it. */
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
        // Out of the line at once: the next event of this very turn is the next caller's.
        const leave = (): boolean => this.#waiters.delete(waiter as Waiter)
        waiter = {
          resolve: (event) => leave() && resolve(event),
          reject: (error) => leave() && reject(error),
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

/** By library. */
const flagsOf = /* @__PURE__ */ new WeakMap<object, SlotFlags>()

function closed(): CryptokiError {
  return new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
}

function canceled(signal: AbortSignalLike | undefined): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { cause: signal?.reason })
}
