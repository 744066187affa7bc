/** Random numbers of the platform, for packages that compile without DOM types. */
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** The most bytes that a single call of getRandomValues accepts (Web Cryptography API, 10.1.1). */
const MAX_BYTES_A_CALL = 65_536

/** Returns random bytes from `crypto.getRandomValues`. Throws CKR_RANDOM_NO_RNG if the platform does not have it. */
export function platformRandomBytes(bytes: number): Uint8Array {
  if (globalThis.crypto === undefined) throw new CryptokiError(CKR.RANDOM_NO_RNG)
  const random = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += MAX_BYTES_A_CALL) {
    crypto.getRandomValues(random.subarray(at, at + MAX_BYTES_A_CALL))
  }
  return random
}
