/** Which public keys count in a path. */
import { isWeakKey, type PublicKey, readPublicKey } from '@webtoki/crypto'
import { requireBytes } from './arguments.ts'
import { PathError } from './errors.ts'

/** Reads SubjectPublicKeyInfo in DER. Throws PathError 'weak-key' and 'malformed', TrustArgumentError. */
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
