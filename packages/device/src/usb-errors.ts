/** Translates errors of WebUSB into Webtoki's errors, depending on the call that threw them. */
import {
  NotGrantedError,
  ProtectedClassError,
  ReaderGoneError,
  ReaderInUseError,
  WebtokiError,
  TransferError,
} from '@webtoki/apdu'

/** The step that failed. SecurityError means a missing permission at `open` and a protected class at `claim`. */
export type UsbCall = 'open' | 'descriptor' | 'claim' | 'transfer'

/** Returns the Webtoki error for what WebUSB threw. Returns a WebtokiError unchanged. Never throws. */
export function translateUsbError(call: UsbCall, error: unknown): WebtokiError {
  if (error instanceof WebtokiError) return error
  const { name = '', message = '' } = (error ?? {}) as Partial<Error>
  const cause = { cause: error }
  if (/disconnected/i.test(message) || name === 'NotFoundError') return new ReaderGoneError(cause)
  if (call === 'open') {
    // Chromium reports "Access denied." if the udev rights (Linux) or the WinUSB driver (Windows) are missing:
    // https://github.com/chromium/chromium/blob/cd82020c471ccfc4b93cf33a3012fe6cdc9269a6/third_party/blink/renderer/modules/webusb/usb_device.cc#L49
    if (name === 'SecurityError' || /denied/i.test(message)) {
      return new NotGrantedError(
        'The system does not let the browser open the reader. Linux needs a udev rule, Windows the WinUSB driver.',
        cause,
      )
    }
  } else if (call === 'claim') {
    // Only `claimInterface` throws SecurityError for a protected class.
    if (name === 'SecurityError') return new ProtectedClassError(cause)
    // A claim by another page and one by pcscd cause the same "Unable to claim interface.".
    if (name === 'NetworkError') return new ReaderInUseError(cause)
  }
  // If the device is unplugged, a pending transfer rejects with one of these, before or after the `disconnect` event:
  // https://github.com/chromium/chromium/blob/cd82020c471ccfc4b93cf33a3012fe6cdc9269a6/third_party/blink/renderer/modules/webusb/usb_device.cc#L70-L103
  else if (/^(Network|Abort|InvalidState)Error$/.test(name)) return new ReaderGoneError(cause)
  return new TransferError(`The USB ${call} failed: ${message}`, cause)
}
