/** The work of one operation with a key, whatever its kind: gather the data, then ask the person, then use the key (PKCS#11 v2.40, 5.8, 5.9, 5.11). */
import {
  AbortedError,
  type CardChannel,
  concatBytes,
  isWebtokiError,
  SW,
  TouchMissedError,
  type TransmitOptions,
  type WaitReason,
} from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { StreamingDigest } from './digest.ts'
import type { OperationWork } from './engine.ts'
import { CryptokiError } from './errors.ts'
import type { KeyAccess, KeyPurpose, KeyStream, KeyUse, PreparedUse } from './key-use.ts'
import type { OperationCall } from './operation-rules.ts'
import type { Progress } from './progress.ts'
import type { PinPurpose, PinSource } from './pin.ts'
import type { TokenLoginOptions } from './token.ts'
import type { TokenContext } from './token-context.ts'

/** A key that waits this long for nothing but time is probably waiting for a touch. */
const TOUCH_AFTER_MS = 1000

const nothing = new Uint8Array(0)

/** Who may be asked, and what may be done without being told to. */
export interface KeyAuthority {
  readonly context: TokenContext
  readonly pin: PinSource | undefined
  readonly purpose: KeyPurpose
  /** A login is made when the card needs it; else CKR_USER_NOT_LOGGED_IN. */
  readonly onDemand: boolean
  /** Milliseconds since any moment. */
  readonly now: () => number
}

/** What became of one try to use a key without asking for a PIN. */
type Outcome = Uint8Array | 'login-lost' | 'wants-context-pin'

/** A verified PIN whose transaction is held until the data are complete: C_Login with CKU_CONTEXT_SPECIFIC. */
interface Authorisation {
  perform(prepared: PreparedUse, progress: Progress): Promise<Uint8Array>
  release(): void
}

/** Makes what `KeyUse` promises come true. */
export class KeyWork implements OperationWork {
  readonly #use: KeyUse
  readonly #authority: KeyAuthority
  #stream: KeyStream | undefined
  readonly #digest: StreamingDigest | undefined
  #collected: Uint8Array = nothing
  #gatheredBytes = 0
  #givenBytes = 0
  #authorisation: Authorisation | undefined

  constructor(use: KeyUse, authority: KeyAuthority) {
    this.#use = use
    this.#authority = authority
    const { gathers } = use
    this.#digest = gathers !== 'stream' && 'hash' in gathers ? new StreamingDigest(gathers.hash) : undefined
  }

