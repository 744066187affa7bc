/** The main class: lets people use their card in a page. */
// Preserved in the declarations, which use WebUSB types that TypeScript does not include.
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

/** Options of `Webtoki`. Only `pin` is required. */
export interface WebtokiOptions {
  /** Called when the card needs a PIN. `@webtoki/ui` has a dialog for it. */
  readonly pin: PinSource
  /** Default: `navigator.usb`. */
  readonly usb?: USB | undefined
  /**
   * Whether PINs are entered on readers that announce a PIN pad. Default true. If false, `pin` is called for every PIN: for
   * readers that announce a PIN pad they do not have, or that you do not trust.
   */
  readonly pinPad?: boolean | undefined
  /**
   * The reader sources. Default: CCID readers over `usb`. If `usb` is given as well, its readers are added to these sources;
   * `navigator.usb` is not used.
   */
  readonly sources?: readonly AnySource[] | undefined
  /** Token drivers, in order of precedence. Default: PIV. */
  readonly drivers?: readonly TokenDriver[] | undefined
  /** Cache for the certificates of PIV cards. Default: in memory. */
  readonly cache?: ObjectCache | undefined
}

/** Options of a search. */
export interface SearchOptions {
  /**
   * Aborts the wait for a card, a PIN or another login: the call rejects at once with CKR_FUNCTION_CANCELED, with the reason as
   * `cause`. If the signal is already aborted, nothing starts.
   */
  readonly signal?: AbortSignal | undefined
  /** Called at the start of each phase. */
  readonly onPhase?: ((phase: ActivityPhase) => void) | undefined
}

/**
 * Options of a login or signature. If the certificate's card is no longer in its reader, the call rejects with
 * CKR_DEVICE_REMOVED. If the certificate is for another purpose, it rejects with CertificateUseError or
 * CKR_KEY_FUNCTION_NOT_PERMITTED before it asks for a PIN.
 */
export interface UseOptions extends SearchOptions {
  /** Default: the certificate that fits the purpose best. */
  readonly certificate?: CardCertificate | undefined
  /** Padding of RSA keys. Default: 'RS256'. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /**
   * What is signed or logged in to, in words that the person knows: `PinRequest.for`. Default: the page's origin for a login,
   * the name of the File for a document.
   */
  readonly for?: string | undefined
}

type OnEvent = (event: OperationEvent<unknown>) => void

/** Readers, cards, certificates, logins and signatures of one page. Create one for a page and close it when done. */
export class Webtoki extends Closable {
  /** All slots. Hot; replays the latest list. */
  readonly slots$: Observable<readonly Slot[]>
  /**
   * Readers that cannot be used, with the reason, and readers whose card did not respond during a search. Hot; replays the
   * latest list.
   */
  readonly problems$: Observable<readonly ReaderProblem[]>
  /** Phases of logins, signatures and searches. Hot; replays nothing. */
  readonly activity$: Observable<Activity>
  readonly #readers: Readers
  readonly #cryptoki: Cryptoki
  readonly #pin: PinSource
  readonly #activities = new Subject<Activity>()
  /** Slots that did not respond in the latest search. */
  readonly #silent = new BehaviorSubject<ReadonlyMap<Slot, ReaderProblem>>(new Map())
  readonly #sessions = new Map<Slot, Promise<Session>>()
  #operations = 0
  /** Number of running logins and signatures. */
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
   * Whether this page can reach USB readers, without showing or opening anything. Some browsers reveal the page's permissions
   * policy only when devices are listed; then only the `support` property reports it.
   */
  static support(): ReaderSupport {
    return usbSupport()
  }

  /** 'available' if readers can be reached, otherwise why not. */
  get support(): ReaderSupport {
    return this.#readers.support
  }

  /** True if readers can be reached. */
  get reachesReaders(): boolean {
    return this.support === 'available'
  }

  /**
   * Opens the browser's device chooser; must be called from a user gesture. Resolves to false if the person chose no reader.
   * Rejects with the reader's error, such as ProtectedClassError, or with ReadersUnreachableError if this page cannot reach
   * any.
   */
  requestReader(): Promise<boolean> {
    return this.#readers.request()
  }

