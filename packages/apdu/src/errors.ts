/** The base of all errors, and the errors of cards and readers. Data stands in fields; `cause` is kept. */

/**
 * Base of every error of this project. Each class has a literal `code`, `area/reason`, and a literal `name`, which a
 * minifier does not change. No class extends another: it would lose its literals.
 */
export abstract class WebtokiError extends Error {
  abstract readonly code: `${string}/${string}`
  abstract override get name(): string
  /** Marks the errors of every copy of this package; `isWebtokiError` looks for it. */
  get isWebtokiError(): true {
    return true
  }
}

/**
 * Whether it is an error of ours with one of these codes (with any code, if none is named). `instanceof` is false for an
 * error of another copy of this package, so errors that come from another package are told apart by this alone.
 */
export function isWebtokiError(error: unknown): error is WebtokiError
export function isWebtokiError<C extends ApduErrorCode>(
  error: unknown,
  ...codes: readonly C[]
): error is Extract<AnyCardError | AnyReaderError, { readonly code: C }>
export function isWebtokiError(error: unknown, ...codes: readonly string[]): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { isWebtokiError, code } = error as { readonly isWebtokiError?: unknown; readonly code?: unknown }
  return isWebtokiError === true && (codes.length === 0 || codes.includes(code as string))
}

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

/**
 * Blocks between reader and card kept breaking. Both sides have begun anew, and nothing was sent twice: whether the
 * card executed the command is unknown.
 */
