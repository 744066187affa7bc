/**
 * Conversion of an OpenPGP card's public keys to PKCS#11 attributes (PKCS#11 v2.40 mechanisms, 2.1.2 and 2.3.3; RFC 3279,
 * 2.3.1; RFC 5480, 2).
 */
import { encodeTlv, fromHex, MalformedError } from '@webtoki/apdu'
import type { OpenPgpAlgorithm, OpenPgpPublicKey } from '@webtoki/apdu/openpgp'
import {
  areRsaNumbers,
  bitsOf,
  type Curve,
  curveOfParameters,
  encodeOid,
  encodePointInfo,
  encodeRsaKeyInfo,
} from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA, CKK } from '../constants.ts'

/** Returns the curve for the content bytes of its object identifier in hex, or undefined if it is not supported. */
function curveOf(oid: string): Curve | undefined {
  const curve = curveOfParameters(encodeTlv(0x06, fromHex(oid)))
  return curve?.isEdwards ? undefined : curve
}

/** Returns the key size of an algorithm in bits, or undefined if the algorithm is not supported. */
export function keyBitsOf(algorithm: OpenPgpAlgorithm): number | undefined {
  if (algorithm.type === 'rsa') return algorithm.modulusBits
  return algorithm.type === 'ec' ? curveOf(algorithm.curve)?.bits : undefined
}

/**
 * Returns the attributes for the type, size and value of a key, or undefined if its algorithm is not supported. Throws
 * MalformedError if the key does not match the algorithm attributes of the card.
 */
export function publicKeyAttributes(
  algorithm: OpenPgpAlgorithm,
  key: OpenPgpPublicKey,
): Attributes | undefined {
  if (keyBitsOf(algorithm) === undefined) return undefined
  if (algorithm.type !== key.type)
    throw malformed(`its type is ${key.type}, but the algorithm attributes state ${algorithm.type}`)
  return algorithm.type === 'ec' && key.type === 'ec'
    ? ecAttributes(algorithm.curve, key.point)
    : key.type === 'rsa'
      ? rsaAttributes(key.modulus, key.exponent)
      : undefined
}

function ecAttributes(oid: string, point: Uint8Array): Attributes | undefined {
  const curve = curveOf(oid)
  if (curve === undefined) return undefined
  if (point[0] !== 0x04 || point.length !== 1 + 2 * curve.fieldBytes)
    throw malformed(`not an uncompressed point of ${curve.name}: ${point.length} bytes`)
  return {
    [CKA.KEY_TYPE]: CKK.EC,
    [CKA.EC_PARAMS]: encodeOid(curve.oid),
    // CKA_EC_POINT is the DER OCTET STRING of the point.
    [CKA.EC_POINT]: encodeTlv(0x04, point),
    [CKA.PUBLIC_KEY_INFO]: encodePointInfo(curve, point),
  }
}

function rsaAttributes(modulus: Uint8Array, exponent: Uint8Array): Attributes {
  if (!areRsaNumbers(modulus, exponent)) throw malformed('the modulus or exponent is not that of an RSA key')
  return {
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.MODULUS]: modulus,
    [CKA.PUBLIC_EXPONENT]: exponent,
    [CKA.MODULUS_BITS]: bitsOf(modulus),
    [CKA.PUBLIC_KEY_INFO]: encodeRsaKeyInfo({ modulus, exponent }),
  }
}

function malformed(what: string): MalformedError {
  return new MalformedError('public key of the card', what)
}
