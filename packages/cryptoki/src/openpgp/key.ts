/** A private key of an OpenPGP card: what it asks of its user, and its uses (OpenPGP card 3.4, 7.2.10 and 7.2.13). */
import { decodeTlv, isSmartcardError, TouchMissedError } from '@webtoki/apdu'
import type { OpenPgpApplet } from '@webtoki/apdu/openpgp'
import { encodeDigestInfo, fitDigest } from '@webtoki/apdu/piv'
import type { Attributes } from '../attributes.ts'
import { CKA, CKF, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyAccess, KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import { type Mechanism, type MechanismInfo, type SignMechanism, signMechanism } from '../mechanisms.ts'
import { checkSignatureKey, gatheredFor } from '../software/public-key.ts'

/** The keys that sign. */
export type SigningUse = 'signature' | 'authentication'

/** A touch did not come in time: Yubico's word, which has no meaning in ISO/IEC 7816-4. */
const TOUCH_MISSED = 0x6600

const mechanisms = {
  rsa: [CKM.RSA_PKCS, CKM.SHA1_RSA_PKCS, CKM.SHA256_RSA_PKCS, CKM.SHA384_RSA_PKCS, CKM.SHA512_RSA_PKCS],
  ec: [CKM.ECDSA, CKM.ECDSA_SHA1, CKM.ECDSA_SHA256, CKM.ECDSA_SHA384, CKM.ECDSA_SHA512],
} as const

/** What a key of this type can do: RSA is padded by the card, and hashing happens on the host. */
export function mechanismsFor(type: 'rsa' | 'ec', keyBits: number): ReadonlyMap<number, MechanismInfo> {
  const flags = CKF.SIGN | (type === 'ec' ? CKF.EC_F_P | CKF.EC_NAMEDCURVE : 0)
  const info: MechanismInfo = { minKeyBits: keyBits, maxKeyBits: keyBits, flags }
  return new Map(mechanisms[type].map((mechanism) => [mechanism, info]))
}

/** One for each key. */
export class OpenPgpKeyAccess implements KeyAccess {
  readonly application: OpenPgpApplet
  readonly touch: boolean | undefined
  #needs: KeyAccess['needs']

  constructor(application: OpenPgpApplet, use: SigningUse) {
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

/** The key, with the attributes that its public half tells. */
export function openPgpKey(access: OpenPgpKeyAccess, use: SigningUse, attributes: Attributes): UsableKey {
  return {
    use: (purpose: KeyPurpose, mechanism: Mechanism): KeyUse => {
      const rules = signMechanism(mechanism.type)
      const isSigned = rules?.padding === 'pkcs1' || rules?.padding === 'ecdsa'
      if (purpose !== 'sign' || rules === undefined || !isSigned)
        throw new CryptokiError(CKR.MECHANISM_INVALID)
      checkSignatureKey(attributes, mechanism, rules)
      const answerBytes = signatureBytes(attributes)
      return {
        gathers: gatheredFor(rules),
        access,
        outputBytes: () => answerBytes,
        prepare: async (data) => {
          const input = inputFor(rules, data, answerBytes)
          return {
            perform: async (channel, options) => {
              if (channel === undefined) throw new CryptokiError(CKR.FUNCTION_FAILED)
              const sign = access.application.sign(channel, use, input, answerBytes, options)
              const signature = await sign.catch((error: unknown) => {
                const isMissed = isSmartcardError(error, 'card/status') && error.sw === TOUCH_MISSED
                throw isMissed ? new TouchMissedError({ cause: error }) : error
              })
              if (signature.length !== answerBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
              return signature
            },
          }
        },
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
