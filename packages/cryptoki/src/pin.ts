/** Where PINs come from: asked for when they are needed, used once, and overwritten. */
import { AbortedError, type AbortSignalLike, type PinLimits, pinOf } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/**
 * What a PIN is for: the login, one signature or one decryption by a key that wants a PIN for each, a PIN that is unblocked
 * or chosen, or the login of the security officer.
 */
export type PinPurpose = 'login' | 'signature' | 'decryption' | 'unblock' | 'new' | 'admin'

/** What a person needs to know to answer. */
export interface PinRequest extends PinLimits {
  readonly purpose: PinPurpose
  /** Of the token or the PIN. */
  readonly label: string
  /** The reader that the card is in, by its friendly name. */
  readonly reader?: string | undefined
  /** What is signed or logged in to, in the caller's words, such as the name of a document. Not trusted, and never markup. */
  readonly for?: string | undefined
  /** Absent if the card does not tell. */
  readonly triesLeft?: number | undefined
  /** 1 for the first request; one more after each wrong PIN, until one is right. */
  readonly attempt: number
  /** Whether the PIN that was given before this request was wrong. */
  readonly previousWasWrong: boolean
  /** The PIN is typed on the reader: the answer's bytes count for nothing. Asked if the last attempt needs a yes. */
  readonly pinPad?: true | undefined
  /** One attempt is left: it is spent only if the answer says `acceptLastTry`. */
  readonly lastTry: boolean
  /** Aborts when nobody waits for the PIN any more: the dialog may close. */
  readonly signal: AbortSignalLike
}

/** A PIN, given away: its bytes are overwritten as soon as they are taken over. */
export interface PinAnswer {
  readonly pin: Uint8Array
  readonly acceptLastTry?: true
}

/** Asks for one PIN; undefined, or a rejection with an AbortError: the person said no. */
export type PinSource = (request: PinRequest) => PinAnswer | undefined | Promise<PinAnswer | undefined>

/** Who is asked for a PIN, and what the request names. */
export interface PinOptions {
  /** Asked for the PIN if the key or the login needs one; default: the session's own. */
  readonly pin?: PinSource | undefined
  /** What is signed or logged in to, in words that the person knows: `PinRequest.for`. */
  readonly for?: string | undefined
}

/** What the token knows when a PIN is needed. */
export type PinNeed = Omit<PinRequest, 'lastTry' | 'signal'> & {
  readonly signal: AbortSignalLike | undefined
}

/**
 * Asks once. Rejects with CKR_FUNCTION_CANCELED if the person said no, CKR_PIN_LEN_RANGE or CKR_PIN_INVALID if the PIN
 * cannot be right: nothing was sent, and no attempt is lost. The PIN is a copy, which the caller overwrites; the source's
 * own bytes are overwritten here.
 */
export async function requestPin(source: PinSource, need: PinNeed): Promise<PinAnswer> {
  const signal = need.signal ?? new AbortController().signal
  const request: PinRequest = { ...need, lastTry: need.triesLeft === 1, signal }
  const answer = await untilAborted(ask(source, request), signal)
  if (answer === undefined || answer === null) throw noPin()
  if (!hasPin(answer)) {
    const detail = 'a PIN is given as { pin }, bytes such as TextEncoder makes of a text; nothing was sent'
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
  }
  const { acceptLastTry } = answer
  try {
    // A copy: the card may be in other hands for a while, and what is written into the source's bytes meanwhile is not sent.
    const pin = need.pinPad === true ? new Uint8Array() : pinOf(answer.pin, need)
    return acceptLastTry === undefined ? { pin } : { pin, acceptLastTry }
  } finally {
    answer.pin.fill(0)
  }
}

async function ask(source: PinSource, request: PinRequest): Promise<unknown> {
  try {
    return await source(request)
  } catch (error) {
    if ((error as { readonly name?: unknown } | undefined)?.name !== 'AbortError') throw error
    throw noPin(error)
  }
}

function noPin(cause?: unknown): CryptokiError {
  return new CryptokiError(CKR.FUNCTION_CANCELED, { detail: 'no PIN was given', cause })
}

/** Pages without types answer anything; another realm's Uint8Array is one too. */
function hasPin(answer: unknown): answer is PinAnswer {
  const { pin } = (answer ?? {}) as { readonly pin?: unknown }
  return Object.prototype.toString.call(pin) === '[object Uint8Array]'
}

/** A PIN that comes after its operation was abandoned is overwritten unseen. */
function untilAborted(asked: Promise<unknown>, signal: AbortSignalLike): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let over = false
    const abort = (): void => {
      over = true
      reject(new AbortedError({ cause: signal.reason }))
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    asked.then(
      (answer) => {
        signal.removeEventListener('abort', abort)
        if (!over) resolve(answer)
        else if (hasPin(answer)) answer.pin.fill(0)
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort)
        reject(error as Error)
      },
    )
  })
}
