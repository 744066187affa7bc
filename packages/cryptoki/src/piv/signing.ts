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
import { pssParametersOf, signMechanism } from '../mechanisms.ts'
import type { SignRequest } from '../token.ts'

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

/** Rejects with CKR_KEY_SIZE_RANGE, CKR_DATA_LEN_RANGE, CKR_DATA_INVALID, CKR_MECHANISM_INVALID before anything is sent. */
export async function prepareSignature(
  request: SignRequest,
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array,
): Promise<CardSignature> {
  const mechanism = signMechanism(request.mechanism.type)
  if (mechanism === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
  try {
    return attributes[CKA.KEY_TYPE] === CKK.RSA
      ? await rsaSignature(request, mechanism.padding, attributes, randomBytes)
      : ecdsaSignature(request.data, attributes)
  } catch (error) {
    // The padding's own complaints: the message does not fit the key or the hash.
    if (error instanceof RangeError) throw new CryptokiError(CKR.DATA_LEN_RANGE, { cause: error })
    throw error
  }
}

async function rsaSignature(
  request: SignRequest,
  padding: string,
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
  const { data, digested } = request
  if (padding === 'pss') {
    const { hash, mgfHash, saltBytes } = pssParametersOf(request.mechanism)
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
  const parameters = attributes[CKA.EC_PARAMS] ?? new Uint8Array(0)
  const curve = curves.get([...parameters].map((byte) => byte.toString(16).padStart(2, '0')).join(''))
  if (curve === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  const { algorithm, fieldBytes } = curve
  return {
    algorithm,
    challenge: fitDigest(digest, fieldBytes),
    finish: (answer) => ecdsaSignatureFromDer(answer, fieldBytes),
  }
}
