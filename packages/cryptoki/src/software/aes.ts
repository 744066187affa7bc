/** AES keys in software (PKCS#11 v3.0 mechanisms, 2.10 to 2.16). */
import { copyOf } from '@webtoki/apdu'
import { CKK, CKM, CKR } from '../constants.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import {
  type GcmMechanismParameters,
  MAX_GCM_BYTES,
  parameterError,
  type RawMechanism,
} from '../mechanisms.ts'
import { AesStream } from './aes-stream.ts'
import { BufferedStream } from './buffered-stream.ts'
import { checkSoftwareUse } from './mechanisms.ts'

const BLOCK_BYTES = 16
const MAX_COUNTER_BITS = 128

/** A wrapped RSA key of 16384 bits, the longest, takes 9.5 kB. */
const MAX_WRAPPED_BYTES = 0x4000

/** Makes an AES key from a copy of 16, 24 or 32 bytes. Wrapping encrypts with it, unwrapping decrypts. */
export function aesKey(value: Uint8Array): UsableKey & { destroy(): void } {
  const key = copyOf(value)
  return {
    use: (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse => {
      checkSoftwareUse(purpose, mechanism.type, CKK.AES, 8 * key.length)
      const direction = purpose === 'encrypt' || purpose === 'wrap' ? 'encrypt' : 'decrypt'
      switch (mechanism.type) {
        case CKM.AES_GCM:
          return gcmUse(key, mechanism, direction)
        case CKM.AES_KEY_WRAP:
        case CKM.AES_KEY_WRAP_KWP:
          return keyWrapUse(key, mechanism.type, direction)
        default:
          return streamUse(key, mechanism, direction)
      }
    },
    destroy: () => void key.fill(0),
  }
}

type Direction = 'encrypt' | 'decrypt'

function streamUse(key: Uint8Array, mechanism: RawMechanism, direction: Direction): KeyUse {
  const { type } = mechanism
  const mode = { type, iv: ivOf(mechanism), counterBits: counterBitsOf(mechanism) }
  const pads = type === CKM.AES_CBC_PAD && direction === 'encrypt'
  return {
    gathers: 'stream',
    outputBytes: (inputBytes) => {
      if (type === CKM.AES_CTR) return inputBytes
      const blocks = Math.floor(inputBytes / BLOCK_BYTES)
      return BLOCK_BYTES * (pads ? blocks + 1 : blocks)
    },
    open: () => new AesStream(key, mode, direction),
  }
}

/** Returns the counter block of CK_AES_CTR_PARAMS or the initialisation vector; empty for ECB. */
function ivOf({ type, iv }: RawMechanism): Uint8Array {
  const requiredBytes = type === CKM.AES_ECB ? 0 : BLOCK_BYTES
  if ((iv?.length ?? 0) !== requiredBytes) throw parameterError('iv')
  return iv === undefined ? new Uint8Array(0) : copyOf(iv)
}

function counterBitsOf({ counterBits = MAX_COUNTER_BITS }: RawMechanism): number {
  if (!Number.isInteger(counterBits) || counterBits < 1 || counterBits > MAX_COUNTER_BITS)
    throw parameterError('counterBits')
  return counterBits
}

function gcmUse(key: Uint8Array, mechanism: RawMechanism, direction: Direction): KeyUse {
  const gcm = gcmParametersOf(mechanism)
  const tagBytes = gcm.tagBits / 8
  const isEncryption = direction === 'encrypt'
  return {
    gathers: 'stream',
    outputBytes: (inputBytes) => (isEncryption ? inputBytes + tagBytes : Math.max(0, inputBytes - tagBytes)),
    open: () => {
      const keyCopy = copyOf(key)
      return new BufferedStream({
        maxBytes: isEncryption ? MAX_GCM_BYTES : MAX_GCM_BYTES + tagBytes,
        lengthError: isEncryption ? CKR.DATA_LEN_RANGE : CKR.ENCRYPTED_DATA_LEN_RANGE,
        run: async (data) => {
          const { encryptGcm, decryptGcm } = await import('./aes-gcm.ts')
          return isEncryption ? encryptGcm(keyCopy, gcm, data) : decryptGcm(keyCopy, gcm, data)
        },
        release: () => void keyCopy.fill(0),
      })
    },
  }
}

/** The shortest that @noble/ciphers accepts. A shorter one would soon repeat. */
const MIN_GCM_IV_BYTES = 8

const gcmTagBits: readonly number[] = [96, 104, 112, 120, 128]

function gcmParametersOf({
  gcm,
}: RawMechanism): Required<GcmMechanismParameters> & { readonly aad: Uint8Array } {
  if (gcm === undefined) throw parameterError('gcm')
  const { iv, aad = new Uint8Array(0), tagBits } = gcm
  if (iv === undefined || iv.length < MIN_GCM_IV_BYTES || iv.length > 256) throw parameterError('gcm.iv')
  if (!gcmTagBits.includes(tagBits)) throw parameterError('gcm.tagBits')
  return { iv: copyOf(iv), aad: copyOf(aad), tagBits }
}

function keyWrapUse(key: Uint8Array, type: number, direction: Direction): KeyUse {
  const isEncryption = direction === 'encrypt'
  const header = 8
  return {
    gathers: 'stream',
    outputBytes: (inputBytes) =>
      isEncryption ? 8 * Math.ceil(inputBytes / 8) + header : Math.max(0, inputBytes - header),
    open: () => {
      const keyCopy = copyOf(key)
      return new BufferedStream({
        maxBytes: MAX_WRAPPED_BYTES,
        lengthError: isEncryption ? CKR.DATA_LEN_RANGE : CKR.ENCRYPTED_DATA_LEN_RANGE,
        run: async (data) => {
          const { encryptByKeyWrap, decryptByKeyWrap } = await import('./aes-key-wrap.ts')
          return isEncryption ? encryptByKeyWrap(keyCopy, type, data) : decryptByKeyWrap(keyCopy, type, data)
        },
        release: () => void keyCopy.fill(0),
      })
    },
  }
}