export class CardGarbledError extends WebtokiError {
  readonly code = 'card/garbled'
  override get name(): 'CardGarbledError' {
    return 'CardGarbledError'
  }
  readonly why: 'resynchronised' | 'aborted'
  constructor(why: 'resynchronised' | 'aborted', options?: ErrorOptions) {
    super(
      why === 'aborted'
        ? 'The exchange with the card was broken off; try again.'
        : 'What came from the card was damaged again and again; clean its contacts and try again.',
      options,
    )
    this.why = why
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

/** The person cancelled on the reader. No try was spent. */
export class PinPadCancelledError extends WebtokiError {
  readonly code = 'card/pin-pad-cancelled'
  override get name(): 'PinPadCancelledError' {
    return 'PinPadCancelledError'
  }
  constructor(options?: ErrorOptions) {
    super('PIN entry was cancelled on the reader.', options)
  }
}

/** The person entered nothing on the reader in time. No try was spent. */
export class PinPadTimeoutError extends WebtokiError {
  readonly code = 'card/pin-pad-timeout'
  override get name(): 'PinPadTimeoutError' {
    return 'PinPadTimeoutError'
  }
  constructor(options?: ErrorOptions) {
    super('Nobody entered a PIN on the reader in time.', options)
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

/** The browser keeps this interface class from web pages (WebUSB, protected classes). */
export class ProtectedClassError extends WebtokiError {
  readonly code = 'reader/protected-class'
  override get name(): 'ProtectedClassError' {
    return 'ProtectedClassError'
  }
  constructor(options?: ErrorOptions) {
    super(
      'The browser keeps USB interfaces of the Smart Card class (0x0B) from web pages. ' +
        'An Isolated Web App, a native program or a reader with a vendor-class interface can be used instead.',
      options,
    )
  }
}

/**
 * The interface is claimed by somebody else: another source of this page, another tab of this site, or who that is
 * cannot be known.
 */
export class ReaderInUseError extends WebtokiError {
  readonly code = 'reader/in-use'
  override get name(): 'ReaderInUseError' {
    return 'ReaderInUseError'
  }
  readonly by: keyof typeof inUseMessages
  constructor(options?: ErrorOptions & { readonly by?: keyof typeof inUseMessages | undefined }) {
    const by = options?.by ?? 'unknown'
    super(inUseMessages[by], options)
    this.by = by
  }
}

const inUseMessages = {
  page: 'Another Webtoki object (or slot source) of this page holds the reader and was not closed; close it and try again.',
  tab: 'Another tab of this site holds the reader; close it, or go on there.',
  unknown: 'Another page or program (such as pcscd) holds the reader; close it and try again.',
} as const

/** The person or the system has not given access to the reader. */
export class NotGrantedError extends WebtokiError {
  readonly code = 'reader/not-granted'
  override get name(): 'NotGrantedError' {
    return 'NotGrantedError'
  }
  constructor(
    message = 'No permission to use the reader; choose it again and allow access.',
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Readers cannot be reached here at all, whichever is plugged in. */
export class ReadersUnreachableError extends WebtokiError {
  readonly code = 'reader/unreachable'
  override get name(): 'ReadersUnreachableError' {
    return 'ReadersUnreachableError'
  }
  readonly why: keyof typeof unreachableMessages
  constructor(why: keyof typeof unreachableMessages, options?: ErrorOptions) {
    super(unreachableMessages[why], options)
    this.why = why
  }
}

const unreachableMessages = {
  'no-api': 'This browser gives pages no access to readers; Chromium-based browsers do.',
  'insecure-context': 'The browser gives access to readers only to pages from https or localhost.',
  policy: 'The Permissions-Policy of this page, or of the page around it, forbids access to readers.',
} as const

/** There is no reader that may be used: none is plugged in, or the person has chosen none. */
export class NoReaderError extends WebtokiError {
  readonly code = 'reader/none'
  override get name(): 'NoReaderError' {
    return 'NoReaderError'
  }
  readonly why: 'not-chosen' | 'unknown'
  constructor(why: 'not-chosen' | 'unknown' = 'unknown', options?: ErrorOptions) {
    super(
      why === 'not-chosen'
        ? 'No reader was chosen; choose one.'
        : 'There is no reader that may be used; plug one in and choose it.',
      options,
    )
    this.why = why
  }
}

/** The source of the reader was closed by the page itself. */
export class SourceClosedError extends WebtokiError {
  readonly code = 'reader/closed'
  override get name(): 'SourceClosedError' {
    return 'SourceClosedError'
  }
  constructor(options?: ErrorOptions) {
    super('The page has closed its access to the readers; open it again.', options)
  }
}

/** The reader was unplugged, or the permission to use it was taken back. */
export class ReaderGoneError extends WebtokiError {
  readonly code = 'reader/gone'
  override get name(): 'ReaderGoneError' {
    return 'ReaderGoneError'
  }
  constructor(options?: ErrorOptions) {
    super('The reader is gone; plug it in again.', options)
  }
}

/** The reader answered a command with a failure of its own. */
export class ReaderRefusedError extends WebtokiError {
  readonly code = 'reader/refused'
  override get name(): 'ReaderRefusedError' {
    return 'ReaderRefusedError'
  }
  readonly command: string
  readonly bStatus: number
  readonly bError: number
  /** The CCID error's name, such as 'ICC_MUTE'. */
  readonly errorName: string
  constructor(command: string, bStatus: number, bError: number, errorName: string, options?: ErrorOptions) {
    super(
      `The reader refused ${command}: ${errorName} (bStatus ${hex2(bStatus)}, bError ${hex2(bError)})${refusalAdvice[errorName] ?? ''}.`,
      options,
    )
    this.command = command
    this.bStatus = bStatus
    this.bError = bError
    this.errorName = errorName
  }

  /** The reader did nothing: it does not know the message (bError 00), or refuses a field of it (01 to 7F; CCID 1.1, table 6.2-2). */
  get isOfMessage(): boolean {
    return this.bError < 0x80
  }
}

/** What the person can do about the refusals that a person can do something about. */
const refusalAdvice: Readonly<Record<string, string>> = {
  XFR_PARITY_ERROR: '; clean the card’s contacts, put it in again and try again',
  XFR_OVERRUN: '; put the card in again and try again',
  HW_ERROR: '; take the card out, plug the reader in again and try again',
  CMD_SLOT_BUSY: '; wait a moment and try again',
  BUSY_WITH_AUTO_SEQUENCE: '; wait a moment and try again',
}

/** No answer within the time allowed, time extensions included. */
export class ReaderTimeoutError extends WebtokiError {
  readonly code = 'reader/timeout'
  override get name(): 'ReaderTimeoutError' {
    return 'ReaderTimeoutError'
  }
  readonly waitedMs: number
  constructor(what: string, waitedMs: number, options?: ErrorOptions) {
    super(
      `No answer to ${what} within ${waitedMs} ms; reinsert the card or plug the reader in again.`,
      options,
    )
    this.waitedMs = waitedMs
  }
}

/** A USB transfer failed and could not be recovered. */
export class TransferError extends WebtokiError {
  readonly code = 'reader/transfer'
  override get name(): 'TransferError' {
    return 'TransferError'
  }
}

/** A warning: the reader is used, and its firmware is known to be faulty. */
export class ReaderFirmwareError extends WebtokiError {
  readonly code = 'reader/firmware'
  override get name(): 'ReaderFirmwareError' {
    return 'ReaderFirmwareError'
  }
  constructor(firmware: string, goodFirmware: string, options?: ErrorOptions) {
    super(
      `The reader has firmware ${firmware}; versions before ${goodFirmware} are known to be faulty. Update it if cards fail.`,
      options,
    )
  }
}

/** The reader needs something of the driver that it does not have yet. */
export class ReaderNotSupportedError extends WebtokiError {
  readonly code = 'reader/not-supported'
  override get name(): 'ReaderNotSupportedError' {
    return 'ReaderNotSupportedError'
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

/** Every error that tells of a card. */
export type AnyCardError =
  | CardGoneError
  | CardAbsentError
  | CardSilentError
  | CardGarbledError
  | CardTooSlowError
  | MalformedError
  | StatusError
  | TouchMissedError
  | PinError
  | PinBlockedError
  | LastTryError
  | PinPadCancelledError
  | PinPadTimeoutError
  | PinPadRefusedError
  | NotSupportedError
  | TransactionError
  | AbortedError

/** Every error that tells of a reader. */
export type AnyReaderError =
  | ProtectedClassError
  | ReaderInUseError
  | NotGrantedError
  | ReadersUnreachableError
  | NoReaderError
  | SourceClosedError
  | ReaderGoneError
  | ReaderRefusedError
  | ReaderTimeoutError
  | TransferError
  | ReaderNotSupportedError
  | ReaderFirmwareError

/** The codes of cards, readers, what came over the wire, and work that was given up. */
export type ApduErrorCode = (AnyCardError | AnyReaderError)['code'] | 'card/pin-format'

function hex2(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0')
}

function hex4(value: number): string {
  return value.toString(16).toUpperCase().padStart(4, '0')
}
