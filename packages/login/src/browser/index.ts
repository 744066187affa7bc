/** The page's half of a login. Small on purpose: no ASN.1 library, no CMS. */
import { requireCertificateUse } from '@webtoki/crypto'
import type { Signer, SignOptions } from '@webtoki/trust'
import { LoginArgumentError } from '../argument-error.ts'
import { checkNonce, checkSigner, type LoginToken, tokenFor } from './token.ts'
import { OriginError } from './errors.ts'

export { CertificateUseError } from '@webtoki/crypto'
export { LoginArgumentError } from '../argument-error.ts'
export { OriginError } from './errors.ts'
export type { LoginToken } from './token.ts'

/**
 * The login token for a nonce of the site's server (its base64 string, 44 to 128 characters). The origin is this
 * page's own and cannot be given: a token made here never names another site. Another site that the person let at the
 * reader can make one for itself all the same, or lie; see the README. Before anybody is asked for a PIN, it rejects as
 * `checkLogin` throws, with LoginArgumentError, and with CertificateUseError if the server would not let the certificate in.
 */
export async function createLoginToken(
  signer: Signer,
  nonce: string,
  options: SignOptions = {},
): Promise<LoginToken> {
  const origin = checkLogin(nonce)
  checkSigner(signer)
  if (typeof options !== 'object' || options === null) throw new LoginArgumentError('options', 'an object')
  requireCertificateUse(signer.certificate, 'login')
  return tokenFor(origin, signer, nonce, options)
}

/**
 * What can be refused before a card is looked for. Returns the page's origin. Throws OriginError if no site can accept a
 * login from this page, LoginArgumentError if the nonce is none, TypeError outside of a page.
 */
export function checkLogin(nonce: string): string {
  const { location } = globalThis
  if (location === undefined) throw new TypeError('A login token is made in a page.')
  // Sandboxed frames have the origin 'null', files 'file://'.
  if (!/^(https?|isolated-app):/.test(location.origin)) throw new OriginError()
  checkNonce(nonce)
  return location.origin
}
