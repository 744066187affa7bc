/** The asymmetric keys of a virtual PIV card: algorithms of SP 800-78-4 table 6-2 and what a card computes with them. */
import { p256, p384 } from '@noble/curves/nist.js'
import { copyOf, fromBase64, fromHex, fromInteger, join, type RandomSource, toInteger } from '../bytes.ts'
import { type RsaPrivateKey, rsaKeyFromPrimes, rsaPrivateOperation } from '../crypto/raw-rsa.ts'
import { tlv } from '../iso7816/tlv.ts'

/** An RSA key as a card keeps it. */
export interface PivRsaKey {
  readonly kind: 'rsa'
  readonly algorithm: number
  readonly rsa: RsaPrivateKey
}

/** A P-256 or P-384 key as a card keeps it. */
export interface PivEcKey {
  readonly kind: 'ec'
  readonly algorithm: number
  readonly curve: 'p256' | 'p384'
  readonly scalar: Uint8Array
}

/** A private key in a slot. */
export type PivKey = PivRsaKey | PivEcKey

const rsaAlgorithms: Readonly<Record<number, number>> = { 0x06: 1024, 0x07: 2048, 0x05: 3072, 0x16: 4096 }
const curves = {
  p256: { algorithm: 0x11, bytes: 32, ecdsa: p256, identifier: fromHex('06082a8648ce3d030107') },
  p384: { algorithm: 0x14, bytes: 48, ecdsa: p384, identifier: fromHex('06052b81040022') },
} as const

/** The modulus length an RSA algorithm reference stands for, in bits; undefined for any other reference. */
export function rsaModulusBits(algorithm: number): number | undefined {
  return rsaAlgorithms[algorithm]
}

/** An RSA key of two primes; undefined where they do not make one of the length that `algorithm` names. */
export function pivRsaKey(
  algorithm: number,
  p: Uint8Array,
  q: Uint8Array,
  e = 65537n,
): PivRsaKey | undefined {
  const bits = rsaModulusBits(algorithm)
  try {
    const rsa = rsaKeyFromPrimes(toInteger(p), toInteger(q), e)
    return bits !== undefined && rsa.n.toString(2).length === bits
      ? { kind: 'rsa', algorithm, rsa }
      : undefined
  } catch {
    return undefined
  }
}

/** An EC key of a scalar; undefined for an unknown algorithm or a scalar outside 1 … n-1. */
export function pivEcKey(algorithm: number, scalar: Uint8Array): PivEcKey | undefined {
  for (const curve of ['p256', 'p384'] as const) {
    const { algorithm: own, ecdsa, bytes } = curves[curve]
    if (own === algorithm && scalar.length === bytes && ecdsa.utils.isValidSecretKey(scalar)) {
      return { kind: 'ec', algorithm, curve, scalar: copyOf(scalar) }
    }
  }
  return undefined
}

/** Makes a key in the card. RSA takes the platform's WebCrypto, curves the card's own randomness. */
export async function generatePivKey(algorithm: number, random: RandomSource): Promise<PivKey | undefined> {
  const bits = rsaModulusBits(algorithm)
  if (bits === undefined) {
    const curve = algorithm === 0x11 ? p256 : algorithm === 0x14 ? p384 : undefined
    return curve && pivEcKey(algorithm, curve.utils.randomSecretKey(random(curve.lengths.seed ?? 72)))
  }
  const parameters = { modulusLength: bits, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' }
  const pair = await globalThis.crypto.subtle.generateKey({ name: 'RSA-PSS', ...parameters }, true, [
    'sign',
    'verify',
  ])
  const jwk = await globalThis.crypto.subtle.exportKey('jwk', pair.privateKey)
  const plain = (text = ''): Uint8Array => fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'))
  return pivRsaKey(algorithm, plain(jwk.p), plain(jwk.q))
}

/** The private operation on tag 81: raw RSA, or ECDSA over a digest answered as DER. Undefined: the input does not fit. */
export function signWith(key: PivKey, input: Uint8Array): Uint8Array | undefined {
  if (key.kind === 'rsa') {
    const fits = input.length === key.rsa.modulusBytes && toInteger(input) < key.rsa.n
    return fits ? rsaPrivateOperation(key.rsa, input) : undefined
  }
  const { bytes, ecdsa } = curves[key.curve]
  if (input.length === 0 || input.length > bytes) return undefined
  // A shorter digest is the same integer with zeros before it (FIPS 186-5 §6.4.1). Cards do not normalise s.
  const digest = join(new Uint8Array(bytes - input.length), input)
  return ecdsa.sign(digest, key.scalar, { prehash: false, lowS: false, format: 'der' })
}

/** ECDH on tag 85: the x coordinate of the shared point. Undefined: no uncompressed point of this curve. */
export function agreeWith(key: PivKey, point: Uint8Array): Uint8Array | undefined {
  if (key.kind !== 'ec') return undefined
  const { bytes, ecdsa } = curves[key.curve]
  if (point.length !== 2 * bytes + 1 || point[0] !== 4) return undefined
  try {
    return ecdsa.getSharedSecret(key.scalar, point, false).slice(1, 1 + bytes)
  } catch {
    return undefined
  }
}

/** The public key as GENERATE ASYMMETRIC KEY PAIR answers it: 7F49 with 81 modulus and 82 exponent, or 86 point. */
export function publicKeyTemplate(key: PivKey): Uint8Array {
  if (key.kind === 'ec') return tlv(0x7f49, tlv(0x86, publicPoint(key)))
  const { n, e, modulusBytes } = key.rsa
  return tlv(0x7f49, tlv(0x81, fromInteger(n, modulusBytes)), tlv(0x82, minimal(e)))
}

/** The public key as SubjectPublicKeyInfo, DER (RFC 3279 §2.3, RFC 5480). */
export function subjectPublicKeyInfo(key: PivKey): Uint8Array {
  if (key.kind === 'ec') {
    const { identifier } = curves[key.curve]
    const algorithm = tlv(0x30, fromHex('06072a8648ce3d0201'), identifier)
    return tlv(0x30, algorithm, tlv(0x03, 0, publicPoint(key)))
  }
  const integer = (value: bigint): Uint8Array => {
    const bytes = minimal(value)
    return (bytes[0] ?? 0) > 0x7f ? tlv(0x02, 0, bytes) : tlv(0x02, bytes)
  }
  const numbers = tlv(0x30, integer(key.rsa.n), integer(key.rsa.e))
  return tlv(0x30, fromHex('300d06092a864886f70d0101010500'), tlv(0x03, 0, numbers))
}

function publicPoint(key: PivEcKey): Uint8Array {
  return curves[key.curve].ecdsa.getPublicKey(key.scalar, false)
}

function minimal(value: bigint): Uint8Array {
  return fromInteger(value, Math.ceil(value.toString(16).length / 2))
}
