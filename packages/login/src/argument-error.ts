/** The error of invalid arguments, shared by the browser and the server entry point. */
import { WebtokiError } from '@webtoki/apdu/errors'

/**
 * An argument of `@webtoki/login` has the wrong type or value; the message names it. Nothing was signed and nobody was
 * logged in.
 */
export class LoginArgumentError extends WebtokiError {
  readonly code = 'login/wrong-argument'
  /** The name of the parameter or option, for example `anchors[2]`. */
  readonly argument: string
  /** The message is "`argument` has to be `what`." */
  constructor(argument: string, what: string, options?: ErrorOptions) {
    super(`\`${argument}\` has to be ${what}.`, options)
    this.argument = argument
  }

  override get name(): 'LoginArgumentError' {
    return 'LoginArgumentError'
  }
}
