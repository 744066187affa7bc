/** Public keys used in software: a public key is not a secret, and a card would only be slower. */
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKM, CKR } from '../constants.ts'
import { digestBytes } from '../digest-name.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import {
  oaepParametersOf,
  parameterError,
  pssParametersOf,
  type RawMechanism,
  type SignMechanism,
  signMechanism,
} from '../mechanisms.ts'
import { platformRandomBytes } from '../random.ts'
import { Collected } from './collected.ts'
import { checkEdwards, fieldBytesOf } from './known-curves.ts'
import { checkSoftwareUse } from './mechanisms.ts'
import { rsaBitsOf } from './rsa-size.ts'

/** No mechanism of RSA or ECDSA that takes its data in one piece takes more than a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

const nothing = new Uint8Array(0)

/** A public key with these attributes. It verifies; an RSA key also recovers, encrypts and wraps. */
export function publicKey(
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array = platformRandomBytes,
): UsableKey {
  return {
    use: (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse => {
      const keyType = attributes[CKA.KEY_TYPE]
      const keyBits = keyType === CKK.RSA ? rsaBitsOf(attributes) : undefined
      checkSoftwareUse(purpose, mechanism.type, keyType, keyBits)
      if (purpose === 'verify') return verifyUse(attributes, mechanism)
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
        // Loaded by those who verify: the curves are most of this package's weight.
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
      new Collected({
        maxBytes: keyBytes,
        tooLong: CKR.SIGNATURE_LEN_RANGE,
        run: async (signature) => {
          const { recoverRsa } = await import('./rsa.ts')
          return recoverRsa(attributes, mechanism, signature)
        },
        end: () => {},
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

/** EdDSA hashes the message twice, and so needs all of it. */
const MAX_EDDSA_BYTES = 0x10_0000

/** What a signature mechanism collects: the hash that it makes, or the data as they are. */
export function gatheredFor({ hash, padding }: SignMechanism): KeyUse['gathers'] {
  if (hash !== undefined) return { hash }
  return { maxBytes: padding === 'eddsa' ? MAX_EDDSA_BYTES : MAX_COLLECTED_BYTES }
}

const keyTypes = { rsa: CKK.RSA, ec: CKK.EC, edwards: CKK.EC_EDWARDS } as const

/**
 * Key type, size and parameters of a signature mechanism against the key. Throws CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE and
 * CKR_MECHANISM_PARAM_INVALID, also for a PSS salt that does not fit the modulus (RFC 8017, 9.1.1).
 */
export function checkSignatureKey(
  attributes: Attributes,
  mechanism: RawMechanism,
  rules: SignMechanism,
): void {
  if (attributes[CKA.KEY_TYPE] !== keyTypes[rules.keyType]) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (rules.keyType === 'ec') fieldBytesOf(attributes[CKA.EC_PARAMS])
  if (rules.keyType === 'edwards') checkEdwards(attributes[CKA.EC_PARAMS])
  if (rules.padding !== 'pss') return
  const { hash, saltBytes } = pssParametersOf(mechanism)
  const encodedBytes = Math.ceil(((attributes[CKA.MODULUS_BITS] ?? rsaBitsOf(attributes)) - 1) / 8)
  if (encodedBytes < digestBytes[hash] + saltBytes + 2) throw parameterError('pss.saltBytes')
}
