/** The token itself: Web eID authentication token, format web-eid:1.0. */
import { viewOf } from '@webtoki/apdu/bytes'
import { type Signer, signerFault, type SignOptions } from '@webtoki/trust'
import { LoginArgumentError } from '../argument-error.ts'
import { isNonce, nonceCharacters, statementOf } from '../statement.ts'

/** Sent to the server as JSON. */
export interface LoginToken {
  /** X.509 in DER, base64. "Unverified" until the server has verified it. */
  readonly unverifiedCertificate: string
  readonly algorithm: Signer['algorithm']
  /** base64; ECDSA as r‖s. */
  readonly signature: string
  readonly format: 'web-eid:1.0'
  readonly appVersion: string
}

/** Throws LoginArgumentError if the nonce is not a text of 44 to 128 characters. */
export function checkNonce(nonce: string): void {
  if (isNonce(nonce)) return
  const { min, max } = nonceCharacters
  const came = typeof nonce === 'string' ? `, not of ${(nonce as string).length}` : ''
  throw new LoginArgumentError('nonce', `a text of ${min} to ${max} characters${came}`)
}

/** Throws LoginArgumentError. */
export function checkSigner(signer: Signer): void {
  const fault = signerFault(signer)
  if (fault !== undefined) throw new LoginArgumentError(...fault)
}

/** Rejects with LoginArgumentError. */
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
