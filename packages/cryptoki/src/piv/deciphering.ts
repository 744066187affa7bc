/** Decryption and key agreement with a PIV key: SP 800-73-4 part 2, 3.2.4; RFC 8017, 7; SP 800-56A. */
import { copyOf } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import type { CardUse } from '../card-key.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { oaepParametersOf, parameterError, type RawMechanism } from '../mechanisms.ts'
import type * as commands from './card-command.ts'
import type { CardCommand } from './card-command.ts'

/**
 * Returns the 32 secret bytes for the implicit rejection of `unpadPkcs1`. They must not change as long as the driver exists:
 * the same ciphertext has to give the same message each time.
 */
export type RejectionSecret = () => Uint8Array

/** The functions that signing shares. They are passed as arguments so that bundlers keep them in the chunk of signing. */
type Commands = typeof commands

/** RSA. The card returns the block, whose padding is removed here. */
export function decipherUse(
  mechanism: RawMechanism,
  attributes: Attributes,
  secret: RejectionSecret,
  { modulusBytes, rawRsa }: Pick<Commands, 'modulusBytes' | 'rawRsa'>,
): CardUse<CardCommand> {
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
      const finish = async (response: Uint8Array): Promise<Uint8Array> => {
        const block = await command.finish(response)
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

/** Returns the longest message of a padded block, in bytes. */
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

/** Returns the function that removes the padding from the decrypted block. It does not modify the block. */
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

/** ECDH. The card returns the x-coordinate of the shared point; the caller derives the key from it. */
export function deriveUse(
  { type, ecdh }: RawMechanism,
  attributes: Attributes,
  { curveOf }: Pick<Commands, 'curveOf'>,
): CardUse<CardCommand> {
  // On these curves the cofactor is 1.
  if (type !== CKM.ECDH1_DERIVE && type !== CKM.ECDH1_COFACTOR_DERIVE)
    throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (attributes[CKA.KEY_TYPE] !== CKK.EC) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  const { algorithm, fieldBytes } = curveOf(attributes)
  if (ecdh === undefined) throw parameterError('ecdh')
  return {
    gathers: { maxBytes: 0 },
    outputBytes: () => fieldBytes,
    prepare: async () => {
      const { checkedPoint } = await import('../software/ecdh.ts')
      const value = checkedPoint(ecdh.publicData, attributes[CKA.EC_PARAMS] ?? new Uint8Array(0))
      return {
        algorithm,
        input: { tag: 0x85, value },
        finish: (response) => {
          if (response.length !== fieldBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
          return response
        },
      }
    },
  }
}
