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
}

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
   * notice of its card may have been lost, and its emptiness is no failure.
   */
  async lookAt(slots: readonly Slot[]): Promise<void> {
    const next = slots.filter((slot) => !this.#searched.has(slot))
    for (const slot of next) this.#searched.add(slot)
    await Promise.all(
      next.map(async (slot) => {
        try {
          await this.#lookInto(slot)
        } catch (error) {
          checkSignal(this.#search.signal)
          if (!isEmptiness(error)) this.#unreadable(error)
        }
      }),
    )
  }

  /**
   * A card's certificates, one after the other. One that cannot be read hides none of the others, and is told if none fits.
   */
  async #lookInto(slot: Slot): Promise<void> {
    // A search of its own session never stands in the way of a signature.
    const session = await slot.openSession()
    this.#sawCard = true
    try {
      // By what is known of keys without the card, the best first.
      for (const asksEachTime of inOrderOfFitness(this.#search.purpose)) {
        const keys = {
          [CKA.CLASS]: CKO.PRIVATE_KEY,
          [CKA.PRIVATE]: true,
          [CKA.ALWAYS_AUTHENTICATE]: asksEachTime,
        }
        for await (const key of this.#each(session, keys)) {
          const itsOwn = { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: key.get(CKA.ID) }
          const certificate = await this.#first(session, itsOwn)
          const described = certificate && this.#described(() => describeCertificate(slot, certificate, key))
          if (described !== undefined && described.fault === undefined && !this.#search.wantsAll) return
        }
      }
      // What a card shows no key for, though it would fit: a key of an algorithm that is not known here.
      for await (const certificate of this.#each(session, { [CKA.CLASS]: CKO.CERTIFICATE })) {
        const itsKey = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: certificate.get(CKA.ID) }
        if ((await this.#first(session, itsKey)) === undefined)
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

  async *#each(session: Session, template: Attributes): AsyncGenerator<CkObject, void, undefined> {
    for (let at = await this.#first(session, template); at !== undefined; ) {
      yield at
      at = await this.#first(session, template, at)
    }
  }

  async #first(session: Session, template: Attributes, after?: CkObject): Promise<CkObject | undefined> {
    const { signal, onEvent } = this.#search
    const options = { max: 1, after, onUnreadable: (error: unknown) => this.#unreadable(error) }
    try {
      return (await session.findObjects(template, options).result({ signal, onEvent }))[0]
    } catch (error) {
      checkSignal(signal)
      this.#unreadable(error)
      return undefined
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
