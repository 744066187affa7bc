/** What a signature mechanism asks of its key, in a card or in software. */
import type { Attributes } from './attributes.ts'
import { CKA, CKK, CKR } from './constants.ts'
import { hashes } from '@webtoki/crypto'
import { CryptokiError } from './errors.ts'
import type { KeyUse } from './key-use.ts'
import { parameterError, pssParametersOf, type RawMechanism, type SignMechanism } from './mechanisms.ts'

/** No mechanism of RSA or ECDSA that takes its data in one piece takes more than a modulus of 16384 bits. */
const MAX_COLLECTED_BYTES = 2048

/** EdDSA hashes the message twice, and so needs all of it. */
const MAX_EDDSA_BYTES = 0x10_0000

/** What a signature mechanism collects: the hash that it makes, or the data as they are. */
export function gatheredFor({ hash, padding }: SignMechanism): KeyUse['gathers'] {
  if (hash !== undefined) return { hash }
  return { maxBytes: padding === 'eddsa' ? MAX_EDDSA_BYTES : MAX_COLLECTED_BYTES }
}

const keyTypes = { rsa: CKK.RSA, ec: CKK.EC, edwards: CKK.EC_EDWARDS } as const

/**
 * Key type, size and parameters of a signature mechanism against the key. Throws CKR_KEY_TYPE_INCONSISTENT and
 * CKR_MECHANISM_PARAM_INVALID, also for a PSS salt that does not fit the modulus (RFC 8017, 9.1.1).
 */
export function checkSignatureKey(
  attributes: Attributes,
  mechanism: RawMechanism,
  rules: SignMechanism,
): void {
  if (attributes[CKA.KEY_TYPE] !== keyTypes[rules.keyType]) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (rules.padding !== 'pss') return
  const { hash, saltBytes } = pssParametersOf(mechanism)
  const encodedBytes = Math.ceil(((attributes[CKA.MODULUS_BITS] ?? 0) - 1) / 8)
  if (encodedBytes < hashes[hash].bytes + saltBytes + 2) throw parameterError('pss.saltBytes')
}
