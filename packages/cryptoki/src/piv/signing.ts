/** Preparation of the data that a PIV card signs: a padded block for RSA, a digest for ECDSA (SP 800-73-4 part 2, 3.2.4). */
import { concatBytes, MalformedError } from '@webtoki/apdu'
import { ecdsaSignatureFromDer, encodeDigestInfo, fitDigest, padPkcs1 } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { pssParametersOf, type RawMechanism, signMechanism } from '../mechanisms.ts'
import { type CardCommand, curveOf, modulusBytes, rawRsa } from './card-command.ts'

/** Returns the length of the key's signatures in bytes. Throws CKR_KEY_SIZE_RANGE if PIV has no algorithm for the key. */
export function signatureBytes(attributes: Attributes): number {
  return attributes[CKA.KEY_TYPE] === CKK.RSA ? modulusBytes(attributes) : 2 * curveOf(attributes).fieldBytes
}

/**
 * Prepares a signature. `data` is the digest if the mechanism hashes, otherwise the data of the mechanism. Rejects with
 * CKR_KEY_SIZE_RANGE, CKR_DATA_LEN_RANGE, CKR_DATA_INVALID, CKR_MECHANISM_INVALID.
 */
export async function prepareSignature(
  mechanism: RawMechanism,
  attributes: Attributes,
  data: Uint8Array,
  randomBytes: (bytes: number) => Uint8Array,
): Promise<CardCommand> {
  try {
    if (attributes[CKA.KEY_TYPE] !== CKK.RSA) return ecdsaSignature(data, attributes)
    const block = await paddedBlock(mechanism, data, attributes, randomBytes)
    return rawRsa(attributes, block, CKR.DATA_INVALID)
  } catch (error) {
    // The padding functions throw RangeError if the data is too long for the key or not as long as the digest.
    if (error instanceof RangeError) throw new CryptokiError(CKR.DATA_LEN_RANGE, { cause: error })
    throw error
  }
}

/** Returns the padded block, which is as long as the modulus. */
async function paddedBlock(
  mechanism: RawMechanism,
  data: Uint8Array,
  attributes: Attributes,
  randomBytes: (bytes: number) => Uint8Array,
): Promise<Uint8Array> {
  const keyBytes = modulusBytes(attributes)
  const { padding, hash: digested } = signMechanism(mechanism.type) ?? {}
  if (padding === 'pss') {
    const { padPss } = await import('@webtoki/crypto/hash-now')
    return padPss(data, { keyBits: 8 * keyBytes, ...pssParametersOf(mechanism), randomBytes })
  }
  if (padding === 'raw-x509') {
    if (data.length > keyBytes) throw new CryptokiError(CKR.DATA_LEN_RANGE)
    return concatBytes(new Uint8Array(keyBytes - data.length), data)
  }
  return padPkcs1(digested === undefined ? data : encodeDigestInfo(digested, data), keyBytes)
}

function ecdsaSignature(digest: Uint8Array, attributes: Attributes): CardCommand {
  const { algorithm, fieldBytes } = curveOf(attributes)
  return {
    algorithm,
    input: { tag: 0x81, value: fitDigest(digest, fieldBytes) },
    finish: (response) => {
      try {
        return ecdsaSignatureFromDer(response, fieldBytes)
      } catch (error) {
        throw new MalformedError('ECDSA signature', (error as Error).message)
      }
    },
  }
}
