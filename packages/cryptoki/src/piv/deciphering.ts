/** What a PIV key decrypts, and the secrets that it agrees on: SP 800-73-4 part 2, 3.2.4; RFC 8017, 7; SP 800-56A. */
import { copyOf } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import type { CardUse } from '../card-key.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { oaepParametersOf, parameterError, type RawMechanism } from '../mechanisms.ts'
import type * as commands from './card-command.ts'
import type { CardCommand } from './card-command.ts'

/**
 * 32 bytes that nobody else knows, the same as long as the driver lives: they decide what a wrong PKCS#1 padding becomes, and
 * asked again with the same ciphertext it has to become the same.
 */
export type RejectionSecret = () => Uint8Array

/** What every key of a card shares, handed in: bundlers then keep it with the keys that sign. */
type Commands = typeof commands

/** RSA: the card gives back the block, whose padding is taken off here. */
export function decryption(
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

/** ECDH: the card gives the x-coordinate of the shared point; whoever derives a key makes it of that. */
export function agreement(
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
        finish: (answer) => {
          if (answer.length !== fieldBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
          return answer
        },
      }
    },
  }
}
