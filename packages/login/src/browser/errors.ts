/** Why no login can be made in a page. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** The page has no origin that a site could accept: it is a sandboxed frame or a file. Nobody was asked for a PIN. */
export class OriginError extends WebtokiError {
  readonly code = 'login/no-origin'
  constructor(options?: ErrorOptions) {
    super(
      'This page is a sandboxed frame or a file, so no site can accept a login from it; open it by its address.',
      options,
    )
  }

  override get name(): 'OriginError' {
    return 'OriginError'
  }
}
