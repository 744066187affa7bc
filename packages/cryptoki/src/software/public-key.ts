/** Public keys used in software: a public key is not a secret, and a card would only be slower. */
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { digestBytes } from '../digest-name.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import {
  parameterError,
  pssParametersOf,
  type RawMechanism,
  type SignMechanism,
  signMechanism,
} from '../mechanisms.ts'

/** No mechanism that takes its data in one piece takes more than a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

const nothing = new Uint8Array(0)

/** A public key with these attributes. It verifies. */
export function publicKey(attributes: Attributes): UsableKey {
  return {
    use: (purpose: KeyPurpose, mechanism: RawMechanism): KeyUse => {
      const rules = signMechanism(mechanism.type)
      if (purpose !== 'verify' || rules === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
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
    },
  }
}

/** What a signature mechanism collects: the hash that it makes, or the data as they are. */
export function gatheredFor({ hash }: SignMechanism): KeyUse['gathers'] {
  return hash === undefined ? { maxBytes: MAX_COLLECTED_BYTES } : { hash }
}

/**
 * Key type, size and parameters of a signature mechanism against the key. Throws CKR_KEY_TYPE_INCONSISTENT and
 * CKR_MECHANISM_PARAM_INVALID, also for a PSS salt that does not fit the modulus (RFC 8017, 9.1.1).
 */
export function checkSignatureKey(
  attributes: Attributes,
  mechanism: RawMechanism,
  rules: SignMechanism,
): void {
  if (attributes[CKA.KEY_TYPE] !== (rules.keyType === 'rsa' ? CKK.RSA : CKK.EC))
    throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (rules.padding !== 'pss') return
  const { hash, saltBytes } = pssParametersOf(mechanism)
  const encodedBytes = Math.ceil(((attributes[CKA.MODULUS_BITS] ?? 0) - 1) / 8)
  if (encodedBytes < digestBytes[hash] + saltBytes + 2) throw parameterError('pss.saltBytes')
}
