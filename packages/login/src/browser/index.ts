/** The page's part of a login. It loads no ASN.1 library and no CMS code, to keep the page small. */
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
 * Creates a login token for a nonce of the site's server (its base64 string, 44 to 128 characters). The origin is
 * `location.origin` and not a parameter, so this function cannot name another site. A site that has access to the
 * reader can still run its own code and sign anything; see the README.
 *
 * Before anything is signed, it rejects with the errors of `checkLogin`, with LoginArgumentError, and with
 * CertificateUseError if the server would refuse the certificate.
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
 * Makes the checks that need no card, and returns the origin of the page. Throws OriginError if no site can accept a
 * login from this page, LoginArgumentError if the nonce is invalid, and TypeError outside of a page.
 */
export function checkLogin(nonce: string): string {
  const { location } = globalThis
  if (location === undefined) throw new TypeError('A login token can only be created in a page.')
  // The origin of a sandboxed frame is 'null', that of a file 'file://'.
  if (!/^(https?|isolated-app):/.test(location.origin)) throw new OriginError()
  checkNonce(nonce)
  return location.origin
}
