/** Searches cards for certificates. `certificates()`, `login()` and `sign()` share it, so they search the same slots in the same order. */
import {
  type Attributes,
  CKA,
  CKO,
  CKR,
  type CkObject,
  isCryptokiError,
  type OperationEvent,
  type Session,
  type Slot,
} from '@webtoki/cryptoki'
import { type ReaderProblem, ReaderTimeoutError } from '@webtoki/apdu'
import { lastValueFrom, Observable, throwError, timeout } from 'rxjs'
import { checkSignal } from './abort.ts'
import {
  type CardCertificate,
  type CertificatePurpose,
  describeCertificate,
  describeWithoutKey,
  inOrderFor,
  inOrderOfFitness,
} from './card-certificate.ts'
import { isWebtokiError } from './errors.ts'

/** Options of a search. */
export interface CertificateSearch {
  readonly purpose: CertificatePurpose
  /** False to stop reading a card at the first certificate that a verifier would accept. */
  readonly wantsAll: boolean
  readonly signal: AbortSignal | undefined
  readonly onEvent: (event: OperationEvent<unknown>) => void
  /** Called for each slot that does not respond in time. */
  readonly onSilent?: ((slot: Slot, problem: ReaderProblem) => void) | undefined
}

/** How long a slot may take for each response before the search skips it. */
const SILENCE_MS = 15_000

/** Searches slots and collects the results. */
export class CertificateFinder {
  readonly #search: CertificateSearch
  readonly #searched = new Set<Slot>()
  readonly #found: CardCertificate[] = []
  #failed: { readonly error: unknown } | undefined
  #sawCard = false

  constructor(search: CertificateSearch) {
    this.#search = search
  }

  /** The certificates found so far, best first. */
  get found(): readonly CardCertificate[] {
    return inOrderFor(this.#search.purpose, this.#found)
  }

  /** True if a certificate was found that a verifier would accept. */
  get isDone(): boolean {
    return this.#found.some(({ fault }) => fault === undefined)
  }

  /** The first error other than an empty slot. */
  get failed(): { readonly error: unknown } | undefined {
    return this.#failed
  }

  /** True if any slot had a card with a supported application. */
  get sawCard(): boolean {
    return this.#sawCard
  }

  /**
   * Searches slots in parallel, each once. A card that fails does not affect the others. Empty slots are searched too, because
   * the reader may have lost the notification of an inserted card; an empty slot is not a failure.
   */
  async lookAt(slots: readonly Slot[]): Promise<void> {
    const next = slots.filter((slot) => !this.#searched.has(slot))
    for (const slot of next) this.#searched.add(slot)
    await Promise.all(
      next.map(async (slot) => {
        try {
          await this.#inTime(slot)
        } catch (error) {
          checkSignal(this.#search.signal)
          if (!isEmptySlot(error)) this.#unreadable(error)
        }
      }),
    )
  }

  /** Searches one slot. Rejects with ReaderTimeoutError if a response takes too long. */
  async #inTime(slot: Slot): Promise<void> {
    const expired = (): Observable<never> => {
      const error = new ReaderTimeoutError(`the search for certificates in ${slot.name}`, SILENCE_MS)
      this.#search.onSilent?.(slot, { name: slot.name, error })
      return throwError(() => error)
    }
    const responses$ = new Observable<void>((observer) => {
      const search = this.#lookInto(slot, () => observer.next())
      search.then(
        () => observer.complete(),
        (error: unknown) => observer.error(error),
      )
    })
    await lastValueFrom(responses$.pipe(timeout({ each: SILENCE_MS, with: expired })), {
      defaultValue: undefined,
    })
  }

  /**
   * Reads a card's certificates one by one. A certificate that cannot be read is skipped; its error is reported if nothing
   * fits.
   */
  async #lookInto(slot: Slot, responded: () => void): Promise<void> {
    // A separate session, so that the search does not block a signature.
    const session = await slot.openSession()
    responded()
    this.#sawCard = true
    try {
      // Keys in the order of fitness, by what is known without reading the card.
      for (const asksEachTime of inOrderOfFitness(this.#search.purpose)) {
        const keys = {
          [CKA.CLASS]: CKO.PRIVATE_KEY,
          [CKA.PRIVATE]: true,
          [CKA.ALWAYS_AUTHENTICATE]: asksEachTime,
        }
        for await (const key of this.#each(session, keys, responded)) {
          const itsOwn = { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: key.get(CKA.ID) }
          const certificate = await this.#first(session, itsOwn, responded)
          const described = certificate && this.#described(() => describeCertificate(slot, certificate, key))
          if (described !== undefined && described.fault === undefined && !this.#search.wantsAll) return
        }
      }
      // Certificates without a visible key, because Webtoki does not support the key's algorithm.
      for await (const certificate of this.#each(session, { [CKA.CLASS]: CKO.CERTIFICATE }, responded)) {
        const itsKey = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: certificate.get(CKA.ID) }
        if ((await this.#first(session, itsKey, responded)) === undefined)
          this.#described(() => describeWithoutKey(slot, certificate))
      }
    } finally {
      await session.close()
    }
  }

  #described(describe: () => CardCertificate | undefined): CardCertificate | undefined {
    try {
      const described = describe()
      if (described === undefined || !described.purposes.includes(this.#search.purpose)) return undefined
      this.#found.push(described)
      return described
    } catch (error) {
      this.#unreadable(error)
      return undefined
    }
  }

  async *#each(
    session: Session,
    template: Attributes,
    responded: () => void,
  ): AsyncGenerator<CkObject, void, undefined> {
    for (let at = await this.#first(session, template, responded); at !== undefined; ) {
      yield at
      at = await this.#first(session, template, responded, at)
    }
  }

  async #first(
    session: Session,
    template: Attributes,
    responded: () => void,
    after?: CkObject,
  ): Promise<CkObject | undefined> {
    const { signal, onEvent } = this.#search
    const options = { max: 1, after, onUnreadable: (error: unknown) => this.#unreadable(error) }
    try {
      return (await session.findObjects(template, options).result({ signal, onEvent }))[0]
    } catch (error) {
      checkSignal(signal)
      this.#unreadable(error)
      return undefined
    } finally {
      responded()
    }
  }

  #unreadable(error: unknown): void {
    this.#failed ??= { error }
  }
}

/** True if the slot is or became empty. An additional slot without a token of this card has no cause. */
function isEmptySlot(error: unknown): boolean {
  if (!isCryptokiError(error, CKR.TOKEN_NOT_PRESENT)) return false
  const { cause } = error
  if (cause === undefined || isWebtokiError(cause, 'card/absent')) return true
  return isWebtokiError(cause, 'card/gone') && cause.why === 'removed'
}
