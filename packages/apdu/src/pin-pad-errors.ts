/** What a PIN pad tells. Loaded with what speaks to it. */
import { WebtokiError } from './webtoki-error.ts'

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
