/** What the attributes of a public key say: CKA_EC_PARAMS and CKA_EC_POINT (PKCS#11 v3.0 mechanisms, 2.3.3 to 2.3.5), CKA_MODULUS. */
import { decodeTlv, toHex } from '@webtoki/apdu'
import { bitsOf, type Curve, curveOfParameters, curves } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'

/** edwards25519 as a PrintableString. */
const EDWARDS = '130c656477617264733235353139'

/** A curve in Weierstrass form. Throws CKR_KEY_SIZE_RANGE for one that is not known. */
export function curveOf(ecParams: Uint8Array | undefined): Curve {
  const curve = curveOfParameters(ecParams ?? new Uint8Array(0))
  if (curve === undefined || curve.isEdwards) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return curve
}

/** A curve in Edwards form. Throws CKR_KEY_SIZE_RANGE for one that is not known. */
export function edwardsCurveOf(ecParams: Uint8Array | undefined): Curve {
  const params = ecParams ?? new Uint8Array(0)
  const curve =
    toHex(params) === EDWARDS ? curves.find(({ name }) => name === 'Ed25519') : curveOfParameters(params)
  if (!curve?.isEdwards) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return curve
}

/** The value of a DER OCTET STRING that fills `bytes`; undefined if it is something else. */
export function octetStringOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    const { tag, value } = decodeTlv(bytes)
    return tag === 0x04 ? value : undefined
  } catch {
    return undefined
  }
}

/** A big integer of PKCS#11 may have zeros before it. */
export function magnitudeOf(bytes: Uint8Array | undefined): Uint8Array {
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  return bytes === undefined || first < 0 ? new Uint8Array(0) : bytes.subarray(first)
}

/** Bits of CKA_MODULUS; 0 if there is none. */
export function rsaBitsOf(key: Attributes): number {
  return bitsOf(magnitudeOf(key[CKA.MODULUS]))
}

/** Whether a block as long as CKA_MODULUS is, as a number, below it. */
export function isBelowModulus(block: Uint8Array, key: Attributes): boolean {
  // Bytes of one length in hex stand in the order of their numbers.
  return toHex(block) < toHex(key[CKA.MODULUS] ?? block)
}
