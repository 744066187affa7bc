/** A private key of an OpenPGP card: what it asks of its user, and its uses (OpenPGP card 3.4, 7.2.10, 7.2.11 and 7.2.13). */
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

/** A touch did not come in time: Yubico's word, which has no meaning in ISO/IEC 7816-4. */
const TOUCH_MISSED = 0x6600

const curveFlags = CKF.EC_F_P | CKF.EC_NAMEDCURVE

/** What a key of this type signs: RSA is padded by the card, and hashing happens on the host. */
export function signMechanismsFor(type: 'rsa' | 'ec', keyBits: number): ReadonlyMap<number, MechanismInfo> {
  const flags = CKF.SIGN | (type === 'ec' ? curveFlags : 0)
  return withInfo(cardSignTypes(type === 'rsa' ? 'pkcs1' : 'ecdsa'), keyBits, flags)
}

/** What a key of this type deciphers: the card takes off RSA's padding. */
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

/** One for each key. */
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

/** The key, with the attributes that its public half tells. `rejectionSecret` as `unpadPkcs1` takes it. */
export function openPgpKey(
  access: OpenPgpKeyAccess,
  use: OpenPgpKeyUse,
  attributes: Attributes,
  rejectionSecret: () => Uint8Array,
): UsableKey {
  const { application } = access
  const cardUse = (purpose: KeyPurpose, mechanism: RawMechanism): CardUse<CardCommand> => {
    const isFor = use === 'decryption' ? ['decrypt', 'unwrap', 'derive'] : ['sign']
    if (!isFor.includes(purpose)) throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    if (use !== 'decryption') return signature(application, use, mechanism, attributes)
    return purpose === 'derive'
      ? agreement(application, mechanism, attributes)
      : decryption(application, mechanism, attributes, rejectionSecret)
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

function signature(
  application: OpenPgpApplet,
  use: 'signature' | 'authentication',
  mechanism: RawMechanism,
  attributes: Attributes,
): CardUse<CardCommand> {
  const rules = signMechanism(mechanism.type)
  const isSigned = rules?.padding === 'pkcs1' || rules?.padding === 'ecdsa'
  if (rules === undefined || !isSigned) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkSignatureKey(attributes, mechanism, rules)
  const answerBytes = signatureBytes(attributes)
  return {
    gathers: gatheredFor(rules),
    outputBytes: () => answerBytes,
    prepare: async (data) => {
      const input = inputFor(rules, data, answerBytes)
      return async (channel, options) => {
        const answer = await application.sign(channel, use, input, answerBytes, options)
        if (answer.length !== answerBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return answer
      }
    },
  }
}

/** PKCS#1 v1.5: the card takes the padding off, and says if it is wrong. That is not passed on. */
function decryption(
  application: OpenPgpApplet,
  { type }: RawMechanism,
  attributes: Attributes,
  rejectionSecret: () => Uint8Array,
): CardUse<CardCommand> {
  if (type !== CKM.RSA_PKCS) throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (attributes[CKA.KEY_TYPE] !== CKK.RSA) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  const keyBytes = signatureBytes(attributes)
  const messageBytes = keyBytes - 11
  return {
    gathers: { maxBytes: keyBytes, tooMany: CKR.ENCRYPTED_DATA_LEN_RANGE },
    outputBytes: () => messageBytes,
    prepare: async (cryptogram) => {
      if (cryptogram.length !== keyBytes) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
      if (!isBelowModulus(cryptogram, attributes)) throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
      const { unpadPkcs1 } = await import('../software/unpad.ts')
      // What a block without a padding becomes: the message of this ciphertext, if the card refuses it.
      const rejected = unpadPkcs1(new Uint8Array(keyBytes), cryptogram, rejectionSecret())
      return async (channel, options) => {
        const answer = await application
          .decipher(channel, { cryptogram }, messageBytes, options)
          .catch((error: unknown) => {
            if (hasStatus(error, SW.WRONG_DATA)) return rejected
            throw error
          })
        if (answer.length > messageBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return answer
      }
    },
  }
}

/** ECDH: cards answer with the x-coordinate of the shared point, some with the whole point. */
function agreement(
  application: OpenPgpApplet,
  { type, ecdh }: RawMechanism,
  attributes: Attributes,
): CardUse<CardCommand> {
  if (type !== CKM.ECDH1_DERIVE && type !== CKM.ECDH1_COFACTOR_DERIVE)
    throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (attributes[CKA.KEY_TYPE] !== CKK.EC) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (ecdh === undefined) throw parameterError('ecdh')
  const fieldBytes = signatureBytes(attributes) / 2
  return {
    gathers: { maxBytes: 0 },
    outputBytes: () => fieldBytes,
    prepare: async () => {
      const { checkedPoint } = await import('../software/ecdh.ts')
      const point = checkedPoint(ecdh.publicData, attributes[CKA.EC_PARAMS] ?? new Uint8Array(0))
      return async (channel, options) => {
        const answer = await application.decipher(channel, { point }, point.length, options)
        if (answer.length === point.length && answer[0] === 0x04) return answer.slice(1, 1 + fieldBytes)
        if (answer.length !== fieldBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
        return answer
      }
    },
  }
}

/** RSA takes a DigestInfo, or what CKM_RSA_PKCS is given, of at most 40 % of the modulus (7.2.10.2); ECDSA a digest. */
function inputFor({ keyType, hash }: SignMechanism, data: Uint8Array, answerBytes: number): Uint8Array {
  if (keyType === 'ec') return fitDigest(data, answerBytes / 2)
  const input = hash === undefined ? data : encodeDigestInfo(hash, data)
  if (input.length > Math.floor(answerBytes * 0.4)) throw new CryptokiError(CKR.DATA_LEN_RANGE)
  return input
}

function signatureBytes(attributes: Attributes): number {
  if (attributes[CKA.KEY_TYPE] === CKK.RSA) return Math.ceil((attributes[CKA.MODULUS_BITS] ?? 0) / 8)
  // r and s are as long as x and y, which stand after 04 in the point.
  return decodeTlv(attributes[CKA.EC_POINT] ?? new Uint8Array(0)).value.length - 1
}
