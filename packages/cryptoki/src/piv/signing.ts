/** What a PIV card is given to sign: its RSA is raw, its ECDSA takes a digest (SP 800-73-4 part 2, 3.2.4). */
import { toHex } from '@webtoki/apdu'
import {
  ecdsaSignatureFromDer,
  encodeDigestInfo,
  fitDigest,
  PivAlgorithm,
  padPkcs1,
  padPss,
} from '@webtoki/apdu/piv'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { type Mechanism, pssParametersOf, signMechanism } from '../mechanisms.ts'

/** One GENERAL AUTHENTICATE: what goes into 81, and what its answer becomes. */
export interface CardSignature {
  readonly algorithm: number
  readonly challenge: Uint8Array
  finish(answer: Uint8Array): Uint8Array
}

const rsaAlgorithms: ReadonlyMap<number, number> = new Map([
  [1024, PivAlgorithm.RSA_1024],
  [2048, PivAlgorithm.RSA_2048],
  [3072, PivAlgorithm.RSA_3072],
  [4096, PivAlgorithm.RSA_4096],
])

/** Field sizes of the curves, in bytes, with their algorithm. The OIDs are DER, as CKA_EC_PARAMS has them. */
const curves: ReadonlyMap<string, { readonly algorithm: number; readonly fieldBytes: number }> = new Map([
  ['06082a8648ce3d030107', { algorithm: PivAlgorithm.P256, fieldBytes: 32 }],
  ['06052b81040022', { algorithm: PivAlgorithm.P384, fieldBytes: 48 }],
])

/** Length of the key's signatures, in bytes. Throws CKR_KEY_SIZE_RANGE for a key that PIV has no algorithm for. */
export function signatureBytes(attributes: Attributes): number {
  if (attributes[CKA.KEY_TYPE] !== CKK.RSA) return 2 * curveOf(attributes).fieldBytes
  const keyBits = attributes[CKA.MODULUS_BITS] ?? 0
  if (!rsaAlgorithms.has(keyBits)) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return keyBits / 8
}

/**
 * `data` is the digest if the mechanism hashes, else what the mechanism takes. Rejects with CKR_KEY_SIZE_RANGE,
 * CKR_DATA_LEN_RANGE, CKR_DATA_INVALID, CKR_MECHANISM_INVALID.
 */
export async function prepareSignature(
  mechanism: Mechanism,
  attributes: Attributes,
  data: Uint8Array,
  randomBytes: (bytes: number) => Uint8Array,
): Promise<CardSignature> {
  try {
    return attributes[CKA.KEY_TYPE] === CKK.RSA
      ? await rsaSignature(mechanism, data, attributes, randomBytes)
      : ecdsaSignature(data, attributes)
  } catch (error) {
    // The padding's own complaints: the message does not fit the key or the hash.
    if (error instanceof RangeError) throw new CryptokiError(CKR.DATA_LEN_RANGE, { cause: error })
    throw error
  }
}

async function rsaSignature(
  mechanism: Mechanism,
  data: Uint8Array,
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array,
): Promise<CardSignature> {
  const keyBits = attributes[CKA.MODULUS_BITS] ?? 0
  const algorithm = rsaAlgorithms.get(keyBits)
  if (algorithm === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  const keyBytes = keyBits / 8
  const finish = (answer: Uint8Array): Uint8Array => {
    if (answer.length !== keyBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
    return answer
  }
  const { padding, hash: digested } = signMechanism(mechanism.type) ?? {}
  if (padding === 'pss') {
    const { hash, mgfHash, saltBytes } = pssParametersOf(mechanism)
    const { hashNow } = await import('../hash-now.ts')
    const challenge = padPss(data, {
      keyBits,
      saltBytes,
      hash: (bytes) => hashNow(hash, bytes),
      mgfHash: (bytes) => hashNow(mgfHash, bytes),
      randomBytes,
    })
    return { algorithm, challenge, finish }
  }
  if (padding === 'raw-x509') {
    if (data.length > keyBytes) throw new CryptokiError(CKR.DATA_LEN_RANGE)
    const challenge = new Uint8Array(keyBytes)
    challenge.set(data, keyBytes - data.length)
    // Bytes of one length in hex stand in the order of their numbers.
    if (toHex(challenge) >= toHex(attributes[CKA.MODULUS] ?? challenge)) {
      throw new CryptokiError(CKR.DATA_INVALID, { detail: 'the data, as a number, is not below the modulus' })
    }
    return { algorithm, challenge, finish }
  }
  const message = digested === undefined ? data : encodeDigestInfo(digested, data)
  return { algorithm, challenge: padPkcs1(message, keyBytes), finish }
}

function ecdsaSignature(digest: Uint8Array, attributes: Attributes): CardSignature {
  const { algorithm, fieldBytes } = curveOf(attributes)
  return {
    algorithm,
    challenge: fitDigest(digest, fieldBytes),
    finish: (answer) => ecdsaSignatureFromDer(answer, fieldBytes),
  }
}

function curveOf(attributes: Attributes): { readonly algorithm: number; readonly fieldBytes: number } {
  const curve = curves.get(toHex(attributes[CKA.EC_PARAMS] ?? new Uint8Array(0)))
  if (curve === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return curve
}
