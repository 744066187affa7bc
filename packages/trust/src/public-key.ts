/** Checks the strength of public keys of certificates. */
import { isWeakKey, type PublicKey, readPublicKey } from '@webtoki/crypto'
import { requireBytes } from './arguments.ts'
import { PathError } from './errors.ts'

/**
 * Parses a SubjectPublicKeyInfo in DER. Throws PathError 'weak-key' if the key is too weak for a certificate path,
 * 'malformed' if it cannot be parsed, and TrustArgumentError if it is not bytes.
 */
export function checkedPublicKey(publicKeyInfo: Uint8Array): PublicKey {
  requireBytes('publicKeyInfo', publicKeyInfo)
  let key: PublicKey
  try {
    key = readPublicKey(publicKeyInfo)
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
  if (isWeakKey(key)) throw new PathError('weak-key')
  return key
}
