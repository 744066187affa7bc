/** The GENERAL AUTHENTICATE command for a PIV key: SP 800-73-4 part 2, 3.2.4; algorithms of SP 800-78-4, table 6-2. */
import { type AuthenticateInput, PivAlgorithm } from '@webtoki/apdu/piv'
import type { CurveName } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { curveOf as knownCurveOf, isBelowModulus } from '../software/key-numbers.ts'

/** One GENERAL AUTHENTICATE: its input, and the conversion of its response. */
export interface CardCommand {
  readonly algorithm: number
  readonly input: AuthenticateInput
  /** Converts the response data. May keep or overwrite `response`. */
  readonly finish: (response: Uint8Array) => Uint8Array | Promise<Uint8Array>
}

const rsaAlgorithms: ReadonlyMap<number, number> = new Map([
  [1024, PivAlgorithm.RSA_1024],
  [2048, PivAlgorithm.RSA_2048],
  [3072, PivAlgorithm.RSA_3072],
  [4096, PivAlgorithm.RSA_4096],
])

const curveAlgorithms: Readonly<Partial<Record<CurveName, number>>> = {
  'P-256': PivAlgorithm.P256,
  'P-384': PivAlgorithm.P384,
}

/** Throws CKR_KEY_SIZE_RANGE if PIV has no algorithm for the curve. */
export function curveOf(attributes: Attributes): { readonly algorithm: number; readonly fieldBytes: number } {
  const { name, fieldBytes } = knownCurveOf(attributes[CKA.EC_PARAMS])
  const algorithm = curveAlgorithms[name]
  if (algorithm === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return { algorithm, fieldBytes }
}

/** Returns the length of the modulus in bytes. Throws CKR_KEY_SIZE_RANGE if PIV has no algorithm for the key. */
export function modulusBytes(attributes: Attributes): number {
  const keyBits = attributes[CKA.MODULUS_BITS] ?? 0
  if (!rsaAlgorithms.has(keyBits)) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return keyBits / 8
}

/**
 * Returns the command for the raw RSA operation on a block as long as the modulus. Throws `tooLarge` if the block, as a
 * number, is not below the modulus.
 */
export function rawRsa(attributes: Attributes, block: Uint8Array, tooLarge: CKR): CardCommand {
  const keyBytes = modulusBytes(attributes)
  if (!isBelowModulus(block, attributes))
    throw new CryptokiError(tooLarge, { detail: 'the data, as a number, is not below the modulus' })
  return {
    algorithm: rsaAlgorithms.get(8 * keyBytes) as number,
    input: { tag: 0x81, value: block },
    finish: (response) => {
      if (response.length !== keyBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
      return response
    },
  }
}