  /**
   * Resolves to the certificates for a purpose, best first; empty if there is no card. Rejects if nothing was found for a known
   * reason: the reader is in use or cannot be reached, or the card is not recognized.
   */
  async certificates(
    purpose: CertificatePurpose,
    slot?: Slot,
    options: SearchOptions = {},
  ): Promise<readonly CardCertificate[]> {
    return this.#reported('certificates', options, (onEvent) =>
      this.#find({ purpose, wantsAll: true, signal: options.signal, onEvent }, slot),
    )
  }

  /**
   * Resolves to the login token for the server's nonce, as JSON. It is bound to this page's origin. Rejects with OriginError,
   * before it searches for a card, if no site can accept a login from this page.
   */
  login(nonce: string, options: UseOptions = {}): Promise<string> {
    return this.#using('login', options, async (onEvent) => {
      const { checkLogin, createLoginToken } = await import('./card-use.ts')
      const origin = checkLogin(nonce)
      const signer = await this.#signer('login', { ...options, for: options.for ?? origin }, onEvent)
      return JSON.stringify(await createLoginToken(signer, nonce))
    })
  }

  /** Runs `work` with a signer, as `webtoki/documents` does. `activity$` shows it as one signature. */
  sign<T>(options: UseOptions, work: (signer: Signer) => Promise<T>): Promise<T> {
    return this.#using('sign', options, async (onEvent) =>
      work(await this.#signer('signing', options, onEvent)),
    )
  }

  /** Logs out of every card. Rejects with the first error after all logouts have finished. */
  async logOut(): Promise<void> {
    await this.#reported('log-out', {}, async () => {
      const openings = [...this.#sessions.values()]
      this.#sessions.clear()
      // In parallel: a page that is being closed has little time, and one removed reader must not keep other cards logged in.
      const closings = openings.map(async (opening) => (await opening.catch(() => undefined))?.close())
      const failed = (await Promise.allSettled(closings)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
    })
  }

  /** Ends all operations and logins and releases the readers. Never rejects, so a `finally` does not hide an error. */
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
      const detail = 'Webtoki does not support the algorithm, size or curve of the key'
      throw new CryptokiError(CKR.KEY_SIZE_RANGE, { detail })
    }
    const session = await this.#session(certificate.slot).catch((error: unknown) => {
      // The chosen certificate was on a card that has been removed.
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

  /** Resolves to the certificates, best first; empty if there is no card and a person could insert one. */
  async #find(search: CertificateSearch, slot?: Slot): Promise<readonly CardCertificate[]> {
    // The code that uses cards is loaded with the first search.
    const { CertificateFinder } = await import('./card-use.ts')
    this.#silent.next(new Map())
    const onSilent = (silent: Slot, problem: ReaderProblem): void =>
      this.#silent.next(new Map(this.#silent.value).set(silent, problem))
    const finder = new CertificateFinder({ ...search, onSilent })
    if (slot !== undefined) await finder.lookAt([slot])
    else {
      await finder.lookAt(await this.#slotsWith((presence) => presence === 'present'))
      if (!finder.isDone) {
        // A person is waiting, so slots that seem empty or silent are tried once more. Only a login or signature requests a
        // reader that another tab uses.
        await this.#cryptoki.lookAgain()
        await finder.lookAt(
          await this.#slotsWith((presence) => typeof presence !== 'object' || !search.wantsAll),
        )
        // Additional tokens of a card are known only after it was read.
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
    // A list may be requested before a reader was chosen.
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

  /** The slots to search. A reader's security module is not a person's card; it is used only if the caller names its slot. */
  async #slots(): Promise<readonly Slot[]> {
    // The list never comes if `close` was called first.
    const slots = await firstValueFrom(this.slots$, { defaultValue: [] })
    return slots.filter(({ kind }) => kind !== 'sam')
  }

  /** Opens one session for each card and keeps it while the card is inserted, so that the login remains. */
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

  /** Runs a login or signature. */
  async #using<T>(
    what: 'login' | 'sign',
    options: UseOptions,
    work: (onEvent: OnEvent) => Promise<T>,
  ): Promise<T> {
    this.#uses++
    let hasFailed = true
    try {
      const value = await this.#reported(what, options, work)
      hasFailed = false
      return value
    } finally {
      this.#uses--
      const released = hasFailed && this.#uses === 0 ? this.#releaseIdle() : undefined
      // An aborted caller does not wait for the card.
      if (!options.signal?.aborted) await released
    }
  }

  /** Closes sessions without a login, which would only keep the reader from other tabs. Never rejects. */
  async #releaseIdle(): Promise<void> {
    for (const [slot, opening] of this.#sessions) {
      const session = await opening.catch(() => undefined)
      if (session === undefined || this.#uses > 0 || isLoggedIn(session)) continue
      this.#sessions.delete(slot)
      await session.close().catch(() => {})
    }
  }

  /** Runs `work` and reports its phases. */
  async #reported<T>(
    what: Activity['what'],
    options: SearchOptions,
    work: (onEvent: OnEvent) => Promise<T>,
  ): Promise<T> {
    checkSignal(options.signal)
    const operation = ++this.#operations
    let latest: ActivityPhase | undefined
    const report = (phase: ActivityPhase, rest: Pick<Activity, 'code' | 'message'> = {}): void => {
      // After an abort the work may continue; its phases are not reported.
      if (phase === latest || latest === 'failed') return
      latest = phase
      this.#activities.next({ operation, what, phase, ...rest })
      options.onPhase?.(phase)
    }
    report('started')
    try {
      const running = work(({ phase }) => {
        // The operation is done before `work`, which still uses the signature. A login has no document to collect.
        if (phase === 'done' || phase === 'output' || phase === 'found') return
        if (phase === 'collecting' && what === 'login') return
        report(phase)
      })
      const value = await untilAborted(running, options.signal)
      report('done')
      return value
    } catch (thrown) {
      const error = unwrapCause(thrown)
      report('failed', failure(error))
      throw error
    }
  }
}

function isLoggedIn(session: Session): boolean {
  try {
    return session.state !== CKS.RO_PUBLIC_SESSION
  } catch {
    // The session has ended.
    return false
  }
}

/** Replaces "the session has ended" by its cause: callers do not see sessions. */
function unwrapCause(error: unknown): unknown {
  const hidesWhy = isCryptokiError(error, CKR.SESSION_HANDLE_INVALID)
  return hidesWhy && isCryptokiError(error.cause) ? error.cause : error
}

function failure(error: unknown): Pick<Activity, 'code' | 'message'> {
  const message = error instanceof Error ? error.message : String(error)
  return { code: isWebtokiError(error) ? error.code : undefined, message }
}
