/** Everything that a page needs to let people use their card, in the order in which they use it. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
/// <reference types="w3c-web-usb" preserve="true" />
import { type Presence, type ReaderProblem, type ReaderSupport, type WebtokiError } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { ccidSlots, usbSupport } from '@webtoki/ccid'
import {
  CKR,
  CKS,
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
import type { Signer } from '@webtoki/trust'
import { BehaviorSubject, combineLatest, firstValueFrom, map, type Observable, Subject } from 'rxjs'
import { checkSignal, untilAborted } from './abort.ts'
import type { Activity, ActivityPhase } from './activity.ts'
import type { CardCertificate, CertificatePurpose } from './card-certificate.ts'
import { isWebtokiError } from './errors.ts'
import { type AnySource, presenceOf, Readers } from './readers.ts'
import type { CertificateSearch } from './search.ts'

/** All but `pin` has a default. */
export interface WebtokiOptions {
  /** Asked where the card needs a PIN; `@webtoki/ui` has a dialog that is one. */
  readonly pin: PinSource
  /** Default: `navigator.usb`. */
  readonly usb?: USB | undefined
  /**
   * Whether PINs are typed on the keys of readers that announce some. Default true. False: `pin` is asked for every PIN,
   * for readers that announce keys which they lack, or which you do not trust.
   */
  readonly pinPad?: boolean | undefined
  /**
   * Where readers come from. Default: CCID readers over `usb`. If `usb` is given too, its readers come beside these sources;
   * `navigator.usb` is left alone.
   */
  readonly sources?: readonly AnySource[] | undefined
  /** Which cards are known, asked in this order. Default: PIV. */
  readonly drivers?: readonly TokenDriver[] | undefined
  /** Where certificates of PIV cards are remembered. Default: in memory. */
  readonly cache?: ObjectCache | undefined
}

/** How far a search is told, and what ends it. */
export interface SearchOptions {
  /**
   * Its abort ends the wait for a card, a PIN or another login, and rejects at once with CKR_FUNCTION_CANCELED, the reason as
   * `cause`. A signal that has already aborted begins nothing.
   */
  readonly signal?: AbortSignal | undefined
  /** Told each phase as it begins. */
  readonly onPhase?: ((phase: ActivityPhase) => void) | undefined
}

/**
 * How one login or signature is made. A certificate whose card is in its reader no longer ends in CKR_DEVICE_REMOVED, one
 * that is for another purpose in CertificateUseError or CKR_KEY_FUNCTION_NOT_PERMITTED, before anybody is asked for a PIN.
 */
export interface UseOptions extends SearchOptions {
  /** Default: the certificate on the first card that fits the purpose best. */
  readonly certificate?: CardCertificate | undefined
  /** Padding of RSA keys. Default: 'RS256'. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /**
   * What is signed or logged in to, in words that the person knows: `PinRequest.for`. Default: of a login the page's
   * origin, of a document that is a File its name.
   */
  readonly for?: string | undefined
}

type OnEvent = (event: OperationEvent<unknown>) => void

/** One for a page. */
export class Webtoki extends Closable {
  /** Hot; replays the latest list. */
  readonly slots$: Observable<readonly Slot[]>
  /**
   * Readers that cannot be used, with the reasons, and those whose card gave no answer while certificates were looked for. Hot;
   * replays the latest list.
   */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /** Hot; replays nothing. */
  readonly activity$: Observable<Activity>
  readonly #readers: Readers
  readonly #cryptoki: Cryptoki
  readonly #pin: PinSource
  readonly #activities = new Subject<Activity>()
  /** Until they are looked at again. */
  readonly #silent = new BehaviorSubject<ReadonlyMap<Slot, ReaderProblem>>(new Map())
  readonly #sessions = new Map<Slot, Promise<Session>>()
  #operations = 0
  /** Logins and signatures under way. */
  #uses = 0

