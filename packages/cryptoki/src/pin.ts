/** Where PINs come from: asked for when they are needed, used once, and overwritten. */
import { AbortedError, type AbortSignalLike, copyOf } from '@webtoki/apdu'
import { Cancellation } from './cancellation.ts'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** What a person needs to know to answer. */
export interface PinRequest {
  /** 'context': the PIN of a key that wants one for each signature. */
  readonly user: 'user' | 'so' | 'context'
  /** Of the token or the PIN. */
  readonly label: string
  /** The reader that the card is in, by its friendly name. */
  readonly reader?: string
  /** Absent where the card does not tell. */
  readonly triesLeft?: number
  /** The PIN is typed on the reader: the answer's bytes count for nothing. Asked for where the last try needs a yes. */
  readonly pinPad?: true
  /** One try is left: it is spent only where the answer says `acceptLastTry`. */
  readonly lastTry: boolean
  /** Aborts when nobody waits for the PIN any more: the dialog may close. */
  readonly signal: AbortSignalLike
}

/** A PIN, given away: its bytes are overwritten as soon as they are taken over. */
export interface PinAnswer {
  readonly pin: Uint8Array
  readonly acceptLastTry?: true
}

/** Asks for one PIN; undefined: the person said no. */
export type PinSource = (request: PinRequest) => Promise<PinAnswer | undefined>

/** What the token knows when a PIN is needed. */
export interface PinNeed {
  readonly user: PinRequest['user']
  readonly label: string
  readonly triesLeft: number | undefined
  readonly minBytes: number
  readonly maxBytes: number
  readonly signal: AbortSignalLike | undefined
  /** Nothing is typed in the page. */
  readonly pinPad?: true
}

/**
 * Asks once. Rejects with CKR_FUNCTION_CANCELED where the person said no, CKR_PIN_LEN_RANGE where the PIN cannot be
 * right: nothing was sent, and no try is lost. The PIN is a copy, which the caller overwrites; the source's own bytes
 * are overwritten here.
 */
export async function requestPin(source: PinSource, need: PinNeed): Promise<PinAnswer> {
  const { user, label, triesLeft, minBytes, maxBytes } = need
  const signal = need.signal ?? new Cancellation()
  const request: PinRequest = {
    user,
    label,
    ...(triesLeft === undefined ? {} : { triesLeft }),
    lastTry: triesLeft === 1,
    ...(need.pinPad === undefined ? {} : { pinPad: need.pinPad }),
    signal,
  }
  const answer = await untilAborted(Promise.resolve(source(request)), signal)
  if (answer === undefined || answer === null)
    throw new CryptokiError(CKR.FUNCTION_CANCELED, { detail: 'no PIN was given' })
  if (!hasPin(answer)) {
    const detail = 'a PIN is given as { pin }, bytes such as TextEncoder makes of a text; nothing was sent'
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
  }
  // The card may be in other hands for a while: what is written into the source's bytes meanwhile is not sent.
  const pin = copyOf(answer.pin)
  answer.pin.fill(0)
  if (need.pinPad === undefined && (pin.length < minBytes || pin.length > maxBytes)) {
    pin.fill(0)
    throw new CryptokiError(CKR.PIN_LEN_RANGE)
  }
  return { ...answer, pin }
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
