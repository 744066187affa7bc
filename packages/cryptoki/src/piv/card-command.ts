/** One use of a PIV key as its card takes it: SP 800-73-4 part 2, 3.2.4, and the algorithms of SP 800-78-4, table 6-2. */
import { type AuthenticateInput, PivAlgorithm } from '@webtoki/apdu/piv'
import type { CurveName } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { curveOf as knownCurveOf, isBelowModulus } from '../software/key-numbers.ts'

/** One GENERAL AUTHENTICATE: what goes in, and what its answer becomes. */
export interface CardCommand {
  readonly algorithm: number
  readonly input: AuthenticateInput
  /** May keep or overwrite `answer`. */
  readonly finish: (answer: Uint8Array) => Uint8Array | Promise<Uint8Array>
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

/** Throws CKR_KEY_SIZE_RANGE for a curve that PIV has no algorithm for. */
export function curveOf(attributes: Attributes): { readonly algorithm: number; readonly fieldBytes: number } {
  const { name, fieldBytes } = knownCurveOf(attributes[CKA.EC_PARAMS])
  const algorithm = curveAlgorithms[name]
  if (algorithm === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return { algorithm, fieldBytes }
}

/** Length of the modulus, in bytes. Throws CKR_KEY_SIZE_RANGE for a key that PIV has no algorithm for. */
export function modulusBytes(attributes: Attributes): number {
  const keyBits = attributes[CKA.MODULUS_BITS] ?? 0
  if (!rsaAlgorithms.has(keyBits)) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return keyBits / 8
}

/**
 * The bare operation of an RSA key on a block as long as the modulus, whatever it is for. Throws `tooLarge` if the block, as a
 * number, is not below the modulus.
 */
export function rawRsa(attributes: Attributes, block: Uint8Array, tooLarge: CKR): CardCommand {
  const keyBytes = modulusBytes(attributes)
  if (!isBelowModulus(block, attributes))
    throw new CryptokiError(tooLarge, { detail: 'the data, as a number, is not below the modulus' })
  return {
    algorithm: rsaAlgorithms.get(8 * keyBytes) as number,
    input: { tag: 0x81, value: block },
    finish: (answer) => {
      if (answer.length !== keyBytes) throw new CryptokiError(CKR.DEVICE_ERROR)
      return answer
    },
  }
}