  begin(): void {
    if (this.#use.gathers === 'stream') this.#stream = this.#use.open?.()
  }

  get stepBytes(): number | undefined {
    return this.#stream?.stepBytes
  }

  get wantsAuthorisation(): boolean {
    return this.#use.access?.needs === 'context-pin' && this.#authorisation === undefined
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#gatheredBytes += chunk.length
    if (this.#stream !== undefined) {
      const output = await this.#stream.update(chunk)
      this.#givenBytes += output.length
      return output
    }
    if (this.#digest !== undefined) await this.#digest.update(chunk)
    else this.#collect(chunk)
    return nothing
  }

  #collect(chunk: Uint8Array): void {
    const { gathers } = this.#use
    const bytes = this.#collected.length + chunk.length
    if (gathers !== 'stream' && 'maxBytes' in gathers && bytes > gathers.maxBytes)
      throw new CryptokiError(gathers.tooMany ?? CKR.DATA_LEN_RANGE)
    this.#collected = concatBytes(this.#collected, chunk)
  }

  outputBytes(call: OperationCall, inputBytes: number): number {
    if (call === 'update') return this.#stream?.updateBytes(inputBytes) ?? 0
    return this.#use.outputBytes(this.#gatheredBytes + inputBytes) - this.#givenBytes
  }

  async final(progress: Progress, signature?: Uint8Array): Promise<Uint8Array> {
    if (this.#stream !== undefined) return this.#stream.final(signature)
    const data = (await this.#digest?.digest()) ?? this.#collected
    const prepared = await this.#use.prepare?.(data, signature)
    if (prepared === undefined) throw new CryptokiError(CKR.FUNCTION_NOT_SUPPORTED)
    progress.check()
    try {
      return await this.#perform(prepared, progress)
    } finally {
      // A key that is wrapped, for example. What goes to a card may still be on its way.
      if (this.#use.access === undefined) this.#collected.fill(0)
    }
  }

  end(): void {
    this.#stream?.abort()
    this.#authorisation?.release()
  }

  async #perform(prepared: PreparedUse, progress: Progress): Promise<Uint8Array> {
    const { access } = this.#use
    if (access === undefined) return prepared.perform(undefined, progress.transmitOptions)
    if (this.#authorisation !== undefined) return this.#authorisation.perform(prepared, progress)
    if (access.needs === 'context-pin') return this.#withContextPin(access, prepared, progress)
    const { context } = this.#authority
    if (access.needs === 'login' && !context.isVerified) await this.#logIn(progress)
    else progress.tell({ phase: 'awaiting-card', why: 'working' })
    let outcome = await this.#withoutAsking(access, prepared, progress)
    if (outcome === 'login-lost') {
      await this.#logIn(progress)
      outcome = await this.#withoutAsking(access, prepared, progress)
    }
    if (outcome === 'wants-context-pin') {
      access.learnContextPin()
      return this.#withContextPin(access, prepared, progress)
    }
    if (outcome === 'login-lost') throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    return outcome
  }

  /** What the person is told of a PIN that the key wants for this use alone. */
  get #contextPurpose(): PinPurpose {
    return this.#authority.purpose.startsWith('sign') ? 'signature' : 'decryption'
  }

  async #logIn(progress: Progress): Promise<void> {
    const { context, pin, onDemand } = this.#authority
    if (!onDemand || pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    await context.loginOnDemand(thenWorking(pin, progress), loginOptions(progress))
    progress.check()
  }

  #withoutAsking(access: KeyAccess, prepared: PreparedUse, progress: Progress): Promise<Outcome> {
    const { pin } = this.#authority.context.userPin
    const options = progress.transmitOptions
    return access.application.transaction(async (channel, { reselected }): Promise<Outcome> => {
      if (access.needs === 'login' && reselected) {
        // Somebody else was at the card: what it knows of the PIN may be gone. If it does not say, the key will.
        await pin.status(channel, options)
        if (!pin.mayBeVerified) return 'login-lost'
      }
      const { isFresh } = pin
      const watch = watchTouch(access, this.#authority.now, progress)
      try {
        return await prepared.perform(channel, watch.options)
      } catch (error) {
        if (!isRefusal(error)) throw error
        const asksOnlyTouch = access.touch === true && access.needs === 'nothing'
        if (isFresh || watch.hasWaited || asksOnlyTouch) throw new TouchMissedError({ cause: error })
        await pin.status(channel, options)
        if (!pin.mayBeVerified) return 'login-lost'
        // The card has told what it asks, and has the PIN.
        if (access.touch === true) throw new TouchMissedError({ cause: error })
        return 'wants-context-pin'
      }
    }, options)
  }

  /** VERIFY and the use of the key, with nothing between. */
  #withContextPin(access: KeyAccess, prepared: PreparedUse, progress: Progress): Promise<Uint8Array> {
    const { context, pin } = this.#authority
    if (pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    return context.userPin.verified(
      { purpose: this.#contextPurpose, source: thenWorking(pin, progress), options: loginOptions(progress) },
      (channel) => this.#performOnce(access, prepared, channel, progress),
    )
  }

  /** The PIN was right a moment ago: a card that wants one now wants something else. */
  async #performOnce(
    access: KeyAccess,
    prepared: PreparedUse,
    channel: CardChannel,
    progress: Progress,
  ): Promise<Uint8Array> {
    try {
      const watch = watchTouch(access, this.#authority.now, progress)
      return await prepared.perform(channel, watch.options)
    } catch (error) {
      throw isRefusal(error) ? new TouchMissedError({ cause: error }) : error
    }
  }

  /**
   * C's order: the PIN before the data. The card's lock is held until the data are complete or the operation ends, for
   * nothing may come between VERIFY and the use of the key. A wrong PIN leaves the operation as it was. If the operation
   * ends first, the person is asked no more.
   */
  async authorise(source: PinSource, progress: Progress): Promise<void> {
    const { access } = this.#use
    if (access === undefined || !this.wantsAuthorisation)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    type Complete = { readonly prepared: PreparedUse; readonly progress: Progress }
    let go!: (data: Complete) => void
    let stop!: (error: Error) => void
    const complete = new Promise<Complete>((resolve, reject) => {
      go = resolve
      stop = reject
    })
    const { context } = this.#authority
    const ending = new AbortController()
    const leave = (): void => ending.abort(progress.signal.reason)
    if (progress.signal.aborted) leave()
    else progress.signal.addEventListener('abort', leave, { once: true })
    let isHeld = false
    const hold = (held: boolean): void => {
      isHeld = held
      context.holdsCard = held
    }
    let result!: Promise<Uint8Array>
    const granted = new Promise<void>((resolve) => {
      result = context.userPin.verified(
        {
          purpose: this.#contextPurpose,
          source,
          options: { ...loginOptions(progress), signal: ending.signal },
        },
        async (channel) => {
          hold(true)
          resolve()
          const { prepared, progress: own } = await complete
          hold(false)
          return this.#performOnce(access, prepared, channel, own)
        },
      )
    })
    this.#authorisation = {
      perform: (prepared, own) => {
        if (isHeld) hold(false)
        go({ prepared, progress: own })
        return result
      },
      release: () => {
        if (!isHeld) {
          ending.abort(undefined)
          return
        }
        hold(false)
        stop(new AbortedError())
      },
    }
    try {
      await Promise.race([granted, result])
    } catch (error) {
      this.#authorisation = undefined
      throw error
    }
    // An operation that ends without its data leaves nobody who waits for it.
    result.catch(() => {})
  }
}

/** How long the card takes over one use of a key. */
interface TouchWatch {
  readonly options: TransmitOptions
  /** The card asked for more time for a second: it has looked at the PIN by then, and waits for the person. */
  hasWaited: boolean
}

/** Tells of a touch: at once if the card has said that the key wants one, else after a second of nothing but time extensions. */
function watchTouch({ touch }: KeyAccess, now: () => number, progress: Progress): TouchWatch {
  const options = progress.transmitOptions
  const begun = now()
  const tell = (): void => progress.tell({ phase: 'awaiting-touch' })
  if (touch) tell()
  const onWait = (why: WaitReason): void => {
    if (why === 'time-extension' && touch !== false) {
      if (touch || watch.hasWaited) return
      watch.hasWaited = now() - begun >= TOUCH_AFTER_MS
      if (watch.hasWaited) return tell()
    }
    options.onWait?.(why)
  }
  const watch: TouchWatch = { options: { ...options, onWait }, hasWaited: false }
  return watch
}

/** A status word is judged with the command that it answers: this one, to the use of a private key, is about access to it. */
function isRefusal(error: unknown): boolean {
  return isWebtokiError(error, 'card/status') && error.sw === SW.SECURITY_STATUS_NOT_SATISFIED
}

function loginOptions(progress: Progress): TokenLoginOptions {
  return { ...progress.transmitOptions, onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }) }
}

/** With the PIN given, it is the card's turn again. */
export function thenWorking(pin: PinSource, progress: Progress): PinSource {
  return async (request) => {
    const answer = await pin(request)
    progress.tell({ phase: 'awaiting-card', why: 'working' })
    return answer
  }
}
