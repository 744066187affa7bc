/** What goes wrong with cards, and with what they answer. Those that only some readers give have files of their own. */
import { WebtokiError } from './webtoki-error.ts'

/** The card that this connection spoke to is no longer reachable through it. */
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
  removed: 'The card was removed from the reader; put it back and start again.',
  replaced: 'Another card is in the reader now, and no PIN was sent to it; start again.',
  reset: 'The card was reset, so what it had been told is lost; start again.',
  'reader-gone': 'The reader was unplugged; plug it in and start again.',
  closed: 'The connection to the card was closed.',
} as const

/** There is no card in the reader. */
export class CardAbsentError extends WebtokiError {
  readonly code = 'card/absent'
  override get name(): 'CardAbsentError' {
    return 'CardAbsentError'
  }
  constructor(options?: ErrorOptions) {
    super('There is no card in the reader; put one in.', options)
  }
}

/** The card answered nothing, or no ATR. */
export class CardSilentError extends WebtokiError {
  readonly code = 'card/mute'
  override get name(): 'CardSilentError' {
    return 'CardSilentError'
  }
  constructor(
    message = 'The card does not answer; check that it is inserted the right way round.',
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The card asks for more time than the caller has. Whether it executes the command is unknown. */
export class CardTooSlowError extends WebtokiError {
  readonly code = 'card/too-slow'
  override get name(): 'CardTooSlowError' {
    return 'CardTooSlowError'
  }
  readonly askedMs: number
  constructor(askedMs: number, options?: ErrorOptions) {
    super(
      `The card asks for ${Math.round(askedMs)} ms more than it may take; reinsert it and try again.`,
      options,
    )
    this.askedMs = askedMs
  }
}

/** A decoder refused what came. Carries length and header, never the body. */
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

/** The card refused a command. Never carries the command's or the answer's data. */
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
 * The card took the PIN and refused the key right after it: probably the key has to be touched, and nobody touched it in
 * time. Nothing was signed or decrypted.
 */
export class TouchMissedError extends WebtokiError {
  readonly code = 'card/touch-missed'
  override get name(): 'TouchMissedError' {
    return 'TouchMissedError'
  }
  constructor(options?: ErrorOptions) {
    super('The card took the PIN and refused the key; touch it when it blinks.', options)
  }
}

/** The card compared the PIN and refused it. */
export class PinError extends WebtokiError {
  readonly code = 'card/pin-wrong'
  override get name(): 'PinError' {
    return 'PinError'
  }
  readonly triesLeft: number
  constructor(triesLeft: number, options?: ErrorOptions) {
    super(`The card refused the PIN; ${triesLeft} ${triesLeft === 1 ? 'try' : 'tries'} left.`, options)
    this.triesLeft = triesLeft
  }
}

/** No try is left; the card compares no PIN any more. */
export class PinBlockedError extends WebtokiError {
  readonly code = 'card/pin-blocked'
  override get name(): 'PinBlockedError' {
    return 'PinBlockedError'
  }
  constructor(options?: ErrorOptions) {
    super('The PIN is blocked; unblock it with the PUK before trying again.', options)
  }
}

/** The last try is left, and nobody said that it may be spent. Nothing was sent. */
export class LastTryError extends WebtokiError {
  readonly code = 'card/last-try'
  override get name(): 'LastTryError' {
    return 'LastTryError'
  }
  constructor(options?: ErrorOptions) {
    super(
      'Only one PIN try is left, and it is not spent without an explicit yes. Nothing was sent to the card.',
      options,
    )
  }
}

/**
 * The reader announces a PIN pad and refused the PIN entry itself: nobody typed, and nothing was sent to the card. Ask
 * for the PIN on the computer.
 */
export class PinPadRefusedError extends WebtokiError {
  readonly code = 'card/pin-pad-refused'
  override get name(): 'PinPadRefusedError' {
    return 'PinPadRefusedError'
  }
  constructor(options?: ErrorOptions) {
    super('The reader announces a PIN pad but takes no PIN on it; enter the PIN on the computer.', options)
  }
}

/** The card (or this driver, so far) lacks what was asked for. Nothing was sent. */
export class NotSupportedError extends WebtokiError {
  readonly code = 'card/not-supported'
  override get name(): 'NotSupportedError' {
    return 'NotSupportedError'
  }
}

/** A transaction was begun inside a transaction, or a channel was used after its transaction. */
export class TransactionError extends WebtokiError {
  readonly code = 'card/transaction'
  override get name(): 'TransactionError' {
    return 'TransactionError'
  }
}

/** The caller withdrew before the work was done. */
export class AbortedError extends WebtokiError {
  readonly code = 'work/aborted'
  override get name(): 'AbortedError' {
    return 'AbortedError'
  }
  constructor(options?: ErrorOptions) {
    super('The caller cancelled the work.', options)
  }
}

function hex4(value: number): string {
  return value.toString(16).toUpperCase().padStart(4, '0')
}
