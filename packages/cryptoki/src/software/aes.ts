/** AES session keys in software: CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_CTR (PKCS#11 v2.40 mechanisms, 2.8). */
import { copyOf } from '@webtoki/apdu'
import { CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import { aesMechanisms, parameterError, type RawMechanism } from '../mechanisms.ts'
import { AesStream } from './aes-stream.ts'

const BLOCK_BYTES = 16

/** An AES key of 16, 24 or 32 bytes, which it copies. */
export function aesKey(value: Uint8Array): UsableKey & { destroy(): void } {
  const key = copyOf(value)
  return {
    use: (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse => {
      if (purpose !== 'encrypt' && purpose !== 'decrypt') throw new CryptokiError(CKR.MECHANISM_INVALID)
      const { type } = mechanism
      if (!aesMechanisms.includes(type)) throw new CryptokiError(CKR.MECHANISM_INVALID)
      const iv = ivOf(mechanism)
      const pads = type === CKM.AES_CBC_PAD
      return {
        gathers: 'stream',
        outputBytes: (inputBytes) => {
          if (type === CKM.AES_CTR) return inputBytes
          const blocks = Math.floor(inputBytes / BLOCK_BYTES)
          return BLOCK_BYTES * (pads && purpose === 'encrypt' ? blocks + 1 : blocks)
        },
        open: () => new AesStream(key, mechanism.type, iv, purpose),
      }
    },
    destroy: () => void key.fill(0),
  }
}

/** CK_AES_CTR_PARAMS's counter block, or the initialisation vector; ECB has none. */
function ivOf({ type, iv }: RawMechanism): Uint8Array {
  const wanted = type === CKM.AES_ECB ? 0 : BLOCK_BYTES
  if ((iv?.length ?? 0) !== wanted) throw parameterError('iv')
  return iv === undefined ? new Uint8Array(0) : copyOf(iv)
}
