/** PIN sources and PIN requests: a PIN is requested when it is needed, used once and overwritten. */
import { AbortedError, type AbortSignalLike, type PinLimits, pinOf } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/**
 * The purpose of a PIN request: a login, one signature or one decryption by a key that requires the PIN for each use, unblocking
 * a PIN, choosing a new PIN, or the login of the security officer.
 */
export type PinPurpose = 'login' | 'signature' | 'decryption' | 'unblock' | 'new' | 'admin'

/** A request for a PIN, with what the user needs to know to enter it. */
export interface PinRequest extends PinLimits {
  readonly purpose: PinPurpose
  /** The label of the token or the PIN. */
  readonly label: string
  /** The display name of the reader that contains the card. */
  readonly reader?: string | undefined
  /**
   * The subject of the signature or login in the caller's words, such as the name of a document. Untrusted text: never render
   * it as markup.
   */
  readonly for?: string | undefined
  /** The attempts left; undefined if the card does not report them. */
  readonly triesLeft?: number | undefined
  /** 1 for the first request. Increases after each wrong PIN, and is reset by a correct one. */
  readonly attempt: number
  /** True if the PIN of the previous request was wrong. */
  readonly previousWasWrong: boolean
  /** The PIN is entered on the reader. The request only asks for consent to the last attempt, and the returned bytes are ignored. */
  readonly pinPad?: true | undefined
  /** True if one attempt is left. It is used only if the source returns `acceptLastTry`. */
  readonly lastTry: boolean
  /** Aborts when the PIN is no longer needed, so that a dialog can close. */
  readonly signal: AbortSignalLike
}

/** The PIN that a source returns. Its bytes are overwritten after they have been copied. */
export interface PinResponse {
  readonly pin: Uint8Array
  readonly acceptLastTry?: true
}

/** Asks the user for a PIN. Returns undefined, or rejects with an AbortError, if the user cancels. */
export type PinSource = (request: PinRequest) => PinResponse | undefined | Promise<PinResponse | undefined>

/** The PIN source of a call, and the subject that its requests state. */
export interface PinOptions {
  /** Called if the key or the login requires a PIN. Default: the session's PIN source. */
  readonly pin?: PinSource | undefined
  /** The subject of the signature or login, in words that the user knows: `PinRequest.for`. */
  readonly for?: string | undefined
}

/** The details of a PIN request that the token knows. */
export type PinRequestDetails = Omit<PinRequest, 'lastTry' | 'signal'> & {
  readonly signal: AbortSignalLike | undefined
}

/**
 * Calls the source once. Rejects with CKR_FUNCTION_CANCELED if the user cancels, with CKR_PIN_LEN_RANGE or CKR_PIN_INVALID if the
 * PIN is not valid for the card; nothing is sent then, and no attempt is lost. The returned PIN is a copy, which the caller
 * overwrites. The source's bytes are overwritten here.
 */
export async function requestPin(source: PinSource, details: PinRequestDetails): Promise<PinResponse> {
  const signal = details.signal ?? new AbortController().signal
  const request: PinRequest = { ...details, lastTry: details.triesLeft === 1, signal }
  const answer = await untilAborted(callSource(source, request), signal)
  if (answer === undefined || answer === null) throw noPinError()
  if (!hasPin(answer)) {
    const detail = 'a PIN source must return { pin } with the bytes of the PIN; nothing was sent'
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
  }
  const { acceptLastTry } = answer
  try {
    // A copy, because the card may be locked for a while, and the source could change its bytes before they are sent.
    const pin = details.pinPad === true ? new Uint8Array() : pinOf(answer.pin, details)
    return acceptLastTry === undefined ? { pin } : { pin, acceptLastTry }
  } finally {
    answer.pin.fill(0)
  }
}

async function callSource(source: PinSource, request: PinRequest): Promise<unknown> {
  try {
    return await source(request)
  } catch (error) {
    if ((error as { readonly name?: unknown } | undefined)?.name !== 'AbortError') throw error
    throw noPinError(error)
  }
}

function noPinError(cause?: unknown): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { detail: 'no PIN was given', cause })
}

/** Untyped pages may return anything. Accepts a Uint8Array of another realm too. */
function hasPin(answer: unknown): answer is PinResponse {
  const { pin } = (answer ?? {}) as { readonly pin?: unknown }
  return Object.prototype.toString.call(pin) === '[object Uint8Array]'
}

/** Waits for the source. Rejects when the signal aborts; a PIN that arrives later is overwritten and discarded. */
function untilAborted(pending: Promise<unknown>, signal: AbortSignalLike): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let isAborted = false
    const abort = (): void => {
      isAborted = true
      reject(new AbortedError({ cause: signal.reason }))
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    pending.then(
      (answer) => {
        signal.removeEventListener('abort', abort)
        if (!isAborted) resolve(answer)
        else if (hasPin(answer)) answer.pin.fill(0)
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort)
        reject(error as Error)
      },
    )
  })
}
