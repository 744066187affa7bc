/** Public keys that an application hands in (PKCS#11 v3.0 mechanisms, 2.1.2, 2.3.3 and 2.3.5). Loaded when one is made: it knows the curves. */
import { ed25519 } from '@noble/curves/ed25519.js'
import { copyOf, encodeTlv, equalBytes, fromHex, toHex } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import { areRsaNumbers } from '../certificate.ts'
import { CKA, CKK, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { curveOf, octetStringOf } from './curves.ts'

const rsaEncryption = fromHex('06092a864886f70d0101010500')
const ecPublicKey = fromHex('06072a8648ce3d0201')
const ed25519Oid = fromHex('06032b6570')
/** CKA_EC_PARAMS of Ed25519: the object identifier, or the name "edwards25519". */
const ed25519Params: readonly string[] = ['06032b6570', '130c656477617264733235353139']

const MIN_MODULUS_BITS = 512
const MAX_MODULUS_BITS = 16_384

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
  const modulus = magnitudeOf(template[CKA.MODULUS])
  const exponent = magnitudeOf(template[CKA.PUBLIC_EXPONENT])
  const bits = 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24
  if (bits < MIN_MODULUS_BITS || bits > MAX_MODULUS_BITS || !areRsaNumbers(modulus, exponent)) throw invalid()
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
    if (!ed25519Params.includes(toHex(params))) throw new CryptokiError(CKR.CURVE_NOT_SUPPORTED)
    checkPoint(() => ed25519.Point.fromBytes(point))
    return publicKeyInfo(ed25519Oid, point)
  }
  checkPoint(() => {
    const { curve, fieldBytes } = knownCurve(params)
    // A compressed point would be one, and is not what CKA_EC_POINT holds here.
    if (point.length !== 1 + 2 * fieldBytes) throw invalid()
    curve.Point.fromBytes(point).assertValidity()
  })
  return publicKeyInfo(new Uint8Array([...ecPublicKey, ...params]), point)
}

function knownCurve(params: Uint8Array) {
  try {
    return curveOf(params)
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

/** Without the zeros before it. */
function magnitudeOf(number: Uint8Array | undefined): Uint8Array {
  const begin = number?.findIndex((byte) => byte !== 0) ?? -1
  return number === undefined || begin < 0 ? new Uint8Array(0) : copyOf(number.subarray(begin))
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
