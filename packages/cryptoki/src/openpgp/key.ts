/** Private keys on an OpenPGP card: access conditions and uses (OpenPGP card 3.4, 7.2.10, 7.2.11 and 7.2.13). */
import {
  type CardChannel,
  decodeTlv,
  isWebtokiError,
  SW,
  TouchMissedError,
  type TransmitOptions,
} from '@webtoki/apdu'
import type { OpenPgpApplet, OpenPgpKeyUse } from '@webtoki/apdu/openpgp'
import { encodeDigestInfo, fitDigest } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { cardKey, type CardUse } from '../card-key.ts'
import { CKF } from '../ckf.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyAccess, KeyPurpose, UsableKey } from '../key-use.ts'
import {
  cardSignTypes,
  checkSignatureKey,
  gatheredFor,
  type MechanismInfo,
  parameterError,
  type RawMechanism,
  type SignMechanism,
  signMechanism,
} from '../mechanisms.ts'
import { isBelowModulus } from '../software/key-numbers.ts'

/** A YubiKey returns this status word if it was not touched in time. ISO/IEC 7816-4 does not define it. */
const TOUCH_MISSED = 0x6600

const curveFlags = CKF.EC_F_P | CKF.EC_NAMEDCURVE

/** Returns the mechanisms of a signature key. The card adds the RSA padding; the host computes the digest. */
export function signMechanismsFor(type: 'rsa' | 'ec', keyBits: number): ReadonlyMap<number, MechanismInfo> {
  const flags = CKF.SIGN | (type === 'ec' ? curveFlags : 0)
  return withInfo(cardSignTypes(type === 'rsa' ? 'pkcs1' : 'ecdsa'), keyBits, flags)
}

/** Returns the mechanisms of a decryption key. The card removes the RSA padding. */
export function decipherMechanisms(type: 'rsa' | 'ec', keyBits: number): ReadonlyMap<number, MechanismInfo> {
  if (type === 'rsa') return withInfo([CKM.RSA_PKCS], keyBits, CKF.DECRYPT | CKF.UNWRAP)
  return withInfo([CKM.ECDH1_DERIVE, CKM.ECDH1_COFACTOR_DERIVE], keyBits, CKF.DERIVE | curveFlags)
}

function withInfo(
  types: readonly number[],
  keyBits: number,
  flags: number,
): ReadonlyMap<number, MechanismInfo> {
  return new Map(types.map((type) => [type, { minKeyBits: keyBits, maxKeyBits: keyBits, flags }]))
}

/** The access conditions of one key. */
export class OpenPgpKeyAccess implements KeyAccess {
  readonly application: OpenPgpApplet
  readonly touch: boolean | undefined
  #needs: KeyAccess['needs']

  constructor(application: OpenPgpApplet, use: OpenPgpKeyUse) {
    const { keys, onePinPerSignature } = application.data
    this.application = application
    this.touch = keys[use].touch
    this.#needs = use === 'signature' && onePinPerSignature ? 'context-pin' : 'login'
  }

  get needs(): KeyAccess['needs'] {
    return this.#needs
  }

  learnContextPin(): void {
    this.#needs = 'context-pin'
  }
}

type CardCommand = (channel: CardChannel, options: TransmitOptions) => Promise<Uint8Array>

/** Makes a private key. `attributes` include those of its public key; `rejectionSecret` returns the secret of `unpadPkcs1`. */
export function openPgpKey(
  access: OpenPgpKeyAccess,
  use: OpenPgpKeyUse,
  attributes: Attributes,
  rejectionSecret: () => Uint8Array,
): UsableKey {
  const { application } = access
  const cardUse = (purpose: KeyPurpose, mechanism: RawMechanism): CardUse<CardCommand> => {
    const purposes = use === 'decryption' ? ['decrypt', 'unwrap', 'derive'] : ['sign']
    if (!purposes.includes(purpose)) throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    if (use !== 'decryption') return signUse(application, use, mechanism, attributes)
    return purpose === 'derive'
      ? deriveUse(application, mechanism, attributes)
      : decipherUse(application, mechanism, attributes, rejectionSecret)
  }
  return cardKey(access, cardUse, (command, channel, options) =>
    command(channel, options).catch((error: unknown) => {
      throw hasStatus(error, TOUCH_MISSED) ? new TouchMissedError({ cause: error }) : error
    }),
  )
}

function hasStatus(error: unknown, sw: number): boolean {
  return isWebtokiError(error, 'card/status') && error.sw === sw
}

