/** The errors of readers. The one about their firmware is in a separate file. */
import { WebtokiError } from './webtoki-error.ts'

/** The browser denies web pages access to this interface class (WebUSB, protected interface classes). */
export class ProtectedClassError extends WebtokiError {
  readonly code = 'reader/protected-class'
  override get name(): 'ProtectedClassError' {
    return 'ProtectedClassError'
  }
  constructor(options?: ErrorOptions) {
    super(
      'The browser denies web pages access to USB interfaces of class 0x0B (Smart Card). ' +
        'Use an Isolated Web App, a native program or a reader with a vendor-class interface.',
      options,
    )
  }
}

/**
 * The interface is in use: by another slot source of this page, by another tab of this site, or by an unknown page or
 * program.
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
  page: 'Another Webtoki object or slot source of this page uses the reader. Close it and try again.',
  tab: 'Another tab of this site uses the reader. Close it or continue there.',
  unknown: 'Another page or program (such as pcscd) uses the reader. Close it and try again.',
} as const

/** The person or the operating system has not granted access to the reader. */
export class NotGrantedError extends WebtokiError {
  readonly code = 'reader/not-granted'
  override get name(): 'NotGrantedError' {
    return 'NotGrantedError'
  }
  constructor(
    message = 'The page has no permission to use the reader. Choose it again and allow access.',
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** This page cannot use any reader. */
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
  'no-api': 'This browser has no API for readers. Use a Chromium-based browser.',
  'insecure-context': 'The browser allows access to readers only for pages from https or localhost.',
  policy: 'The Permissions-Policy of this page, or of a page that embeds it, forbids access to readers.',
} as const

/** No reader is available: none is connected, or the person has not chosen one. */
export class NoReaderError extends WebtokiError {
  readonly code = 'reader/none'
  override get name(): 'NoReaderError' {
    return 'NoReaderError'
  }
  readonly why: 'not-chosen' | 'unknown'
  constructor(why: 'not-chosen' | 'unknown' = 'unknown', options?: ErrorOptions) {
    super(
      why === 'not-chosen'
        ? 'No reader was chosen. Choose one.'
        : 'No reader is available. Plug one in and choose it.',
      options,
    )
    this.why = why
  }
}

/** The page has closed the slot source of the reader. */
export class SourceClosedError extends WebtokiError {
  readonly code = 'reader/closed'
  override get name(): 'SourceClosedError' {
    return 'SourceClosedError'
  }
  constructor(options?: ErrorOptions) {
    super('The page has closed its slot source. Create a new one.', options)
  }
}

/** The reader was unplugged, or the permission to use it was revoked. */
export class ReaderGoneError extends WebtokiError {
  readonly code = 'reader/gone'
  override get name(): 'ReaderGoneError' {
    return 'ReaderGoneError'
  }
  constructor(options?: ErrorOptions) {
    super('The reader is no longer available. Plug it in again.', options)
  }
}

/** The reader reported that a command failed (CCID 1.1, 6.2.6). */
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
      `The reader refused ${command}: ${errorName} (bStatus ${hex2(bStatus)}, bError ${hex2(bError)}).${refusalAdvice[errorName] ?? ''}`,
      options,
    )
    this.command = command
    this.bStatus = bStatus
    this.bError = bError
    this.errorName = errorName
  }

  /**
   * True if the reader did not execute the command: it does not support it (bError 00) or refuses a field (01 to 7F; CCID
   * 1.1, table 6.2-2).
   */
  get isOfMessage(): boolean {
    return this.bError < 0x80
  }
}

/** Advice for the errors that a person can resolve. */
const refusalAdvice: Readonly<Record<string, string>> = {
  XFR_PARITY_ERROR: ' Clean the card’s contacts, reinsert it and try again.',
  XFR_OVERRUN: ' Reinsert the card and try again.',
  HW_ERROR: ' Remove the card, plug the reader in again and try again.',
  CMD_SLOT_BUSY: ' Wait a moment and try again.',
  BUSY_WITH_AUTO_SEQUENCE: ' Wait a moment and try again.',
}

/** No response arrived within the allowed time, including time extensions. */
export class ReaderTimeoutError extends WebtokiError {
  readonly code = 'reader/timeout'
  override get name(): 'ReaderTimeoutError' {
    return 'ReaderTimeoutError'
  }
  readonly waitedMs: number
  constructor(what: string, waitedMs: number, options?: ErrorOptions) {
    super(
      `No response to ${what} within ${waitedMs} ms. Reinsert the card or plug the reader in again.`,
      options,
    )
    this.waitedMs = waitedMs
  }
}

/** A transfer to or from the reader failed and could not be recovered. */
export class TransferError extends WebtokiError {
  readonly code = 'reader/transfer'
  override get name(): 'TransferError' {
    return 'TransferError'
  }
}

/** The driver does not support the reader. */
export class ReaderNotSupportedError extends WebtokiError {
  readonly code = 'reader/not-supported'
  override get name(): 'ReaderNotSupportedError' {
    return 'ReaderNotSupportedError'
  }
}

function hex2(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0')
}