  constructor(options: WebtokiOptions) {
    super()
    const { pin, sources = [], pinPad, drivers, cache, usb } = options
    const own = usb ?? (options.sources === undefined ? globalThis.navigator?.usb : undefined)
    const support = usbSupport(own)
    const ccid =
      own === undefined || support !== 'available' ? [] : [ccidSlots({ usb: own, pinPad: pinPad ?? true })]
    this.#readers = new Readers([...ccid, ...sources], support)
    this.#pin = pin
    this.#cryptoki = new Cryptoki({
      sources: this.#readers.sources,
      drivers: drivers ?? [pivDriver({ cache })],
      login: 'on-demand',
    })
    this.slots$ = this.#cryptoki.slots$
    this.problems$ = combineLatest([this.#cryptoki.problems$, this.#silent]).pipe(
      map(([problems, silent]) => [...problems, ...silent.values()]),
    )
    this.activity$ = this.#activities.asObservable()
  }

  /**
   * Whether this page can reach USB readers, before anything is shown or opened. A browser that tells the policy of the page
   * only when readers are listed says so in `support` of the object.
   */
  static support(): ReaderSupport {
    return usbSupport()
  }

  /** Whether readers can be reached, or why not. */
  get support(): ReaderSupport {
    return this.#readers.support
  }

  /** Whether readers can be reached at all. */
  get reachesReaders(): boolean {
    return this.support === 'available'
  }

  /**
   * Shows the browser's chooser; needs a click. False: the person chose none. Rejects with what is wrong with the
   * reader, such as ProtectedClassError, or with why this page reaches none (ReadersUnreachableError).
   */
  requestReader(): Promise<boolean> {
    return this.#readers.request()
  }

  /**
   * The certificates that a person may choose from for this purpose, the best first; none if no card is in. Rejects if
   * nothing was found and more is known than that: the reader is in use or may not be reached, the card is not recognized.
   */
  async certificates(
    purpose: CertificatePurpose,
    slot?: Slot,
    options: SearchOptions = {},
  ): Promise<readonly CardCertificate[]> {
    return this.#told('certificates', options, (onEvent) =>
      this.#find({ purpose, wantsAll: true, signal: options.signal, onEvent }, slot),
    )
  }

  /**
   * The login token for the server's nonce, as JSON. Its origin is this page's own. Rejects before a card is looked for if no
   * site can accept a login from this page (OriginError).
   */
  login(nonce: string, options: UseOptions = {}): Promise<string> {
    return this.#using('login', options, async (onEvent) => {
      const { checkLogin, createLoginToken } = await import('./card-use.ts')
      const origin = checkLogin(nonce)
      const signer = await this.#signer('login', { ...options, for: options.for ?? origin }, onEvent)
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
    this.#readers.close()
    await this.#cryptoki.close()
    this.#silent.complete()
    this.#activities.complete()
  }

  async #signer(purpose: 'login' | 'signing', options: UseOptions, onEvent: OnEvent): Promise<Signer> {
    const { signal } = options
    const certificate =
      options.certificate ?? (await this.#best({ purpose, wantsAll: false, signal, onEvent }))
    if (certificate.fault === 'key-not-supported') {
      const detail = 'the key is of an algorithm, a size or on a curve that cannot be used here'
      throw new CryptokiError(CKR.KEY_SIZE_RANGE, { detail })
    }
    const session = await this.#session(certificate.slot).catch((error: unknown) => {
      // Somebody chose a certificate of the card that was there.
      if (!isCryptokiError(error, CKR.TOKEN_NOT_PRESENT) || options.certificate === undefined) throw error
      throw new CryptokiError(CKR.DEVICE_REMOVED, { cause: error })
    })
    checkSignal(signal)
    const { signerFor } = await import('./card-use.ts')
    return signerFor(session, certificate, purpose, { ...options, onEvent })
  }

  async #best(search: CertificateSearch): Promise<CardCertificate> {
    const [best] = await this.#find(search)
    if (best === undefined)
      throw new CryptokiError(CKR.TOKEN_NOT_PRESENT, { detail: 'there is no card in any reader' })
    return best
  }

  /** The best first; none: no card is in, and nothing speaks against putting one in. */
  async #find(search: CertificateSearch, slot?: Slot): Promise<readonly CardCertificate[]> {
    // What only a card needs is loaded when somebody wants one.
    const { CertificateFinder } = await import('./card-use.ts')
    this.#silent.next(new Map())
    const onSilent = (silent: Slot, problem: ReaderProblem): void =>
      this.#silent.next(new Map(this.#silent.value).set(silent, problem))
    const finder = new CertificateFinder({ ...search, onSilent })
    if (slot !== undefined) await finder.lookAt([slot])
    else {
      await finder.lookAt(await this.#slotsWith((presence) => presence === 'present'))
      if (!finder.isDone) {
        // A person wants it now, so what seems empty or mute is asked once more; only who uses a card asks for a reader that
        // somebody has.
        await this.#cryptoki.lookAgain()
        await finder.lookAt(
          await this.#slotsWith((presence) => typeof presence !== 'object' || !search.wantsAll),
        )
        // Further tokens of a card are known once it was read.
        await finder.lookAt(await this.#slotsWith((presence) => presence === 'present'))
      }
    }
    const { found, failed, sawCard } = finder
    if (found.length > 0) return found
    if (failed !== undefined) throw failed.error
    if (sawCard && search.wantsAll) return []
    if (sawCard)
      throw new CryptokiError(CKR.KEY_HANDLE_INVALID, { detail: 'no key on the card fits that purpose' })
    const why = await this.#whyNone(slot)
    // A page that only looks may look before a reader was chosen.
    if (why === undefined || (search.wantsAll && isWebtokiError(why, 'reader/none'))) return []
    throw new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause: why, detail: why.message.replace(/\.$/, '') })
  }

  async #whyNone(slot: Slot | undefined): Promise<WebtokiError | undefined> {
    const slots = slot === undefined ? await this.#slots() : [slot]
    const [problem] = await firstValueFrom(this.problems$, { defaultValue: [] })
    return this.#readers.whyNone(await Promise.all(slots.map(presenceOf)), problem?.error)
  }

  async #slotsWith(fits: (presence: Presence) => boolean): Promise<readonly Slot[]> {
    const slots = await this.#slots()
    const presences = await Promise.all(slots.map(presenceOf))
    return slots.filter((_, at) => fits(presences[at] as Presence))
  }

  /** A reader's own security module is nobody's identity; who means it names its slot. */
  async #slots(): Promise<readonly Slot[]> {
    // Closed before the first list came, it has none.
    const slots = await firstValueFrom(this.slots$, { defaultValue: [] })
    return slots.filter(({ kind }) => kind !== 'sam')
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

function isLoggedIn(session: Session): boolean {
  try {
    return session.state !== CKS.RO_PUBLIC_SESSION
  } catch {
    // It has ended, and holds nothing.
    return false
  }
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
