/** Both halves of a login refuse what they cannot use by name. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** An argument of `@webtoki/login` is of a wrong kind; the message names it. Nobody was asked for a PIN, and nobody is let in. */
export class LoginArgumentError extends WebtokiError {
  readonly code = 'login/wrong-argument'
  /** As it is called in the function or its options: `anchors[2]`, say. */
  readonly argument: string
  /** `argument` has to be `what`. */
  constructor(argument: string, what: string, options?: ErrorOptions) {
    super(`\`${argument}\` has to be ${what}.`, options)
    this.argument = argument
  }

  override get name(): 'LoginArgumentError' {
    return 'LoginArgumentError'
  }
}
