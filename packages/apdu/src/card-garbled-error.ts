/** The error of disturbed transmissions at TPDU level. Loaded together with the TPDU protocols. */
import { WebtokiError } from './webtoki-error.ts'

/**
 * The transmission between reader and card failed repeatedly. Both sides were resynchronized and no command was sent twice.
 * Whether the card executed the command is unknown.
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
        ? 'The exchange with the card was aborted. Try again.'
        : 'The data from the card was damaged repeatedly. Clean its contacts and try again.',
      options,
    )
    this.why = why
  }
}
