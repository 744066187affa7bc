/** AES-GCM over a complete message (NIST SP 800-38D). Loaded on first use. */
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { GcmMechanismParameters } from '../mechanisms.ts'
import { equalSecrets } from './equal-secrets.ts'
import { importedKey, subtleCrypto } from './web-crypto.ts'

type Parameters = GcmMechanismParameters & { readonly aad: Uint8Array }

/** Returns the ciphertext followed by the tag. */
export async function encryptGcm(key: Uint8Array, gcm: Parameters, data: Uint8Array): Promise<Uint8Array> {
  const platform = await platformKey(key, gcm)
  if (platform === undefined) return encryptInJavaScript(key, gcm, data)
  return new Uint8Array(await platform.subtle.encrypt(algorithmOf(gcm), platform.imported, data))
}

/**
 * Returns the plaintext of a ciphertext followed by its tag. Rejects with CKR_ENCRYPTED_DATA_LEN_RANGE if the input is
 * shorter than the tag, and with CKR_ENCRYPTED_DATA_INVALID if the tag is wrong.
 */
export async function decryptGcm(
  key: Uint8Array,
  gcm: Parameters,
  encrypted: Uint8Array,
): Promise<Uint8Array> {
  const dataBytes = encrypted.length - gcm.tagBits / 8
  if (dataBytes < 0) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
  const platform = await platformKey(key, gcm)
  if (platform === undefined) return decryptInJavaScript(key, gcm, encrypted, dataBytes)
  try {
    return new Uint8Array(await platform.subtle.decrypt(algorithmOf(gcm), platform.imported, encrypted))
  } catch {
    throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
  }
}

/** Platforms differ in the other lengths that they accept: Node accepts no shorter vector, and none of 256 bytes. */
const PLATFORM_IV_BYTES = 12

function platformKey(key: Uint8Array, { iv }: Parameters): ReturnType<typeof importedKey> {
  return importedKey(iv.length === PLATFORM_IV_BYTES ? subtleCrypto() : undefined, key, 'AES-GCM')
}

const algorithmOf = ({ iv, aad, tagBits }: Parameters) =>
  ({ name: 'AES-GCM', iv, additionalData: aad, tagLength: tagBits }) as const

async function encryptInJavaScript(
  key: Uint8Array,
  { iv, aad, tagBits }: Parameters,
  data: Uint8Array,
): Promise<Uint8Array> {
  const { gcm } = await import('@noble/ciphers/aes.js')
  return gcm(key, iv, aad)
    .encrypt(data)
    .subarray(0, data.length + tagBits / 8)
}

/**
 * The library verifies only tags of 128 bits. To support shorter ones, this encrypts the ciphertext, which decrypts it
 * because GCM is a counter mode, encrypts the result again and compares the tags.
 */
async function decryptInJavaScript(
  key: Uint8Array,
  gcm: Parameters,
  encrypted: Uint8Array,
  dataBytes: number,
): Promise<Uint8Array> {
  const data = (await encryptInJavaScript(key, gcm, encrypted.subarray(0, dataBytes))).slice(0, dataBytes)
  if (equalSecrets(await encryptInJavaScript(key, gcm, data), encrypted)) return data
  data.fill(0)
  throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
}
