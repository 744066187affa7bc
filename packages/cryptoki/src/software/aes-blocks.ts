/**
 * AES over whole blocks (NIST SP 800-38A), by WebCrypto if possible, else in JavaScript. WebCrypto cannot stream and
 * always pads CBC: the caller passes the chaining value to each call, and this file adds or removes the padding block.
 */
import { concatBytes } from '@webtoki/apdu'
import { CKM } from '../constants.ts'
import { importedKey, subtleCrypto } from './web-crypto.ts'

const BLOCK_BYTES = 16

/**
 * Processes whole blocks with one key, mode and direction. `iv` is the initialisation vector of CBC or the counter block
 * of CTR. The counter must not wrap within `bytes`.
 */
export type AesBlocks = (bytes: Uint8Array, iv: Uint8Array) => Promise<Uint8Array>

/** True if WebCrypto processes this mode, outside the page's thread. It does not support ECB. */
export function isOffThread(type: number): boolean {
  return type !== CKM.AES_ECB && subtleCrypto() !== undefined
}

/**
 * Opens a mode with a key. Only WebCrypto copies the key: the JavaScript implementation uses `key` in every call, so do
 * not overwrite it before the last one.
 */
export async function openBlocks(
  key: Uint8Array,
  type: number,
  direction: 'encrypt' | 'decrypt',
): Promise<AesBlocks> {
  const isCtr = type === CKM.AES_CTR
  const platform = await importedKey(
    isOffThread(type) ? subtleCrypto() : undefined,
    key,
    isCtr ? 'AES-CTR' : 'AES-CBC',
  )
  if (platform === undefined) return javaScriptBlocks(key, type, direction)
  const { subtle, imported } = platform
  if (isCtr)
    return async (bytes, counter) =>
      new Uint8Array(await subtle.encrypt({ name: 'AES-CTR', counter, length: 128 }, imported, bytes))
  const encrypt: AesBlocks = async (bytes, iv) =>
    new Uint8Array(await subtle.encrypt({ name: 'AES-CBC', iv }, imported, bytes))
  // WebCrypto appends a block of padding, which is dropped.
  if (direction === 'encrypt')
    return async (bytes, iv) => (await encrypt(bytes, iv)).subarray(0, bytes.length)
  // WebCrypto requires a block of padding at the end. Encrypting no data, chained to the last block, produces one.
  return async (bytes, iv) => {
    const padding = await encrypt(new Uint8Array(0), bytes.subarray(-BLOCK_BYTES))
    return new Uint8Array(
      await subtle.decrypt({ name: 'AES-CBC', iv }, imported, concatBytes(bytes, padding)),
    )
  }
}

/** The library is loaded only if WebCrypto cannot be used. */
async function javaScriptBlocks(
  key: Uint8Array,
  type: number,
  direction: 'encrypt' | 'decrypt',
): Promise<AesBlocks> {
  const { cbc, ctr, ecb } = await import('@noble/ciphers/aes.js')
  const unpadded = { disablePadding: true }
  return async (bytes, iv) => {
    const cipher =
      type === CKM.AES_CTR ? ctr(key, iv) : type === CKM.AES_ECB ? ecb(key, unpadded) : cbc(key, iv, unpadded)
    return cipher[direction](bytes)
  }
}
