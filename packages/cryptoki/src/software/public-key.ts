/** Public keys. They are used in software, because they are not secret and a card would only be slower. */
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import {
  checkSignatureKey,
  gatheredFor,
  oaepParametersOf,
  type RawMechanism,
  signMechanism,
} from '../mechanisms.ts'
import { BufferedStream } from './buffered-stream.ts'
import { rsaBitsOf } from './key-numbers.ts'
import { checkSoftwareUse } from './mechanisms.ts'

const nothing = new Uint8Array(0)

/** Makes a public key that verifies; an RSA key also recovers, encrypts and wraps. `randomBytes` provides its padding. */
export function publicKey(attributes: Attributes, randomBytes: (bytes: number) => Uint8Array): UsableKey {
  return {
    use: (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse => {
      const keyType = attributes[CKA.KEY_TYPE]
      const keyBits = keyType === CKK.RSA ? rsaBitsOf(attributes) : undefined
      checkSoftwareUse(purpose, mechanism.type, keyType, keyBits)
      if (purpose === 'verify')
        return verifyUse(
          keyBits === undefined ? attributes : { ...attributes, [CKA.MODULUS_BITS]: keyBits },
          mechanism,
        )
      const keyBytes = Math.ceil((keyBits ?? 0) / 8)
      return purpose === 'verify-recover'
        ? recoverUse(attributes, mechanism, keyBytes)
        : encryptUse(attributes, mechanism, keyBytes, randomBytes)
    },
  }
}

function verifyUse(attributes: Attributes, mechanism: RawMechanism): KeyUse {
  const rules = signMechanism(mechanism.type)
  if (rules === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
  checkSignatureKey(attributes, mechanism, rules)
  return {
    gathers: gatheredFor(rules),
    outputBytes: () => 0,
    prepare: async (data, signature = nothing) => ({
      perform: async () => {
        // Loaded on first use: the curves are the largest part of this package.
        const { verifySignature } = await import('../verify.ts')
        if (!verifySignature(attributes, mechanism, data, signature))
          throw new CryptokiError(CKR.SIGNATURE_INVALID)
        return nothing
      },
    }),
  }
}

function recoverUse(attributes: Attributes, mechanism: RawMechanism, keyBytes: number): KeyUse {
  return {
    gathers: 'stream',
    outputBytes: () => keyBytes,
    open: () =>
      new BufferedStream({
        maxBytes: keyBytes,
        lengthError: CKR.SIGNATURE_LEN_RANGE,
        run: async (signature) => {
          const { recoverRsa } = await import('./rsa.ts')
          return recoverRsa(attributes, mechanism, signature)
        },
        release: () => {},
      }),
  }
}

function encryptUse(
  attributes: Attributes,
  mechanism: RawMechanism,
  keyBytes: number,
  randomBytes: (bytes: number) => Uint8Array,
): KeyUse {
  if (mechanism.type === CKM.RSA_PKCS_OAEP) oaepParametersOf(mechanism, keyBytes)
  return {
    gathers: { maxBytes: keyBytes },
    outputBytes: () => keyBytes,
    prepare: async (data) => {
      const { encryptRsa } = await import('./rsa.ts')
      const encrypted = encryptRsa(attributes, mechanism, data, randomBytes)
      return { perform: async () => encrypted }
    },
  }
}
