/** Public keys that an application hands in (PKCS#11 v3.0 mechanisms, 2.1.2, 2.3.3 and 2.3.5). Loaded when one is made: it knows the curves. */
import { ed25519 } from '@noble/curves/ed25519.js'
import { copyOf, encodeTlv, equalBytes, fromHex } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import { areRsaNumbers } from '../certificate.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { curveOf, octetStringOf } from './curves.ts'
import { checkEdwards } from './known-curves.ts'
import { keySizes } from './mechanisms.ts'
import { magnitudeOf, rsaBitsOf } from './rsa-size.ts'

const rsaEncryption = fromHex('06092a864886f70d0101010500')
const ecPublicKey = fromHex('06072a8648ce3d0201')
const ed25519Oid = fromHex('06032b6570')

const { minKeyBits, maxKeyBits } = keySizes.rsa

/**
 * The attributes that follow from the key's numbers. Throws CKR_ATTRIBUTE_VALUE_INVALID for numbers that are no such key,
 * CKR_CURVE_NOT_SUPPORTED, and CKR_TEMPLATE_INCONSISTENT for a CKA_PUBLIC_KEY_INFO of another key.
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
  const key = encodeTlv(0x30, positiveInteger(modulus), positiveInteger(exponent))
  return {
    [CKA.MODULUS]: modulus,
    [CKA.PUBLIC_EXPONENT]: exponent,
    [CKA.MODULUS_BITS]: bits,
    [CKA.PUBLIC_KEY_INFO]: publicKeyInfo(rsaEncryption, key),
  }
}

function pointInfo(template: Attributes): Uint8Array {
  const { [CKA.KEY_TYPE]: type, [CKA.EC_PARAMS]: params = new Uint8Array(0), [CKA.EC_POINT]: der } = template
  const point = der && octetStringOf(der)
  if (point === undefined) throw invalid()
  if (type === CKK.EC_EDWARDS) {
    known(() => checkEdwards(params))
    checkPoint(() => ed25519.Point.fromBytes(point))
    return publicKeyInfo(ed25519Oid, point)
  }
  checkPoint(() => {
    const { curve, fieldBytes } = known(() => curveOf(params))
    // A compressed point would be one, and is not what CKA_EC_POINT holds here.
    if (point.length !== 1 + 2 * fieldBytes) throw invalid()
    curve.Point.fromBytes(point).assertValidity()
  })
  return publicKeyInfo(new Uint8Array([...ecPublicKey, ...params]), point)
}

/** A key on a curve that is not known cannot be made; to use one is an error of another name. */
function known<T>(look: () => T): T {
  try {
    return look()
  } catch (cause) {
    throw new CryptokiError(CKR.CURVE_NOT_SUPPORTED, { cause })
  }
}

function checkPoint(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    throw error instanceof CryptokiError ? error : invalid()
  }
}

function positiveInteger(magnitude: Uint8Array): Uint8Array {
  return encodeTlv(0x02, (magnitude[0] ?? 0) < 0x80 ? [] : [0], magnitude)
}

/** SubjectPublicKeyInfo (RFC 5280, 4.1): the algorithm's members in DER, and the key as a BIT STRING of whole bytes. */
function publicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeTlv(0x30, encodeTlv(0x30, algorithm), encodeTlv(0x03, [0], key))
}

function invalid(): CryptokiError {
  return new CryptokiError(CKR.ATTRIBUTE_VALUE_INVALID)
}
