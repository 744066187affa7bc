/** Verifies the signature over the statement. */
import { readPublicKey, schemeOf } from '@webtoki/crypto'
import { type SignatureVerdict, SignatureVerifier } from '@webtoki/trust'
import type { LoginAlgorithm } from '../statement.ts'

/**
 * Verifies a signature. Each ECDSA algorithm of JOSE requires one curve (RFC 7518, 3.4); with a key on another, it is
 * 'invalid'.
 */
export async function verifyStatement(
  algorithm: LoginAlgorithm,
  publicKeyInfo: Uint8Array,
  statement: Uint8Array,
  signature: Uint8Array,
  verifier: SignatureVerifier = new SignatureVerifier(),
): Promise<SignatureVerdict> {
  const { curve, ...scheme } = schemeOf(algorithm)
  const key = readPublicKey(publicKeyInfo)
  if (key.kind === 'ec' && key.curve.name !== curve) return 'invalid'
  return verifier.verify(publicKeyInfo, scheme, signature, statement, 'raw')
}
