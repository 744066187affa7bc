/** Everything that a page needs to let people use their card, in the order in which they use it. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
/// <reference types="w3c-web-usb" preserve="true" />
import { requireCertificateUse } from '@webtoki/crypto'
import { equalBytes, type Presence, type SlotSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { type CcidSlotSource, ccidSlots, type ReaderProblem } from '@webtoki/ccid'
import {
  type Attributes,
  CKA,
  CKO,
  CKR,
  CKS,
  type CkObject,
  Cryptoki,
  CryptokiError,
  isCryptokiError,
  type ObjectCache,
  type OperationEvent,
  type PinSource,
  type Session,
  type Slot,
  type TokenDriver,
} from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createLoginToken } from '@webtoki/login/browser'
import type { Signer } from '@webtoki/trust'
import { firstValueFrom, type Observable, of, Subject, timeout } from 'rxjs'
import type { Activity, ActivityPhase } from './activity.ts'
import { isWebtokiError } from './errors.ts'
import {
  type CardCertificate,
  describeCertificate,
  inOrderFor,
  inOrderOfFitness,
  purposesOf,
} from './card-certificate.ts'

/** All but `pin` has a default. */
export interface WebtokiOptions {
  /** Asked where the card needs a PIN; `@webtoki/ui` has a dialog that is one. */
  readonly pin: PinSource
  /** Default: `navigator.usb`. */
  readonly usb?: USB
  /**
   * Whether PINs are typed on the keys of readers that announce some. Default true. False: `pin` is asked for every PIN,
   * for readers that announce keys which they lack, or which you do not trust.
   */
  readonly pinPad?: boolean
  /** Further sources of slots beside USB readers. */
  readonly sources?: readonly SlotSource[]
  /** Which cards are known, asked in this order. Default: PIV. */
  readonly drivers?: readonly TokenDriver[]
  /** Where certificates of PIV cards are remembered. Default: in memory. */
  readonly cache?: ObjectCache
}

/**
 * How one login or signature is made. A certificate whose card is in its reader no longer ends in CKR_DEVICE_REMOVED, one
 * that is for another purpose in CertificateUseError or CKR_KEY_FUNCTION_NOT_PERMITTED, before anybody is asked for a PIN.
 */
export interface UseOptions {
  /** Default: the certificate on the first card that fits the purpose best. */
  readonly certificate?: CardCertificate
  /**
   * Its abort ends the wait for a card, a PIN or another login, and rejects at once with CKR_FUNCTION_CANCELED, the reason as
   * `cause`. A signal that has already aborted begins nothing.
   */
  readonly signal?: AbortSignal
  /** Padding of RSA keys. Default: 'RS256'. */
  readonly rsa?: 'RS256' | 'PS256'
  /** Told each phase as it begins. */
  readonly onPhase?: (phase: ActivityPhase) => void
  /**
   * What is signed or logged in to, in words that the person knows: `PinRequest.for`. Default: of a login the page's
   * origin, of a document that is a File its name.
   */
  readonly for?: string | undefined
}

/** How far a search is told, and what ends it. */
export type SearchOptions = Pick<UseOptions, 'signal' | 'onPhase'>

/** How long a slot may take to tell for the first time what is in it. */
const PRESENCE_MS = 3_000

type OnEvent = (event: OperationEvent<unknown>) => void

/** One for a page. */
export class Webtoki extends Closable {
  /** Hot; replays the latest list. */
  readonly slots$: Observable<readonly Slot[]>
  /** Readers that cannot be used, with the reasons. Hot; replays the latest list. */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /** Hot; replays nothing. */
  readonly activity$: Observable<Activity>
  readonly #readers: CcidSlotSource | undefined
  readonly #cryptoki: Cryptoki
  readonly #pin: PinSource
  readonly #activities = new Subject<Activity>()
  readonly #sessions = new Map<Slot, Promise<Session>>()
  #operations = 0
  /** Logins and signatures under way. */
  #uses = 0

  constructor(options: WebtokiOptions) {
    super()
    const usb = options.usb ?? globalThis.navigator?.usb
    const { pinPad = true } = options
    this.#readers = usb === undefined ? undefined : ccidSlots({ usb, pinPad })
    this.#pin = options.pin
    this.#cryptoki = new Cryptoki({
      sources: [...(this.#readers === undefined ? [] : [this.#readers]), ...(options.sources ?? [])],
      drivers: options.drivers ?? [pivDriver({ cache: options.cache })],
      login: 'on-demand',
    })
    this.slots$ = this.#cryptoki.slots$
    this.problems$ = this.#cryptoki.problems$
    this.activity$ = this.#activities.asObservable()
  }

