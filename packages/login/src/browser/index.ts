/** The page's half of a login. Small on purpose: no ASN.1 library, no CMS. */
import { requireCertificateUse } from '@webtoki/crypto'
import type { Signer, SignOptions } from '@webtoki/trust'
import { tokenFor } from './token.ts'

export { CertificateUseError } from '@webtoki/crypto'
export type { LoginToken } from './token.ts'

/**
 * The login token for a nonce of the site's server (its base64 string, 44 to 128 characters). The origin is this
 * page's own and cannot be given: a token made here never names another site. Another site that the person let at the
 * reader can make one for itself all the same, or lie; see the README. Rejects with CertificateUseError, before anybody is
 * asked for a PIN, if the server would not let the certificate in.
 */
export async function createLoginToken(
  signer: Signer,
  nonce: string,
  options: SignOptions = {},
): ReturnType<typeof tokenFor> {
  const { location } = globalThis
  if (location === undefined) throw new TypeError('A login token is made in a page.')
  requireCertificateUse(signer.certificate, 'login')
  return tokenFor(location.origin, signer, nonce, options)
}
