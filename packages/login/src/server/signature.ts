/** The signature over the statement, by the platform's WebCrypto and under a key that counts. */
import { readPublicKey, SignatureVerifier } from '@webtoki/trust'
import { hashNames, type LoginAlgorithm } from '../statement.ts'

const curves: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }

/** False if the signature does not fit, or the key does not count or is of another kind than the algorithm. */
export async function isSigned(
  algorithm: LoginAlgorithm,
  publicKeyInfo: Uint8Array,
  statement: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const hash = hashNames[algorithm]
  const verifier = new SignatureVerifier()
  const verify = (kind: 'rsa' | 'pss' | 'ecdsa', saltBytes = 0): Promise<boolean> =>
    verifier.isSigned(publicKeyInfo, { kind, hash, saltBytes }, signature, statement, 'raw')
  if (algorithm.startsWith('RS')) return verify('rsa')
  if (algorithm.startsWith('PS')) return verify('pss', Number(hash.slice(4)) / 8)
  return isOnCurve(publicKeyInfo, curves[algorithm]) && verify('ecdsa')
}

/** Each of JOSE's ECDSA algorithms is for one curve (RFC 7518, 3.4). */
function isOnCurve(publicKeyInfo: Uint8Array, curve: string | undefined): boolean {
  try {
    const key = readPublicKey(publicKeyInfo)
    return key.kind === 'ec' && key.curve === curve
  } catch {
    return false
  }
}
