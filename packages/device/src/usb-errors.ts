/** The border to the browser: what WebUSB throws becomes an error of ours, by the call that threw it. */
import {
  NotGrantedError,
  ProtectedClassError,
  ReaderGoneError,
  ReaderInUseError,
  WebtokiError,
  TransferError,
} from '@webtoki/apdu'

/** The step that failed. SecurityError means one thing at `open` and another at `claim`. */
export type UsbCall = 'open' | 'descriptor' | 'claim' | 'transfer'

/** Never throws; errors of ours pass as they are. */
export function translateUsbError(call: UsbCall, error: unknown): WebtokiError {
  if (error instanceof WebtokiError) return error
  const { name = '', message = '' } = (error ?? {}) as Partial<Error>
  const cause = { cause: error }
  if (/disconnected/i.test(message) || name === 'NotFoundError') return new ReaderGoneError(cause)
  if (call === 'open') {
    // Chromium says "Access denied." where udev rights or the WinUSB driver are missing.
    if (name === 'SecurityError' || /denied/i.test(message)) {
      return new NotGrantedError(
        'The system does not let the browser open the reader; on Linux a udev rule is needed, on Windows the WinUSB driver.',
        cause,
      )
    }
  } else if (call === 'claim') {
    // The only place where SecurityError means the protected class.
    if (name === 'SecurityError') return new ProtectedClassError(cause)
    // Another page and pcscd give the same "Unable to claim interface.".
    if (name === 'NetworkError') return new ReaderInUseError(cause)
  }
  // Unplugging rejects a pending transfer with one of these, before or after the event `disconnect`.
  else if (/^(Network|Abort|InvalidState)Error$/.test(name)) return new ReaderGoneError(cause)
  return new TransferError(`The USB ${call} failed: ${message}`, cause)
}
