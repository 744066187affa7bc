/** Errors of the page's part of a login. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** The page is a sandboxed frame or a file, so it has no origin that a site could accept. Nothing was signed. */
export class OriginError extends WebtokiError {
  readonly code = 'login/no-origin'
  constructor(options?: ErrorOptions) {
    super(
      'This page is a sandboxed frame or a file, so no site can accept a login from it. Open it from its web address.',
      options,
    )
  }

  override get name(): 'OriginError' {
    return 'OriginError'
  }
}
