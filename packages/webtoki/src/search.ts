/** The one search for certificates: `certificates()`, `login()` and `sign()` look in the same slots, in the same order. */
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

/** What is looked for, and where. */
export interface CertificateSearch {
  readonly purpose: CertificatePurpose
  /** False: what follows the first that a verifier can accept is not read. */
  readonly wantsAll: boolean
  readonly signal: AbortSignal | undefined
  readonly onEvent: (event: OperationEvent<unknown>) => void
  /** Told each slot that gives no answer in time, which may be beside others that do. */
  readonly onSilent?: ((slot: Slot, problem: ReaderProblem) => void) | undefined
}

/** A slot that gives no answer for so long is left alone; each answer begins the time anew. */
const SILENCE_MS = 15_000

/** The slots that are looked at one after the other, and what became of them. */
export class CertificateFinder {
  readonly #search: CertificateSearch
  readonly #searched = new Set<Slot>()
  readonly #found: CardCertificate[] = []
  #failed: { readonly error: unknown } | undefined
  #sawCard = false

  constructor(search: CertificateSearch) {
    this.#search = search
  }

  /** The best first. */
  get found(): readonly CardCertificate[] {
    return inOrderFor(this.#search.purpose, this.#found)
  }

  /** One that a verifier can accept was found. */
  get isDone(): boolean {
    return this.#found.some(({ fault }) => fault === undefined)
  }

  /** The first error that was met, other than that a slot is empty. */
  get failed(): { readonly error: unknown } | undefined {
    return this.#failed
  }

  /** Whether any of the slots had a card with an application that is known. */
  get sawCard(): boolean {
    return this.#sawCard
  }

  /**
   * All at once. A strange or broken card in one reader hides none that fits in another. An empty slot is asked too, for the
   * notice of its card may have been lost, and its emptiness is no failure. Each has its own time: one that never answers
   * holds up no other.
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
          if (!isEmptiness(error)) this.#unreadable(error)
        }
      }),
    )
  }

  /** Rejects with ReaderTimeoutError if no answer comes; whatever comes later is not waited for. */
  async #inTime(slot: Slot): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    let isOver = false
    try {
      await new Promise<void>((resolve, reject) => {
        const expire = (): void => {
          const error = new ReaderTimeoutError(`the search for certificates in ${slot.name}`, SILENCE_MS)
          this.#search.onSilent?.(slot, { name: slot.name, error })
          reject(error)
        }
        const answered = (): void => {
          clearTimeout(timer)
          if (!isOver) timer = setTimeout(expire, SILENCE_MS)
        }
        answered()
        this.#lookInto(slot, answered).then(resolve, reject)
      })
    } finally {
      isOver = true
      clearTimeout(timer)
    }
  }

  /**
   * A card's certificates, one after the other. One that cannot be read hides none of the others, and is told if none fits.
   */
  async #lookInto(slot: Slot, answered: () => void): Promise<void> {
    // A search of its own session never stands in the way of a signature.
    const session = await slot.openSession()
    answered()
    this.#sawCard = true
    try {
      // By what is known of keys without the card, the best first.
      for (const asksEachTime of inOrderOfFitness(this.#search.purpose)) {
        const keys = {
          [CKA.CLASS]: CKO.PRIVATE_KEY,
          [CKA.PRIVATE]: true,
          [CKA.ALWAYS_AUTHENTICATE]: asksEachTime,
        }
        for await (const key of this.#each(session, keys, answered)) {
          const itsOwn = { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: key.get(CKA.ID) }
          const certificate = await this.#first(session, itsOwn, answered)
          const described = certificate && this.#described(() => describeCertificate(slot, certificate, key))
          if (described !== undefined && described.fault === undefined && !this.#search.wantsAll) return
        }
      }
      // What a card shows no key for, though it would fit: a key of an algorithm that is not known here.
      for await (const certificate of this.#each(session, { [CKA.CLASS]: CKO.CERTIFICATE }, answered)) {
        const itsKey = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: certificate.get(CKA.ID) }
        if ((await this.#first(session, itsKey, answered)) === undefined)
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
    answered: () => void,
  ): AsyncGenerator<CkObject, void, undefined> {
    for (let at = await this.#first(session, template, answered); at !== undefined; ) {
      yield at
      at = await this.#first(session, template, answered, at)
    }
  }

  async #first(
    session: Session,
    template: Attributes,
    answered: () => void,
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
      answered()
    }
  }

  #unreadable(error: unknown): void {
    this.#failed ??= { error }
  }
}

/** The slot is empty, or became so. A further slot that has no token of this card gives no reason. */
function isEmptiness(error: unknown): boolean {
  if (!isCryptokiError(error, CKR.TOKEN_NOT_PRESENT)) return false
  const { cause } = error
  if (cause === undefined || isWebtokiError(cause, 'card/absent')) return true
  return isWebtokiError(cause, 'card/gone') && cause.why === 'removed'
}