  /** Whether this browser reaches USB readers at all. */
  get reachesReaders(): boolean {
    return this.#readers !== undefined
  }

  /**
   * Shows the browser's chooser; needs a click. False: the person chose none. Rejects with what is wrong with the
   * reader, such as ProtectedClassError.
   */
  async requestReader(): Promise<boolean> {
    return (await this.#readers?.requestReader()) !== undefined
  }

  /** The certificates that a person may choose from for this purpose, the best first. */
  async certificates(
    purpose: 'login' | 'signing',
    slot?: Slot,
    options: SearchOptions = {},
  ): Promise<readonly CardCertificate[]> {
    return this.#told('certificates', options, async (onEvent) => {
      const slots = slot === undefined ? await this.#slotsWith(isCard) : [slot]
      return this.#fitting(slots, { purpose, keys: [{}], wantsAll: true, signal: options.signal, onEvent })
    })
  }

  /** The login token for the server's nonce, as JSON. Its origin is this page's own. */
  login(nonce: string, options: UseOptions = {}): Promise<string> {
    return this.#using('login', options, async (onEvent) => {
      const signer = await this.#signer(
        'login',
        { ...options, for: options.for ?? globalThis.location?.origin },
        onEvent,
      )
      return JSON.stringify(await createLoginToken(signer, nonce))
    })
  }

  /** A signer for `webtoki/documents`; its operations show in `activity$` as one signature. */
  sign<T>(options: UseOptions, work: (signer: Signer) => Promise<T>): Promise<T> {
    return this.#using('sign', options, async (onEvent) =>
      work(await this.#signer('signing', options, onEvent)),
    )
  }

  /** Takes every login back on its card. Rejects with what went wrong at one, when the others are done. */
  async logOut(): Promise<void> {
    await this.#told('log-out', {}, async () => {
      const openings = [...this.#sessions.values()]
      this.#sessions.clear()
      // All at once: a page that is being left has little time, and a reader pulled now keeps no other card logged in.
      const closings = openings.map(async (opening) => (await opening.catch(() => undefined))?.close())
      const failed = (await Promise.allSettled(closings)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
    })
  }

  /** Ends everything: operations, logins, claims. Never rejects, so that in a `finally` it hides no error. */
  async close(): Promise<void> {
    await this.#cryptoki.close()
    this.#activities.complete()
  }

  async #signer(purpose: 'login' | 'signing', options: UseOptions, onEvent: OnEvent): Promise<Signer> {
    const { signal } = options
    const certificate = options.certificate ?? (await this.#best(purpose, signal, onEvent))
    const session = await this.#session(certificate.slot).catch((error: unknown) => {
      // Somebody chose a certificate of the card that was there.
      if (!isCryptokiError(error, CKR.TOKEN_NOT_PRESENT) || options.certificate === undefined) throw error
      throw new CryptokiError(CKR.DEVICE_REMOVED, { cause: error })
    })
    checkSignal(signal)
    const { cardSigner } = await import('@webtoki/webcrypto')
    const signer = await cardSigner(session, {
      id: certificate.id,
      onEvent,
      for: options.for,
      rsa: options.rsa,
    }).catch((error: unknown) => {
      if (isCryptokiError(error, CKR.KEY_HANDLE_INVALID)) return undefined
      throw error
    })
    // Another card may be in the reader by now, and its key go by the same identifier: nobody chose that one.
    if (signer === undefined || !equalBytes(signer.certificate, certificate.der)) {
      throw new CryptokiError(CKR.DEVICE_REMOVED, { detail: 'another card is in the reader now' })
    }
    await this.#checkUse(purpose, session, certificate)
    if (signal === undefined) return signer
    const sign: Signer['sign'] = (bytes, { signal: own = signal } = {}) =>
      signer.sign(bytes, { signal: AbortSignal.any([signal, own as AbortSignal]) })
    return { ...signer, sign }
  }

  /** Somebody may have chosen it for the other purpose, or without our list. The card's own objects say what it is for. */
  async #checkUse(
    purpose: 'login' | 'signing',
    session: Session,
    { id, der }: CardCertificate,
  ): Promise<void> {
    const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: id }
    const [key] = await session.findObjects(template)
    if (key !== undefined && purposesOf(der, key).includes(purpose)) return
    requireCertificateUse(der, purpose)
    throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED, {
      detail: 'the key signs without a PIN, or not at all',
    })
  }

  async #best(
    purpose: 'login' | 'signing',
    signal: AbortSignal | undefined,
    onEvent: OnEvent,
  ): Promise<CardCertificate> {
    let slots = await this.#slotsWithCards()
    // A person wants it now: a reader in use is asked for, and who cannot have it or read its card is told so.
    if (slots.length === 0) slots = await this.#slotsWith((presence) => presence !== 'empty')
    // The notice of a card may have been lost, so readers that seem empty are asked.
    const mayBeEmpty = slots.length === 0
    if (mayBeEmpty) slots = await this.#slotsWith(() => true)
    // By what is known of keys without the card, the best first.
    const keys = inOrderOfFitness(purpose).map((asksEachTime) => ({
      [CKA.PRIVATE]: true,
      [CKA.ALWAYS_AUTHENTICATE]: asksEachTime,
    }))
    const search = { purpose, keys, wantsAll: false, signal, onEvent }
    const [best] = await this.#fitting(slots, search).catch((error: unknown) => {
      if (!mayBeEmpty || !isCryptokiError(error, CKR.TOKEN_NOT_PRESENT)) throw error
      slots = []
      return slots as readonly never[]
    })
    if (best !== undefined) return best
    throw new CryptokiError(slots.length === 0 ? CKR.TOKEN_NOT_PRESENT : CKR.KEY_HANDLE_INVALID, {
      detail: slots.length === 0 ? 'there is no card in any reader' : 'no key on the card fits that purpose',
    })
  }

  /** A strange or broken card in one reader hides none that fits in another; alone, it is told what is wrong with it. */
  async #fitting(slots: readonly Slot[], search: CertificateSearch): Promise<readonly CardCertificate[]> {
    const outcomes = await Promise.allSettled(slots.map((slot) => this.#certificatesIn(slot, search)))
    const found = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []))
    const fitting = inOrderFor(search.purpose, found)
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (fitting.length === 0 && failed !== undefined) throw failed.reason
    return fitting
  }

  /**
   * A card's certificates for a purpose, one after the other; what follows the first is not read unless all are wanted. One
   * that cannot be read hides none of the others, and is told if none fits.
   */
  async #certificatesIn(
    slot: Slot,
    { purpose, keys, wantsAll, ...options }: CertificateSearch,
  ): Promise<readonly CardCertificate[]> {
    // A search of its own session never stands in the way of a signature.
    const session = await slot.openSession()
    const found: CardCertificate[] = []
    let failed: { readonly error: unknown } | undefined
    const onUnreadable = (error: unknown): void => void (failed ??= { error })
    const first = async (template: Attributes, after?: CkObject): Promise<CkObject | undefined> => {
      try {
        return (await session.findObjects(template, { max: 1, after, onUnreadable }).result(options))[0]
      } catch (error) {
        checkSignal(options.signal)
        onUnreadable(error)
        return undefined
      }
    }
    try {
      for (const each of keys) {
        const template = { ...each, [CKA.CLASS]: CKO.PRIVATE_KEY }
        for (let key = await first(template); key !== undefined; key = await first(template, key)) {
          const itsOwn = { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: key.get(CKA.ID) }
          const certificate = await first(itsOwn)
          const described = certificate && describe(slot, certificate, key)
          if (!described?.purposes.includes(purpose)) continue
          found.push(described)
          if (!wantsAll) return found
        }
      }
    } finally {
      await session.close()
    }
    if (found.length === 0 && failed !== undefined) throw failed.error
    return found
  }

  /** If no reader shows a card, what failed before is tried once more: a reader may be awake by now. */
  async #slotsWithCards(): Promise<readonly Slot[]> {
    const slots = await this.#slotsWith(isCard)
    if (slots.length > 0) return slots
    await this.#cryptoki.lookAgain()
    return this.#slotsWith(isCard)
  }

  async #slotsWith(fits: (presence: Presence) => boolean): Promise<readonly Slot[]> {
    // Closed before the first list came, it has none.
    const slots = await firstValueFrom(this.slots$, { defaultValue: [] })
    // A reader that tells nothing holds up no other; one that leaves has no card.
    const unknown = timeout({ first: PRESENCE_MS, with: () => of('unreadable' as const) })
    const presences = await Promise.all(
      slots.map(({ presence$ }) =>
        firstValueFrom(presence$.pipe(unknown), { defaultValue: 'empty' as const }),
      ),
    )
    // A reader's own security module is nobody's identity; who means it names its slot.
    return slots.filter(({ kind }, at) => fits(presences[at] as Presence) && kind !== 'sam')
  }

  /** One session a card, for as long as the card is in: its login lasts as long. */
  #session(slot: Slot): Promise<Session> {
    const known = this.#sessions.get(slot)
    if (known !== undefined) return known
    const opening = slot.openSession({ pin: this.#pin })
    this.#sessions.set(slot, opening)
    const forget = (): void => {
      if (this.#sessions.get(slot) === opening) this.#sessions.delete(slot)
    }
    opening.then((session) => session.ended.then(forget), forget)
    return opening
  }

  /** Work with a card. */
  async #using<T>(
    what: 'login' | 'sign',
    options: UseOptions,
    work: (onEvent: OnEvent) => Promise<T>,
  ): Promise<T> {
    this.#uses++
    let hasFailed = true
    try {
      const value = await this.#told(what, options, work)
      hasFailed = false
      return value
    } finally {
      this.#uses--
      const given = hasFailed && this.#uses === 0 ? this.#giveBack() : undefined
      // Who left does not wait for the card.
      if (!options.signal?.aborted) await given
    }
  }

  /** A session that failed and that nobody is logged in by would only keep the reader from other tabs. Never rejects. */
  async #giveBack(): Promise<void> {
    for (const [slot, opening] of this.#sessions) {
      const session = await opening.catch(() => undefined)
      if (session === undefined || this.#uses > 0 || isLoggedIn(session)) continue
      this.#sessions.delete(slot)
      await session.close().catch(() => {})
    }
  }

  async #told<T>(
    what: Activity['what'],
    options: SearchOptions,
    work: (onEvent: OnEvent) => Promise<T>,
  ): Promise<T> {
    checkSignal(options.signal)
    const operation = ++this.#operations
    let latest: ActivityPhase | undefined
    const tell = (phase: ActivityPhase, rest: Pick<Activity, 'code' | 'message'> = {}): void => {
      // Work that goes on after an abort is nobody's any more.
      if (phase === latest || latest === 'failed') return
      latest = phase
      this.#activities.next({ operation, what, phase, ...rest })
      options.onPhase?.(phase)
    }
    tell('started')
    try {
      const running = work(({ phase }) => {
        // The card is done before the work is: what is made of its signature comes after. A login has no document.
        if (phase === 'done' || phase === 'output' || phase === 'found') return
        if (phase === 'collecting' && what === 'login') return
        tell(phase)
      })
      const value = await untilAborted(running, options.signal)
      tell('done')
      return value
    } catch (thrown) {
      const error = whyItEnded(thrown)
      tell('failed', failure(error))
      throw error
    }
  }
}

