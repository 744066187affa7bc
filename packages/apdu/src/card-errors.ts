/** The errors of cards and their responses. Errors that occur with some readers only are in separate files. */
import { WebtokiError } from './webtoki-error.ts'

/** The card is no longer reachable through this connection. */
export class CardGoneError extends WebtokiError {
  readonly code = 'card/gone'
  override get name(): 'CardGoneError' {
    return 'CardGoneError'
  }
  readonly why: keyof typeof goneMessages
  constructor(why: keyof typeof goneMessages, options?: ErrorOptions) {
    super(goneMessages[why], options)
    this.why = why
  }
}

const goneMessages = {
  removed: 'The card was removed. Insert it again and restart the operation.',
  replaced: 'The reader contains another card now; no PIN was sent to it. Restart the operation.',
  reset: 'The card was reset and lost its state. Restart the operation.',
  'reader-gone': 'The reader was unplugged. Plug it in again and restart the operation.',
  closed: 'The connection to the card was closed.',
} as const

/** There is no card in the reader. */
export class CardAbsentError extends WebtokiError {
  readonly code = 'card/absent'
  override get name(): 'CardAbsentError' {
    return 'CardAbsentError'
  }
  constructor(options?: ErrorOptions) {
    super('There is no card in the reader. Insert one.', options)
  }
}

/** The card sent no response, or no ATR. */
export class CardSilentError extends WebtokiError {
  readonly code = 'card/mute'
  override get name(): 'CardSilentError' {
    return 'CardSilentError'
  }
  constructor(
    message = 'The card does not respond. Check that it is inserted the right way round.',
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The card requested more time than the caller allows. Whether it executes the command is unknown. */
export class CardTooSlowError extends WebtokiError {
  readonly code = 'card/too-slow'
  override get name(): 'CardTooSlowError' {
    return 'CardTooSlowError'
  }
  /** The requested time extension in milliseconds. */
  readonly askedMs: number
  constructor(askedMs: number, options?: ErrorOptions) {
    super(
      `The card requested ${Math.round(askedMs)} ms, which is more than allowed. Reinsert it and try again.`,
      options,
    )
    this.askedMs = askedMs
  }
}

/** Received data cannot be decoded. The message names lengths and header bytes, never the content. */
export class MalformedError extends WebtokiError {
  readonly code = 'wire/malformed'
  override get name(): 'MalformedError' {
    return 'MalformedError'
  }
  readonly what: string
  constructor(what: string, detail: string, options?: ErrorOptions) {
    super(`Malformed ${what}: ${detail}.`, options)
    this.what = what
  }
}

/** The card refused a command. Never contains data of the command or the response. */
export class StatusError extends WebtokiError {
  readonly code = 'card/status'
  override get name(): 'StatusError' {
    return 'StatusError'
  }
  /** SW1 SW2 as one number. */
  readonly sw: number
  /** The command's name, such as 'GET DATA'. */
  readonly command: string
  constructor(command: string, sw: number, meaning: string, options?: ErrorOptions) {
    super(`The card refused ${command} with ${hex4(sw)} (${meaning}).`, options)
    this.sw = sw
    this.command = command
  }
}

/**
 * The card accepted the PIN and then refused to use the key, probably because the key requires a touch that did not happen
 * in time. Nothing was signed or decrypted.
 */
export class TouchMissedError extends WebtokiError {
  readonly code = 'card/touch-missed'
  override get name(): 'TouchMissedError' {
    return 'TouchMissedError'
  }
  constructor(options?: ErrorOptions) {
    super('The card accepted the PIN but refused to use the key. Touch it when it blinks.', options)
  }
}

/** The PIN is wrong. One attempt was used. */
export class PinError extends WebtokiError {
  readonly code = 'card/pin-wrong'
  override get name(): 'PinError' {
    return 'PinError'
  }
  readonly triesLeft: number
  constructor(triesLeft: number, options?: ErrorOptions) {
    super(`The PIN is wrong; ${triesLeft} ${triesLeft === 1 ? 'attempt' : 'attempts'} left.`, options)
    this.triesLeft = triesLeft
  }
}

/** No attempt is left, so the card refuses every PIN. */
export class PinBlockedError extends WebtokiError {
  readonly code = 'card/pin-blocked'
  override get name(): 'PinBlockedError' {
    return 'PinBlockedError'
  }
  constructor(options?: ErrorOptions) {
    super('The PIN is blocked. Unblock it with the PUK.', options)
  }
}

/** Only one attempt is left, and the caller has not allowed its use (`acceptLastTry`). VERIFY was not sent. */
export class LastTryError extends WebtokiError {
  readonly code = 'card/last-try'
  override get name(): 'LastTryError' {
    return 'LastTryError'
  }
  constructor(options?: ErrorOptions) {
    super('Only one PIN attempt is left. It was not used, because that requires explicit consent.', options)
  }
}

/**
 * The reader reports a PIN pad but refused PIN entry. Nothing was sent to the card. Request the PIN on the computer
 * instead.
 */
export class PinPadRefusedError extends WebtokiError {
  readonly code = 'card/pin-pad-refused'
  override get name(): 'PinPadRefusedError' {
    return 'PinPadRefusedError'
  }
  constructor(options?: ErrorOptions) {
    super('The reader reports a PIN pad but refuses PIN entry. Enter the PIN on the computer.', options)
  }
}

/** The card, the reader or Webtoki does not support the requested operation, which was not performed. */
export class NotSupportedError extends WebtokiError {
  readonly code = 'card/not-supported'
  override get name(): 'NotSupportedError' {
    return 'NotSupportedError'
  }
}

/** A transaction was started inside another one, or a channel was used after its transaction. */
export class TransactionError extends WebtokiError {
  readonly code = 'card/transaction'
  override get name(): 'TransactionError' {
    return 'TransactionError'
  }
}

/** The caller aborted the operation. `cause` is the reason of its signal. */
export class AbortedError extends WebtokiError {
  readonly code = 'work/aborted'
  override get name(): 'AbortedError' {
    return 'AbortedError'
  }
  constructor(options?: ErrorOptions) {
    super('The caller aborted the operation.', options)
  }
}

function hex4(value: number): string {
  return value.toString(16).toUpperCase().padStart(4, '0')
}
