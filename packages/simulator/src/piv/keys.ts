/** The asymmetric keys of a virtual PIV card and their operations (SP 800-78-4, table 6-2). */
import { type RandomSource, toHex, toInteger } from '../bytes.ts'
import {
  type CardEcKey,
  type CardRsaKey,
  ecdsaSignature,
  ecKey,
  generateEcKey,
  generateRsaKey,
  type NistCurve,
  rsaKey,
  sharedSecret,
} from '../crypto/card-key.ts'
import { rsaPrivateOperation } from '../crypto/raw-rsa.ts'
import { type DataObject, readObjects } from '../iso7816/tlv.ts'

export { publicKeyTemplate, subjectPublicKeyInfo } from '../crypto/card-key.ts'

/** A private key with its algorithm reference. */
export type PivKey = (CardRsaKey | CardEcKey) & { readonly algorithm: number }

const rsaAlgorithms: Readonly<Record<number, number>> = { 0x06: 1024, 0x07: 2048, 0x05: 3072, 0x16: 4096 }
const curveAlgorithms: Readonly<Record<number, NistCurve>> = { 0x11: 'p256', 0x14: 'p384' }

/** Returns the modulus length, in bits, of an RSA algorithm reference, or undefined for any other reference. */
export function rsaModulusBits(algorithm: number): number | undefined {
  return rsaAlgorithms[algorithm]
}

/** Makes an RSA key from two primes. Returns undefined if they do not form a key with the length of `algorithm`. */
export function pivRsaKey(algorithm: number, p: Uint8Array, q: Uint8Array, e = 65537n): PivKey | undefined {
  const bits = rsaModulusBits(algorithm)
  return withAlgorithm(algorithm, bits === undefined ? undefined : rsaKey(bits, p, q, e))
}

/** Makes an EC key from a scalar. Returns undefined if the algorithm is unknown or the scalar is not in 1 … n-1. */
export function pivEcKey(algorithm: number, scalar: Uint8Array): PivKey | undefined {
  const curve = curveAlgorithms[algorithm]
  return withAlgorithm(algorithm, curve && ecKey(curve, scalar))
}

/**
 * Reads a private key in PKCS#8 (RFC 5208): RSA with its primes (RFC 8017, A.1.2) or EC with its scalar (RFC 5915).
 * Returns undefined if it is malformed or PIV has no algorithm for it.
 */
export function pivKeyOf(pkcs8: Uint8Array): PivKey | undefined {
  const [, algorithm, content] = elementsOf(pkcs8)
  const [, parameters] = (algorithm && readObjects(algorithm.value)) ?? []
  const [, first, e, , p, q] = content === undefined ? [] : elementsOf(content.value)
  if (first === undefined) return undefined
  if (e !== undefined && p !== undefined && q !== undefined) {
    const bits = toInteger(first.value).toString(2).length
    const own = Object.keys(rsaAlgorithms).map(Number)
    const reference = own.find((each) => rsaAlgorithms[each] === bits)
    return reference === undefined ? undefined : pivRsaKey(reference, p.value, q.value, toInteger(e.value))
  }
  const curve = curveIdentifiers[toHex(parameters?.value ?? new Uint8Array(0))]
  return curve === undefined ? undefined : pivEcKey(curve, first.value)
}

/** The algorithm reference for the content bytes of a curve's object identifier. */
const curveIdentifiers: Readonly<Record<string, number>> = { '2a8648ce3d030107': 0x11, '2b81040022': 0x14 }

/** Returns the elements of a SEQUENCE. */
function elementsOf(der: Uint8Array): readonly DataObject[] {
  const [sequence] = readObjects(der) ?? []
  return (sequence && readObjects(sequence.value)) ?? []
}

/** Generates a key. RSA keys come from the platform's WebCrypto, EC keys from the card's own random source. */
export async function generatePivKey(algorithm: number, random: RandomSource): Promise<PivKey | undefined> {
  const bits = rsaModulusBits(algorithm)
  const curve = curveAlgorithms[algorithm]
  const key = bits === undefined ? curve && generateEcKey(curve, random) : await generateRsaKey(bits)
  return withAlgorithm(algorithm, key)
}

function withAlgorithm(algorithm: number, key: CardRsaKey | CardEcKey | undefined): PivKey | undefined {
  return key && { ...key, algorithm }
}

/**
 * Performs the private operation on the challenge (81): raw RSA, or ECDSA over a digest with a DER signature. Returns
 * undefined if the input does not fit the key.
 */
export function signWith(key: PivKey, input: Uint8Array): Uint8Array | undefined {
  if (key.kind === 'ec') return ecdsaSignature(key, input, 'der')
  const fits = input.length === key.rsa.modulusBytes && toInteger(input) < key.rsa.n
  return fits ? rsaPrivateOperation(key.rsa, input) : undefined
}

/**
 * Performs ECDH with the exponentiation value (85) and returns the x coordinate of the shared point. Returns undefined
 * if it is not an uncompressed point of the key's curve.
 */
export function agreeWith(key: PivKey, point: Uint8Array): Uint8Array | undefined {
  return key.kind === 'ec' ? sharedSecret(key, point) : undefined
}
