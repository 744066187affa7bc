/** The errors of cards and readers as unions, and the function that recognizes Webtoki errors. */
import type {
  AbortedError,
  CardAbsentError,
  CardGoneError,
  CardSilentError,
  CardTooSlowError,
  LastTryError,
  MalformedError,
  NotSupportedError,
  PinBlockedError,
  PinError,
  PinPadRefusedError,
  StatusError,
  TouchMissedError,
  TransactionError,
} from './card-errors.ts'
import type { CardGarbledError } from './card-garbled-error.ts'
import type { PinPadCancelledError, PinPadTimeoutError } from './pin-pad-errors.ts'
import type {
  NoReaderError,
  NotGrantedError,
  ProtectedClassError,
  ReaderGoneError,
  ReaderInUseError,
  ReaderNotSupportedError,
  ReaderRefusedError,
  ReaderTimeoutError,
  ReadersUnreachableError,
  SourceClosedError,
  TransferError,
} from './reader-errors.ts'
import type { ReaderFirmwareError } from './reader-firmware-error.ts'
import type { WebtokiError } from './webtoki-error.ts'

/** The errors of cards. */
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

/** The errors of readers. */
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

/** The codes of card and reader errors, malformed data and aborted operations. */
export type ApduErrorCode = (AnyCardError | AnyReaderError)['code'] | 'card/pin-format'

/**
 * Returns true for a Webtoki error with one of the codes, or with any code if none is given. Use it instead of `instanceof`
 * for errors from another package, because `instanceof` is false for errors of another copy of this package.
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
