/** Creates a Web eID authentication token, format web-eid:1.0. */
import { viewOf } from '@webtoki/apdu/bytes'
import { type Signer, signerFault, type SignOptions } from '@webtoki/trust'
import { LoginArgumentError } from '../argument-error.ts'
import { isNonce, nonceCharacters, statementOf } from '../statement.ts'

/** A login token; the page sends it to the server as JSON. */
export interface LoginToken {
  /** X.509 in DER, base64. The server has to verify it. */
  readonly unverifiedCertificate: string
  readonly algorithm: Signer['algorithm']
  /** In base64; an ECDSA signature is r‖s. */
  readonly signature: string
  readonly format: 'web-eid:1.0'
  readonly appVersion: string
}

/** Throws LoginArgumentError if the nonce is not a string of 44 to 128 characters. */
export function checkNonce(nonce: string): void {
  if (isNonce(nonce)) return
  const { min, max } = nonceCharacters
  const received = typeof nonce === 'string' ? `, not of ${(nonce as string).length}` : ''
  throw new LoginArgumentError('nonce', `a string of ${min} to ${max} characters${received}`)
}

/** Throws LoginArgumentError if the value is not a `Signer`. */
export function checkSigner(signer: Signer): void {
  const fault = signerFault(signer)
  if (fault !== undefined) throw new LoginArgumentError(...fault)
}

/** Creates the token for an origin. Rejects with LoginArgumentError and with the errors of the signer. */
export async function tokenFor(
  origin: string,
  signer: Signer,
  nonce: string,
  options: SignOptions = {},
): Promise<LoginToken> {
  checkNonce(nonce)
  checkSigner(signer)
  const { algorithm, certificate } = signer
  const unverifiedCertificate = toBase64(certificate)
  const signature = await signer.sign(await statementOf(algorithm, origin, nonce), options)
  return {
    unverifiedCertificate,
    algorithm,
    signature: toBase64(signature),
    format: 'web-eid:1.0',
    appVersion: 'https://web-eid.eu/web-eid-app/releases/v2.0.0',
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of viewOf(bytes)) text += String.fromCharCode(byte)
  return btoa(text)
}
