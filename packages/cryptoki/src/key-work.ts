/**
 * The work of one operation with a key: accumulates the data, then asks the user for a PIN if necessary, then uses the key
 * (PKCS#11 v2.40, 5.8, 5.9, 5.11).
 */
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

/** If the card sends nothing but time extensions for this long, the key probably waits for a touch. */
const TOUCH_AFTER_MS = 1000

const noBytes = new Uint8Array(0)

/** How a use of a key obtains a login or PIN. */
export interface KeyAuthority {
  readonly context: TokenContext
  readonly pin: PinSource | undefined
  readonly purpose: KeyPurpose
  /** True if the use logs in when the card requires it; otherwise it rejects with CKR_USER_NOT_LOGGED_IN. */
  readonly onDemand: boolean
  /** Returns a time in milliseconds; the origin does not matter. */
  readonly now: () => number
}

/** The outcome of a use of a key without asking for a PIN. */
type Outcome = Uint8Array | 'login-lost' | 'needs-context-pin'

/** A PIN verified by C_Login with CKU_CONTEXT_SPECIFIC, whose transaction is held until the data is complete. */
interface Authorisation {
  perform(prepared: PreparedUse, progress: Progress): Promise<Uint8Array>
  release(): void
}

/** Performs a `KeyUse` as the work of an operation. */
export class KeyWork implements OperationWork {
  readonly #use: KeyUse
  readonly #authority: KeyAuthority
  #stream: KeyStream | undefined
  readonly #digest: StreamingDigest | undefined
  #bufferedData: Uint8Array = noBytes
  #inputBytes = 0
  #returnedBytes = 0
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

  get needsAuthorisation(): boolean {
    return this.#use.access?.needs === 'context-pin' && this.#authorisation === undefined
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#inputBytes += chunk.length
    if (this.#stream !== undefined) {
      const output = await this.#stream.update(chunk)
      this.#returnedBytes += output.length
      return output
    }
    if (this.#digest !== undefined) await this.#digest.update(chunk)
    else this.#bufferData(chunk)
    return noBytes
  }

  #bufferData(chunk: Uint8Array): void {
    const { gathers } = this.#use
    const bytes = this.#bufferedData.length + chunk.length
    if (gathers !== 'stream' && 'maxBytes' in gathers && bytes > gathers.maxBytes)
      throw new CryptokiError(gathers.tooMany ?? CKR.DATA_LEN_RANGE)
    this.#bufferedData = concatBytes(this.#bufferedData, chunk)
  }

  outputBytes(call: OperationCall, inputBytes: number): number {
    if (call === 'update') return this.#stream?.updateBytes(inputBytes) ?? 0
    return this.#use.outputBytes(this.#inputBytes + inputBytes) - this.#returnedBytes
  }

