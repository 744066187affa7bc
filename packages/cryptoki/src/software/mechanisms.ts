/**
 * The mechanisms that run in software, with the key types, key sizes and purposes of each. C_GetMechanismInfo and every
 * Init use this table.
 */
import { CKK, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose } from '../key-use.ts'
import { aesMechanisms, hmacMechanisms, signMechanism } from '../mechanisms.ts'

/** A key type with the supported sizes. */
export interface KeySizes {
  readonly keyType: CKK
  readonly minKeyBits: number
  readonly maxKeyBits: number
}

/** A mechanism that runs in software. */
export interface SoftwareMechanism extends KeySizes {
  readonly purposes: readonly KeyPurpose[]
}

/** The key sizes that software supports, in bits. */
export const keySizes: Readonly<Record<'rsa' | 'ec' | 'edwards' | 'aes' | 'hmac', KeySizes>> = {
  rsa: { keyType: CKK.RSA, minKeyBits: 512, maxKeyBits: 16_384 },
  ec: { keyType: CKK.EC, minKeyBits: 256, maxKeyBits: 521 },
  edwards: { keyType: CKK.EC_EDWARDS, minKeyBits: 255, maxKeyBits: 255 },
  aes: { keyType: CKK.AES, minKeyBits: 128, maxKeyBits: 256 },
  // HMAC hashes keys longer than a block first (RFC 2104, 2). The limit of 64 kB only bounds memory.
  hmac: { keyType: CKK.GENERIC_SECRET, minKeyBits: 8, maxKeyBits: 0x8_0000 },
}

/** Returns undefined if software does not support the mechanism, or if the mechanism takes no key. */
export function softwareMechanism(type: number): SoftwareMechanism | undefined {
  if (aesMechanisms.includes(type))
    return { ...keySizes.aes, purposes: ['encrypt', 'decrypt', 'wrap', 'unwrap'] }
  if (hmacMechanisms.has(type)) return { ...keySizes.hmac, purposes: ['sign', 'verify'] }
  if (type === CKM.RSA_PKCS_OAEP) return { ...keySizes.rsa, purposes: ['encrypt', 'wrap'] }
  const rules = signMechanism(type)
  if (rules === undefined) return undefined
  const isBare = type === CKM.RSA_PKCS || type === CKM.RSA_X_509
  const purposes: KeyPurpose[] = isBare ? ['verify', 'verify-recover', 'encrypt', 'wrap'] : ['verify']
  return { ...keySizes[rules.keyType], purposes }
}

/**
 * Checks a use of a key in software. `keyBits` is undefined if the caller checks the size. Throws CKR_MECHANISM_INVALID,
 * CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_SIZE_RANGE.
 */
export function checkSoftwareUse(
  purpose: KeyPurpose,
  type: number,
  keyType: CKK | undefined,
  keyBits: number | undefined,
): void {
  const mechanism = softwareMechanism(type)
  if (mechanism === undefined || !mechanism.purposes.includes(purpose))
    throw new CryptokiError(CKR.MECHANISM_INVALID)
  if (mechanism.keyType !== keyType) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  if (keyBits !== undefined && (keyBits < mechanism.minKeyBits || keyBits > mechanism.maxKeyBits))
    throw new CryptokiError(CKR.KEY_SIZE_RANGE)
}
