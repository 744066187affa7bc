/**
 * Validation of public keys that an application creates (PKCS#11 v3.0 mechanisms, 2.1.2, 2.3.3 and 2.3.5). Loaded on first
 * use, because it brings the arithmetic of the curves.
 */
import { copyOf, equalBytes } from '@webtoki/apdu'
import { areRsaNumbers, type Curve, encodePointInfo, encodeRsaKeyInfo } from '@webtoki/crypto'
import { isPoint } from '@webtoki/crypto/curve-arithmetic'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { curveOf, edwardsCurveOf, magnitudeOf, octetStringOf, rsaBitsOf } from './key-numbers.ts'
import { keySizes } from './mechanisms.ts'

const { minKeyBits, maxKeyBits } = keySizes.rsa

/**
 * Returns the attributes that follow from the key's numbers. Throws CKR_ATTRIBUTE_VALUE_INVALID if the numbers are not a
 * valid public key, CKR_CURVE_NOT_SUPPORTED, and CKR_TEMPLATE_INCONSISTENT if CKA_PUBLIC_KEY_INFO belongs to another key.
 */
export function importedPublicKey(template: Attributes): Attributes {
  const isRsa = template[CKA.KEY_TYPE] === CKK.RSA
  const own = isRsa ? rsaAttributes(template) : { [CKA.PUBLIC_KEY_INFO]: pointInfo(template) }
  const given = template[CKA.PUBLIC_KEY_INFO]
  if (given !== undefined && given.length > 0 && !equalBytes(given, own[CKA.PUBLIC_KEY_INFO]))
    throw new CryptokiError(CKR.TEMPLATE_INCONSISTENT)
  return own
}

function rsaAttributes(template: Attributes) {
  const modulus = copyOf(magnitudeOf(template[CKA.MODULUS]))
  const exponent = copyOf(magnitudeOf(template[CKA.PUBLIC_EXPONENT]))
  const bits = rsaBitsOf(template)
  if (bits < minKeyBits || bits > maxKeyBits || !areRsaNumbers(modulus, exponent)) throw invalid()
  return {
    [CKA.MODULUS]: modulus,
    [CKA.PUBLIC_EXPONENT]: exponent,
    [CKA.MODULUS_BITS]: bits,
    [CKA.PUBLIC_KEY_INFO]: encodeRsaKeyInfo({ modulus, exponent }),
  }
}

function pointInfo(template: Attributes): Uint8Array {
  const { [CKA.KEY_TYPE]: type, [CKA.EC_PARAMS]: params, [CKA.EC_POINT]: der } = template
  const point = der && octetStringOf(der)
  if (point === undefined) throw invalid()
  const curve = supportedCurve(() => (type === CKK.EC_EDWARDS ? edwardsCurveOf(params) : curveOf(params)))
  if (!isPoint(curve, point)) throw invalid()
  return encodePointInfo(curve, point)
}

/** Creating a key on an unknown curve is CKR_CURVE_NOT_SUPPORTED; using one is CKR_KEY_SIZE_RANGE. */
function supportedCurve(find: () => Curve): Curve {
  try {
    return find()
  } catch (cause) {
    throw new CryptokiError(CKR.CURVE_NOT_SUPPORTED, { cause })
  }
}

function invalid(): CryptokiError {
  return new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
}
