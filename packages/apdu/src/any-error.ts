/** The errors of cards and readers as one union, and how any error of ours is known. */
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
