/** A public key of an OpenPGP card as PKCS#11 attributes: PKCS#11 v2.40 mechanisms, 2.1.2 and 2.3.3; RFC 3279, 2.3.1; RFC 5480, 2. */
import { encodeTlv, fromHex, MalformedError } from '@webtoki/apdu'
import type { OpenPgpAlgorithm, OpenPgpPublicKey } from '@webtoki/apdu/openpgp'
import type { Attributes } from '../attributes.ts'
import { areRsaNumbers } from '../certificate.ts'
import { CKA, CKK } from '../constants.ts'

/** Field sizes of the curves, in bytes, by the content bytes of their object identifier. */
const fieldBytes: ReadonlyMap<string, number> = new Map([
  ['2a8648ce3d030107', 32],
  ['2b81040022', 48],
  ['2b81040023', 66],
])

const ecPublicKey = fromHex('06072a8648ce3d0201')
const rsaEncryption = fromHex('06092a864886f70d0101010500')

/** Bits of the keys that an algorithm has; undefined: nothing here signs or verifies with it. */
export function keyBitsOf(algorithm: OpenPgpAlgorithm): number | undefined {
  if (algorithm.type === 'rsa') return algorithm.modulusBits
  const bytes = algorithm.type === 'ec' ? fieldBytes.get(algorithm.curve) : undefined
  // P-521 is the one curve that does not fill its bytes.
  return bytes && Math.min(bytes * 8, 521)
}

/** Type, size and value; undefined for an algorithm that nothing here uses. Throws MalformedError if the card contradicts itself. */
export function publicKeyAttributes(
  algorithm: OpenPgpAlgorithm,
  key: OpenPgpPublicKey,
): Attributes | undefined {
  if (keyBitsOf(algorithm) === undefined) return undefined
  if (algorithm.type !== key.type) throw malformed('it is not of the type that the card tells')
  return algorithm.type === 'ec' && key.type === 'ec'
    ? ecAttributes(algorithm.curve, key.point)
    : key.type === 'rsa'
      ? rsaAttributes(key.modulus, key.exponent)
      : undefined
}

function ecAttributes(curve: string, point: Uint8Array): Attributes {
  if (point[0] !== 0x04 || point.length !== 1 + 2 * (fieldBytes.get(curve) ?? 0))
    throw malformed(`a point of ${point.length} bytes`)
  const parameters = encodeTlv(0x06, fromHex(curve))
  return {
    [CKA.KEY_TYPE]: CKK.EC,
    [CKA.EC_PARAMS]: parameters,
    // CKA_EC_POINT is the point within an OCTET STRING.
    [CKA.EC_POINT]: encodeTlv(0x04, point),
    [CKA.PUBLIC_KEY_INFO]: publicKeyInfo(encodeTlv(0x30, ecPublicKey, parameters), point),
  }
}

function rsaAttributes(modulus: Uint8Array, exponent: Uint8Array): Attributes {
  if (!areRsaNumbers(modulus, exponent)) throw malformed('its numbers are not those of an RSA key')
  const key = encodeTlv(0x30, integer(modulus), integer(exponent))
  return {
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.MODULUS]: modulus,
    [CKA.PUBLIC_EXPONENT]: exponent,
    [CKA.MODULUS_BITS]: 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24,
    [CKA.PUBLIC_KEY_INFO]: publicKeyInfo(encodeTlv(0x30, rsaEncryption), key),
  }
}

function publicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeTlv(0x30, algorithm, encodeTlv(0x03, [0], key))
}

function integer(magnitude: Uint8Array): Uint8Array {
  return encodeTlv(0x02, (magnitude[0] ?? 0) >= 0x80 ? [0] : [], magnitude)
}

function malformed(what: string): MalformedError {
  return new MalformedError('public key of the card', what)
}
