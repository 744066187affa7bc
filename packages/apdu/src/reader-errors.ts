/** What goes wrong with readers. The one about their firmware has a file of its own. */
import { WebtokiError } from './webtoki-error.ts'

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

/** The reader needs something of the driver that it does not have yet. */
export class ReaderNotSupportedError extends WebtokiError {
  readonly code = 'reader/not-supported'
  override get name(): 'ReaderNotSupportedError' {
    return 'ReaderNotSupportedError'
  }
}

function hex2(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0')
}
