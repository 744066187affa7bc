/** What comes of a line that breaks at TPDU level. Loaded with what speaks on it. */
import { WebtokiError } from './webtoki-error.ts'

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
