/**
 * The parts of ECDH that run on the host: validation of the other party's point, and key derivation from the shared
 * secret (PKCS#11 v2.40 mechanisms, 2.3.8; SEC 1, 3.2.2.1 and 3.6.1). Loaded when a key is derived.
 */
import { concatBytes, copyOf } from '@webtoki/apdu'
import { CKD, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { HashName } from '@webtoki/crypto'
import { isPoint } from '@webtoki/crypto/curve-arithmetic'
import { hashNow } from '@webtoki/crypto/hash-now'
import { type EcdhMechanismParameters, kdfHash, parameterError } from '../mechanisms.ts'
import { curveOf, octetStringOf } from './key-numbers.ts'

/**
 * Returns the other party's point, uncompressed (04, x, y), from `publicData`, which contains it directly or within a DER
 * OCTET STRING. `ecParams` is CKA_EC_PARAMS of the card's key. Only points on that curve are accepted, because a card that
 * computes with any other point can reveal its private key. Throws CKR_MECHANISM_PARAM_INVALID, and CKR_KEY_SIZE_RANGE for
 * an unknown curve.
 */
export function checkedPoint(publicData: Uint8Array, ecParams: Uint8Array): Uint8Array {
  const curve = curveOf(ecParams)
  const point = publicData.length === 1 + 2 * curve.fieldBytes ? publicData : octetStringOf(publicData)
  if (point === undefined || !isPoint(curve, point)) throw parameterError('ecdh.publicData')
  return copyOf(point)
}

/** Throws CKR_MECHANISM_PARAM_INVALID for an unknown KDF, and for CKD_NULL with shared data. */
export function checkKdf({ kdf, sharedData }: KdfParameters): void {
  if (kdf === CKD.NULL) {
    if ((sharedData?.length ?? 0) > 0) throw parameterError('ecdh.sharedData')
  } else if (kdfHash(kdf) === undefined) throw parameterError('ecdh.kdf')
}

/** The fields of CK_ECDH1_DERIVE_PARAMS that control the key derivation function. */
export type KdfParameters = { readonly kdf: number } & Pick<EcdhMechanismParameters, 'sharedData'>

/**
 * Derives `bytes` key bytes from the shared secret `z`, the x-coordinate. CKD_NULL returns the last `bytes` of `z`, by
 * default all; the other KDFs are those of ANSI X9.63 and require `bytes`. Rejects with CKR_MECHANISM_PARAM_INVALID,
 * CKR_TEMPLATE_INCOMPLETE if `bytes` is required but missing, and CKR_ATTRIBUTE_VALUE_INVALID if it is out of range.
 */
export async function deriveSecret(
  z: Uint8Array,
  ecdh: KdfParameters,
  bytes: number | undefined,
): Promise<Uint8Array> {
  checkKdf(ecdh)
  if (bytes !== undefined && (!Number.isSafeInteger(bytes) || bytes < 1))
    throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  const hash = kdfHash(ecdh.kdf)
  if (hash !== undefined) return x963Kdf(z, hash, ecdh.sharedData ?? new Uint8Array(0), bytes)
  if (bytes !== undefined && bytes > z.length) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  return copyOf(z.subarray(z.length - (bytes ?? z.length)))
}

/** The longest generic secret key. The KDF itself could produce 2^32 - 1 blocks. */
const MAX_KEY_BYTES = 0x1_0000

/** SEC 1, 3.6.1: hashes the secret, a counter that starts at 1, and the shared data. */
function x963Kdf(
  z: Uint8Array,
  hash: HashName,
  sharedData: Uint8Array,
  bytes: number | undefined,
): Uint8Array {
  if (bytes === undefined) throw new CryptokiError(CKR.TEMPLATE_INCOMPLETE)
  if (bytes > MAX_KEY_BYTES) throw new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
  const key = new Uint8Array(bytes)
  for (let made = 0, counter = 1; made < bytes; counter++) {
    const input = concatBytes(z, [0, 0, counter >> 8, counter & 0xff], sharedData)
    const block = hashNow(hash, input)
    key.set(block.subarray(0, bytes - made), made)
    made += block.length
    input.fill(0)
    block.fill(0)
  }
  return key
}
