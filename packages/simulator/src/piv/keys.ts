/** The asymmetric keys of a virtual PIV card: algorithms of SP 800-78-4 table 6-2 and what a card computes with them. */
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

/** A private key in a slot, with its algorithm reference. */
export type PivKey = (CardRsaKey | CardEcKey) & { readonly algorithm: number }

const rsaAlgorithms: Readonly<Record<number, number>> = { 0x06: 1024, 0x07: 2048, 0x05: 3072, 0x16: 4096 }
const curveAlgorithms: Readonly<Record<number, NistCurve>> = { 0x11: 'p256', 0x14: 'p384' }

/** The modulus length an RSA algorithm reference stands for, in bits; undefined for any other reference. */
export function rsaModulusBits(algorithm: number): number | undefined {
  return rsaAlgorithms[algorithm]
}

/** An RSA key of two primes; undefined where they do not make one of the length that `algorithm` names. */
export function pivRsaKey(algorithm: number, p: Uint8Array, q: Uint8Array, e = 65537n): PivKey | undefined {
  const bits = rsaModulusBits(algorithm)
  return withAlgorithm(algorithm, bits === undefined ? undefined : rsaKey(bits, p, q, e))
}

/** An EC key of a scalar; undefined for an unknown algorithm or a scalar outside 1 … n-1. */
export function pivEcKey(algorithm: number, scalar: Uint8Array): PivKey | undefined {
  const curve = curveAlgorithms[algorithm]
  return withAlgorithm(algorithm, curve && ecKey(curve, scalar))
}

/**
 * A private key in PKCS#8 (RFC 5208): RSA with its primes (RFC 8017, A.1.2), a curve with its scalar (RFC 5915). Undefined:
 * it is malformed, or PIV has no algorithm for it.
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

/** By the content bytes of the curve's object identifier. */
const curveIdentifiers: Readonly<Record<string, number>> = { '2a8648ce3d030107': 0x11, '2b81040022': 0x14 }

/** The elements of a SEQUENCE. */
function elementsOf(der: Uint8Array): readonly DataObject[] {
  const [sequence] = readObjects(der) ?? []
  return (sequence && readObjects(sequence.value)) ?? []
}

/** Makes a key in the card. RSA takes the platform's WebCrypto, curves the card's own randomness. */
export async function generatePivKey(algorithm: number, random: RandomSource): Promise<PivKey | undefined> {
  const bits = rsaModulusBits(algorithm)
  const curve = curveAlgorithms[algorithm]
  const key = bits === undefined ? curve && generateEcKey(curve, random) : await generateRsaKey(bits)
  return withAlgorithm(algorithm, key)
}

function withAlgorithm(algorithm: number, key: CardRsaKey | CardEcKey | undefined): PivKey | undefined {
  return key && { ...key, algorithm }
}

/** The private operation on tag 81: raw RSA, or ECDSA over a digest answered as DER. Undefined: the input does not fit. */
export function signWith(key: PivKey, input: Uint8Array): Uint8Array | undefined {
  if (key.kind === 'ec') return ecdsaSignature(key, input, 'der')
  const fits = input.length === key.rsa.modulusBytes && toInteger(input) < key.rsa.n
  return fits ? rsaPrivateOperation(key.rsa, input) : undefined
}

/** ECDH on tag 85: the x coordinate of the shared point. Undefined: no uncompressed point of this curve. */
export function agreeWith(key: PivKey, point: Uint8Array): Uint8Array | undefined {
  return key.kind === 'ec' ? sharedSecret(key, point) : undefined
}
