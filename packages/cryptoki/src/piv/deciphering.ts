/** What a PIV key decrypts: SP 800-73-4 part 2, 3.2.4; RFC 8017, 7. */
import { copyOf } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { oaepParametersOf, type RawMechanism } from '../mechanisms.ts'
import { type CardUse, modulusBytes, rawRsa } from './card-command.ts'

/**
 * 32 bytes that nobody else knows, the same as long as the driver lives: they decide what a wrong PKCS#1 padding becomes, and
 * asked again with the same ciphertext it has to become the same.
 */
export type RejectionSecret = () => Uint8Array

/** RSA: the card gives back the block, whose padding is taken off here. */
export function decryption(
  mechanism: RawMechanism,
  attributes: Attributes,
  secret: RejectionSecret,
): CardUse {
  if (attributes[CKA.KEY_TYPE] !== CKK.RSA) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  const keyBytes = modulusBytes(attributes)
  const outputBytes = messageBytes(mechanism, keyBytes)
  return {
    gathers: { maxBytes: keyBytes, tooMany: CKR.ENCRYPTED_DATA_LEN_RANGE },
    outputBytes: () => outputBytes,
    prepare: async (data) => {
      if (data.length !== keyBytes) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
      const command = rawRsa(attributes, data, CKR.ENCRYPTED_DATA_INVALID)
      const unpad = await unpaddingOf(mechanism, data, secret)
      const finish = async (answer: Uint8Array): Promise<Uint8Array> => {
        const block = await command.finish(answer)
        try {
          return unpad(block)
        } finally {
          block.fill(0)
        }
      }
      return { ...command, finish }
    },
  }
}

/** The most bytes that a block holds beside its padding. */
function messageBytes(mechanism: RawMechanism, keyBytes: number): number {
  switch (mechanism.type) {
    case CKM.RSA_X_509:
      return keyBytes
    case CKM.RSA_PKCS:
      return keyBytes - 11
    case CKM.RSA_PKCS_OAEP:
      return oaepParametersOf(mechanism, keyBytes).maxBytes
    default:
      throw new CryptokiError(CKR.MECHANISM_INVALID)
  }
}

/** Takes the padding off the block that a ciphertext becomes. The block stays as it is. */
async function unpaddingOf(
  mechanism: RawMechanism,
  ciphertext: Uint8Array,
  secret: RejectionSecret,
): Promise<(block: Uint8Array) => Uint8Array> {
  if (mechanism.type === CKM.RSA_X_509) return copyOf
  const { unpadPkcs1, unpadOaep } = await import('../software/unpad.ts')
  if (mechanism.type === CKM.RSA_PKCS) return (block) => unpadPkcs1(block, ciphertext, secret())
  const padding = oaepParametersOf(mechanism, ciphertext.length)
  return (block) => unpadOaep(block, padding)
}
