/**
 * AES over whole blocks, in the platform's own code where that is possible, else in JavaScript. WebCrypto has no streams
 * and always pads CBC: each call is chained to the one before by its caller, and the padding is worked around here.
 */
import { concatBytes } from '@webtoki/apdu'
import { CKM } from '../constants.ts'
import { importedKey, subtleCrypto } from './web-crypto.ts'

const BLOCK_BYTES = 16

/** One direction of one mode under one key. `iv` is CBC's, or CTR's counter block, which must not wrap within the bytes. */
export type AesBlocks = (bytes: Uint8Array, iv: Uint8Array) => Promise<Uint8Array>

/** Whether the platform works on this mode outside the thread. */
export function isOutsideThread(type: number): boolean {
  return type !== CKM.AES_ECB && subtleCrypto() !== undefined
}

/** The key may be overwritten when this has resolved, if it `isImported`. */
export async function openBlocks(
  key: Uint8Array,
  type: number,
  direction: 'encrypt' | 'decrypt',
): Promise<AesBlocks> {
  const isCtr = type === CKM.AES_CTR
  const platform = await importedKey(
    isOutsideThread(type) ? subtleCrypto() : undefined,
    key,
    isCtr ? 'AES-CTR' : 'AES-CBC',
  )
  if (platform === undefined) return inJavaScript(key, type, direction)
  const { subtle, imported } = platform
  if (isCtr)
    return async (bytes, counter) =>
      new Uint8Array(await subtle.encrypt({ name: 'AES-CTR', counter, length: 128 }, imported, bytes))
  const encrypt: AesBlocks = async (bytes, iv) =>
    new Uint8Array(await subtle.encrypt({ name: 'AES-CBC', iv }, imported, bytes))
  // A block of padding comes out after the blocks, and is left away.
  if (direction === 'encrypt')
    return async (bytes, iv) => (await encrypt(bytes, iv)).subarray(0, bytes.length)
  // A block of padding must stand after the blocks: the encryption of nothing, chained to the last of them.
  return async (bytes, iv) => {
    const padding = await encrypt(new Uint8Array(0), bytes.subarray(-BLOCK_BYTES))
    return new Uint8Array(
      await subtle.decrypt({ name: 'AES-CBC', iv }, imported, concatBytes(bytes, padding)),
    )
  }
}

/** Loaded if the platform does not do it. */
async function inJavaScript(
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