  async final(progress: Progress, signature?: Uint8Array): Promise<Uint8Array> {
    if (this.#stream !== undefined) return this.#stream.final(signature)
    const data = (await this.#digest?.digest()) ?? this.#bufferedData
    const prepared = await this.#use.prepare?.(data, signature)
    if (prepared === undefined) throw new CryptokiError(CKR.FUNCTION_NOT_SUPPORTED)
    progress.check()
    try {
      return await this.#perform(prepared, progress)
    } finally {
      // The data may be secret, such as a key to wrap. Data for a card is kept, because its transmission may still be pending.
      if (this.#use.access === undefined) this.#bufferedData.fill(0)
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
    if (access.needs === 'context-pin') return this.#performWithContextPin(access, prepared, progress)
    const { context } = this.#authority
    if (access.needs === 'login' && !context.isVerified) await this.#login(progress)
    else progress.report({ phase: 'awaiting-card', why: 'working' })
    let outcome = await this.#performWithoutPin(access, prepared, progress)
    if (outcome === 'login-lost') {
      await this.#login(progress)
      outcome = await this.#performWithoutPin(access, prepared, progress)
    }
    if (outcome === 'needs-context-pin') {
      access.learnContextPin()
      return this.#performWithContextPin(access, prepared, progress)
    }
    if (outcome === 'login-lost') throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    return outcome
  }

  /** The purpose in the request for a PIN that is valid only for this use. */
  get #contextPurpose(): PinPurpose {
    return this.#authority.purpose.startsWith('sign') ? 'signature' : 'decryption'
  }

  async #login(progress: Progress): Promise<void> {
    const { context, pin, onDemand } = this.#authority
    if (!onDemand || pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    await context.loginOnDemand(withWorkingEvent(pin, progress), loginOptions(progress))
    progress.check()
  }

  #performWithoutPin(access: KeyAccess, prepared: PreparedUse, progress: Progress): Promise<Outcome> {
    const { pin } = this.#authority.context.userPin
    const options = progress.transmitOptions
    return access.application.transaction(async (channel, { reselected }): Promise<Outcome> => {
      if (access.needs === 'login' && reselected) {
        // Another user of the card may have reset the verified state. If the card does not report its state, the use below fails.
        await pin.status(channel, options)
        if (!pin.mayBeVerified) return 'login-lost'
      }
      const { isFresh } = pin
      const watch = watchTouch(access, this.#authority.now, progress)
      try {
        return await prepared.perform(channel, watch.options)
      } catch (error) {
        if (!isAccessRefusal(error)) throw error
        const asksOnlyTouch = access.touch === true && access.needs === 'nothing'
        if (isFresh || watch.hasWaited || asksOnlyTouch) throw new TouchMissedError({ cause: error })
        await pin.status(channel, options)
        if (!pin.mayBeVerified) return 'login-lost'
        // The PIN is verified and the card reported that the key requires a touch, so the touch is missing.
        if (access.touch === true) throw new TouchMissedError({ cause: error })
        return 'needs-context-pin'
      }
    }, options)
  }

  /** Sends VERIFY and uses the key in one transaction. */
  #performWithContextPin(access: KeyAccess, prepared: PreparedUse, progress: Progress): Promise<Uint8Array> {
    const { context, pin } = this.#authority
    if (pin === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    return context.userPin.withPin(
      {
        purpose: this.#contextPurpose,
        source: withWorkingEvent(pin, progress),
        options: loginOptions(progress),
      },
      (channel) => this.#performOnce(access, prepared, channel, progress),
    )
  }

  /** Uses the key right after VERIFY. If the card still denies access, the PIN is not the cause, so the touch is missing. */
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
      throw isAccessRefusal(error) ? new TouchMissedError({ cause: error }) : error
    }
  }

  /**
   * C_Login with CKU_CONTEXT_SPECIFIC, which takes the PIN before the data. The card stays locked until the data is complete or
   * the operation ends, because no other command may come between VERIFY and the use of the key. After a wrong PIN, the
   * operation continues as before. If the operation ends first, the PIN request is aborted.
   */
  async authorise(source: PinSource, progress: Progress): Promise<void> {
    const { access } = this.#use
    if (access === undefined || !this.needsAuthorisation)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    type Complete = { readonly prepared: PreparedUse; readonly progress: Progress }
    let resolveData!: (data: Complete) => void
    let rejectData!: (error: Error) => void
    const completeData = new Promise<Complete>((resolve, reject) => {
      resolveData = resolve
      rejectData = reject
    })
    const { context } = this.#authority
    const dialog = new AbortController()
    const abort = (): void => dialog.abort(progress.signal.reason)
    if (progress.signal.aborted) abort()
    else progress.signal.addEventListener('abort', abort, { once: true })
    let isHeld = false
    const setHeld = (held: boolean): void => {
      isHeld = held
      context.holdsCard = held
    }
    let result!: Promise<Uint8Array>
    const granted = new Promise<void>((resolve) => {
      result = context.userPin.withPin(
        {
          purpose: this.#contextPurpose,
          source,
          options: { ...loginOptions(progress), signal: dialog.signal },
        },
        async (channel) => {
          setHeld(true)
          resolve()
          const { prepared, progress: own } = await completeData
          setHeld(false)
          return this.#performOnce(access, prepared, channel, own)
        },
      )
    })
    this.#authorisation = {
      perform: (prepared, own) => {
        if (isHeld) setHeld(false)
        resolveData({ prepared, progress: own })
        return result
      },
      release: () => {
        if (!isHeld) {
          dialog.abort(undefined)
          return
        }
        setHeld(false)
        rejectData(new AbortedError())
      },
    }
    try {
      await Promise.race([granted, result])
    } catch (error) {
      this.#authorisation = undefined
      throw error
    }
    // If the operation ends without its data, nothing awaits the result.
    result.catch(() => {})
  }
}

/** Observes how long the card takes for one use of a key. */
interface TouchWatch {
  readonly options: TransmitOptions
  /** True after a second of time extensions: the card has checked the PIN by then and waits for a touch. */
  hasWaited: boolean
}

/** Reports 'awaiting-touch': immediately if the key is known to require a touch, otherwise after a second of time extensions. */
function watchTouch({ touch }: KeyAccess, now: () => number, progress: Progress): TouchWatch {
  const options = progress.transmitOptions
  const startedAt = now()
  const report = (): void => progress.report({ phase: 'awaiting-touch' })
  if (touch) report()
  const onWait = (why: WaitReason): void => {
    if (why === 'time-extension' && touch !== false) {
      if (touch || watch.hasWaited) return
      watch.hasWaited = now() - startedAt >= TOUCH_AFTER_MS
      if (watch.hasWaited) return report()
    }
    options.onWait?.(why)
  }
  const watch: TouchWatch = { options: { ...options, onWait }, hasWaited: false }
  return watch
}

/** True for the status word 6982, which in a response to the use of a private key means that access is denied. */
function isAccessRefusal(error: unknown): boolean {
  return isWebtokiError(error, 'card/status') && error.sw === SW.SECURITY_STATUS_NOT_SATISFIED
}

function loginOptions(progress: Progress): TokenLoginOptions {
  return { ...progress.transmitOptions, onAwaitPin: () => progress.report({ phase: 'awaiting-pin' }) }
}

/** Wraps a PIN source so that 'awaiting-card' is reported as soon as the PIN has been given. */
export function withWorkingEvent(pin: PinSource, progress: Progress): PinSource {
  return async (request) => {
    const entered = await pin(request)
    progress.report({ phase: 'awaiting-card', why: 'working' })
    return entered
  }
}