function signUse(
  application: OpenPgpApplet,
  use: 'signature' | 'authentication',
  mechanism: RawMechanism,
  attributes: Attributes,
): CardUse<CardCommand> {
  const rules = signMechanism(mechanism.type)
  const isSigned = rules?.padding === 'pkcs1' || rules?.padding === 'ecdsa'
  if (rules === undefined || !isSigned) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkSignatureKey(attributes, mechanism, rules)
  const signatureBytes = signatureBytesOf(attributes)
  return {
    gathers: gatheredFor(rules),
    outputBytes: () => signatureBytes,
    prepare: async (data) => {
      const input = inputFor(rules, data, signatureBytes)
      return async (channel, options) => {
        const response = await application.sign(channel, use, input, signatureBytes, options)
        if (response.length !== signatureBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return response
      }
    },
  }
}

/**
 * PKCS#1 v1.5. The card removes the padding and reports if it is wrong. Callers must not learn that (Bleichenbacher 1998),
 * so a refused ciphertext gives a pseudo-random message instead.
 */
function decipherUse(
  application: OpenPgpApplet,
  { type }: RawMechanism,
  attributes: Attributes,
  rejectionSecret: () => Uint8Array,
): CardUse<CardCommand> {
  if (type !== CKM.RSA_PKCS) throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (attributes[CKA.KEY_TYPE] !== CKK.RSA) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  const keyBytes = signatureBytesOf(attributes)
  const messageBytes = keyBytes - 11
  return {
    gathers: { maxBytes: keyBytes, tooMany: CKR.ENCRYPTED_DATA_LEN_RANGE },
    outputBytes: () => messageBytes,
    prepare: async (cryptogram) => {
      if (cryptogram.length !== keyBytes) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
      if (!isBelowModulus(cryptogram, attributes)) throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
      const { unpadPkcs1 } = await import('../software/unpad.ts')
      // The message for a block without padding. It is the result if the card refuses this ciphertext.
      const rejected = unpadPkcs1(new Uint8Array(keyBytes), cryptogram, rejectionSecret())
      return async (channel, options) => {
        const response = await application
          .decipher(channel, { cryptogram }, messageBytes, options)
          .catch((error: unknown) => {
            if (hasStatus(error, SW.WRONG_DATA)) return rejected
            throw error
          })
        if (response.length > messageBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return response
      }
    },
  }
}

/** ECDH. Most cards return the x-coordinate of the shared point, some the whole point. */
function deriveUse(
  application: OpenPgpApplet,
  { type, ecdh }: RawMechanism,
  attributes: Attributes,
): CardUse<CardCommand> {
  if (type !== CKM.ECDH1_DERIVE && type !== CKM.ECDH1_COFACTOR_DERIVE)
    throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (attributes[CKA.KEY_TYPE] !== CKK.EC) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (ecdh === undefined) throw parameterError('ecdh')
  const fieldBytes = signatureBytesOf(attributes) / 2
  return {
    gathers: { maxBytes: 0 },
    outputBytes: () => fieldBytes,
    prepare: async () => {
      const { checkedPoint } = await import('../software/ecdh.ts')
      const point = checkedPoint(ecdh.publicData, attributes[CKA.EC_PARAMS] ?? new Uint8Array(0))
      return async (channel, options) => {
        const response = await application.decipher(channel, { point }, point.length, options)
        if (response.length === point.length && response[0] === 0x04) return response.slice(1, 1 + fieldBytes)
        if (response.length !== fieldBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return response
      }
    },
  }
}

/**
 * Returns the data field of the signing command: for ECDSA a digest; for RSA a DigestInfo, or the data of CKM_RSA_PKCS, of
 * at most 40 % of the modulus (7.2.10.2).
 */
function inputFor({ keyType, hash }: SignMechanism, data: Uint8Array, signatureBytes: number): Uint8Array {
  if (keyType === 'ec') return fitDigest(data, signatureBytes / 2)
  const input = hash === undefined ? data : encodeDigestInfo(hash, data)
  if (input.length > Math.floor(signatureBytes * 0.4)) throw new CryptokiError(CKR.DATA_LEN_RANGE)
  return input
}

function signatureBytesOf(attributes: Attributes): number {
  if (attributes[CKA.KEY_TYPE] === CKK.RSA) return Math.ceil((attributes[CKA.MODULUS_BITS] ?? 0) / 8)
  // r and s are as long as x and y, which follow 04 in the point.
  return decodeTlv(attributes[CKA.EC_POINT] ?? new Uint8Array(0)).value.length - 1
}
