/** Decoding of the attributes CKA_EC_PARAMS, CKA_EC_POINT and CKA_MODULUS (PKCS#11 v3.0 mechanisms, 2.1.2 and 2.3.3 to 2.3.5). */
import { decodeTlv, toHex } from '@webtoki/apdu'
import { bitsOf, type Curve, curveOfParameters, curves } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'

/** The PrintableString "edwards25519" in DER, which CKA_EC_PARAMS may contain instead of an identifier. */
const EDWARDS = '130c656477617264733235353139'

/** Returns the curve in Weierstrass form. Throws CKR_KEY_SIZE_RANGE if it is unknown. */
export function curveOf(ecParams: Uint8Array | undefined): Curve {
  const curve = curveOfParameters(ecParams ?? new Uint8Array(0))
  if (curve === undefined || curve.isEdwards) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return curve
}

/** Returns the curve in Edwards form. Throws CKR_KEY_SIZE_RANGE if it is unknown. */
export function edwardsCurveOf(ecParams: Uint8Array | undefined): Curve {
  const params = ecParams ?? new Uint8Array(0)
  const curve =
    toHex(params) === EDWARDS ? curves.find(({ name }) => name === 'Ed25519') : curveOfParameters(params)
  if (!curve?.isEdwards) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return curve
}

/** Returns the value of the DER OCTET STRING `bytes`, or undefined if `bytes` is something else. */
export function octetStringOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    const { tag, value } = decodeTlv(bytes)
    return tag === 0x04 ? value : undefined
  } catch {
    return undefined
  }
}

/** Removes the leading zeros that a big integer of PKCS#11 may have. */
export function magnitudeOf(bytes: Uint8Array | undefined): Uint8Array {
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  return bytes === undefined || first < 0 ? new Uint8Array(0) : bytes.subarray(first)
}

/** Returns the length of CKA_MODULUS in bits, or 0 if it is missing. */
export function rsaBitsOf(key: Attributes): number {
  return bitsOf(magnitudeOf(key[CKA.MODULUS]))
}

/** Returns whether `block`, which is as long as CKA_MODULUS, is a smaller number than it. */
export function isBelowModulus(block: Uint8Array, key: Attributes): boolean {
  // Hex strings of equal length sort in the order of their numbers.
  return toHex(block) < toHex(key[CKA.MODULUS] ?? block)
}
