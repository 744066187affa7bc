/** The errors of PIN entry on a reader. Loaded together with the PIN pad driver. */
import { WebtokiError } from './webtoki-error.ts'

/** The person cancelled PIN entry on the reader. No attempt was used. */
export class PinPadCancelledError extends WebtokiError {
  readonly code = 'card/pin-pad-cancelled'
  override get name(): 'PinPadCancelledError' {
    return 'PinPadCancelledError'
  }
  constructor(options?: ErrorOptions) {
    super('PIN entry was cancelled on the reader.', options)
  }
}

/** The person did not enter a PIN on the reader in time. No attempt was used. */
export class PinPadTimeoutError extends WebtokiError {
  readonly code = 'card/pin-pad-timeout'
  override get name(): 'PinPadTimeoutError' {
    return 'PinPadTimeoutError'
  }
  constructor(options?: ErrorOptions) {
    super('No PIN was entered on the reader in time. Try again.', options)
  }
}
