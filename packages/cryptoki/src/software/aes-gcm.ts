/** AES-GCM in one piece (NIST SP 800-38D). Loaded when it is used. */
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { GcmMechanismParameters } from '../mechanisms.ts'
import { isSame } from './constant-shape.ts'
import { importedKey, subtleCrypto } from './web-crypto.ts'

type Parameters = GcmMechanismParameters & { readonly aad: Uint8Array }

/** Ciphertext and tag. */
export async function encryptGcm(key: Uint8Array, gcm: Parameters, data: Uint8Array): Promise<Uint8Array> {
  const platform = await platformKey(key, gcm)
  if (platform === undefined) return sealedInJavaScript(key, gcm, data)
  return new Uint8Array(await platform.subtle.encrypt(algorithmOf(gcm), platform.imported, data))
}

/** The plaintext of ciphertext and tag. Rejects with CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID. */
export async function decryptGcm(key: Uint8Array, gcm: Parameters, sealed: Uint8Array): Promise<Uint8Array> {
  const dataBytes = sealed.length - gcm.tagBits / 8
  if (dataBytes < 0) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
  const platform = await platformKey(key, gcm)
  if (platform === undefined) return openedInJavaScript(key, gcm, sealed, dataBytes)
  try {
    return new Uint8Array(await platform.subtle.decrypt(algorithmOf(gcm), platform.imported, sealed))
  } catch {
    throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
  }
}

/** Platforms differ about initialisation vectors of other lengths: Node takes none shorter, and none of 256 bytes. */
const PLATFORM_IV_BYTES = 12

function platformKey(key: Uint8Array, { iv }: Parameters): ReturnType<typeof importedKey> {
  return importedKey(iv.length === PLATFORM_IV_BYTES ? subtleCrypto() : undefined, key, 'AES-GCM')
}

const algorithmOf = ({ iv, aad, tagBits }: Parameters) =>
  ({ name: 'AES-GCM', iv, additionalData: aad, tagLength: tagBits }) as const

async function sealedInJavaScript(
  key: Uint8Array,
  { iv, aad, tagBits }: Parameters,
  data: Uint8Array,
): Promise<Uint8Array> {
  const { gcm } = await import('@noble/ciphers/aes.js')
  return gcm(key, iv, aad)
    .encrypt(data)
    .subarray(0, data.length + tagBits / 8)
}

/** The library takes whole tags only, so the plaintext is sealed again and the tags are compared. The cipher is its own inverse. */
async function openedInJavaScript(
  key: Uint8Array,
  gcm: Parameters,
  sealed: Uint8Array,
  dataBytes: number,
): Promise<Uint8Array> {
  const data = (await sealedInJavaScript(key, gcm, sealed.subarray(0, dataBytes))).slice(0, dataBytes)
  if (isSame(await sealedInJavaScript(key, gcm, data), sealed)) return data
  data.fill(0)
  throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
}
