/** The platform's random numbers, for rooms without DOM types. */
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** getRandomValues refuses more than this at once (Web Cryptography API, 10.1.1). */
const MAX_BYTES_A_CALL = 65_536

/** Bytes of `crypto.getRandomValues`; throws CKR_RANDOM_NO_RNG where the platform has none. */
export function platformRandomBytes(bytes: number): Uint8Array {
  if (globalThis.crypto === undefined) throw new CryptokiError(CKR.RANDOM_NO_RNG)
  const random = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += MAX_BYTES_A_CALL) {
    crypto.getRandomValues(random.subarray(at, at + MAX_BYTES_A_CALL))
  }
  return random
}