/** Which certificates are looked for on each card. */
interface CertificateSearch {
  readonly purpose: 'login' | 'signing'
  /** What keys must be like: those of the first template come first. */
  readonly keys: readonly Attributes[]
  readonly wantsAll: boolean
  readonly signal: AbortSignal | undefined
  readonly onEvent: OnEvent
}

function canceled({ reason }: AbortSignal): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { cause: reason })
}

/** Throws CKR_FUNCTION_CANCELED if the signal has aborted. */
function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceled(signal)
}

/** Rejects as soon as the signal aborts, whatever becomes of the work: a card may take its time, or not answer at all. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(canceled(signal))
    signal.addEventListener('abort', abort)
    // Work may have aborted it before the listener was there.
    if (signal.aborted) abort()
    const leave = (): void => signal.removeEventListener('abort', abort)
    work.then(resolve, reject).then(leave, leave)
  })
}

function isLoggedIn(session: Session): boolean {
  try {
    return session.state !== CKS.RO_PUBLIC_SESSION
  } catch {
    // It has ended, and holds nothing.
    return false
  }
}

function isCard(presence: Presence): boolean {
  return presence === 'present'
}

/** Sessions are the front door's own affair: that one ended under the work says less than why. */
function whyItEnded(error: unknown): unknown {
  const hidesWhy = isCryptokiError(error, CKR.SESSION_HANDLE_INVALID)
  return hidesWhy && isCryptokiError(error.cause) ? error.cause : error
}

function failure(error: unknown): Pick<Activity, 'code' | 'message'> {
  const message = error instanceof Error ? error.message : String(error)
  return { code: isWebtokiError(error) ? error.code : undefined, message }
}

function describe(slot: Slot, certificate: CkObject, key: CkObject): CardCertificate | undefined {
  try {
    return describeCertificate(slot, certificate, key)
  } catch {
    // A certificate that cannot be read is none that a person could choose.
    return undefined
  }
}
