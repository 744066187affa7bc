/** AES key wrap without and with padding (RFC 3394, RFC 5649; NIST SP 800-38F). Loaded on first use. */
import { aeskw, aeskwp } from '@noble/ciphers/aes.js'
import { CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'

/**
 * Wraps `data`. Without padding it must be a multiple of 8 bytes and at least 16 bytes long; with padding it must not be
 * empty. Rejects with CKR_DATA_LEN_RANGE otherwise.
 */
export async function encryptByKeyWrap(key: Uint8Array, type: number, data: Uint8Array): Promise<Uint8Array> {
  const fits = isPadding(type) ? data.length > 0 : data.length % 8 === 0 && data.length >= 16
  if (!fits) throw new CryptokiError(CKR.DATA_LEN_RANGE)
  return cipherOf(key, type).encrypt(data)
}

/** Unwraps `data`. Rejects with CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID. */
export async function decryptByKeyWrap(key: Uint8Array, type: number, data: Uint8Array): Promise<Uint8Array> {
  if (data.length % 8 !== 0 || data.length < (isPadding(type) ? 16 : 24))
    throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
  try {
    return cipherOf(key, type).decrypt(data)
  } catch {
    throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
  }
}

const isPadding = (type: number): boolean => type === CKM.AES_KEY_WRAP_KWP

const cipherOf = (key: Uint8Array, type: number) => (isPadding(type) ? aeskwp : aeskw)(key)
