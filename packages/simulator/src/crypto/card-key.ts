/** Asymmetric keys of virtual cards, for all applets: RSA (RFC 8017) and ECDSA and ECDH on NIST curves (FIPS 186-5). */
import { p256, p384 } from '@noble/curves/nist.js'
import { copyOf, fromBase64, fromHex, fromInteger, join, type RandomSource, toInteger } from '../bytes.ts'
import { tlv } from '../iso7816/tlv.ts'
import { type RsaPrivateKey, rsaKeyFromPrimes } from './raw-rsa.ts'

/** An RSA private key in a card. */
export interface CardRsaKey {
  readonly kind: 'rsa'
  readonly rsa: RsaPrivateKey
}

/** A P-256 or P-384 private key in a card. */
export interface CardEcKey {
  readonly kind: 'ec'
  readonly curve: NistCurve
  readonly scalar: Uint8Array
}

/** A private key in a card. */
export type CardKey = CardRsaKey | CardEcKey

/** The NIST curves that virtual cards support. */
export type NistCurve = 'p256' | 'p384'

const curves = {
  p256: { bytes: 32, ecdsa: p256, identifier: fromHex('06082a8648ce3d030107') },
  p384: { bytes: 48, ecdsa: p384, identifier: fromHex('06052b81040022') },
} as const

/** Makes an RSA key from two primes. Returns undefined if they do not form a key with a modulus of `bits` bits. */
export function rsaKey(bits: number, p: Uint8Array, q: Uint8Array, e = 65537n): CardRsaKey | undefined {
  try {
    const rsa = rsaKeyFromPrimes(toInteger(p), toInteger(q), e)
    return rsa.n.toString(2).length === bits ? { kind: 'rsa', rsa } : undefined
  } catch {
    return undefined
  }
}

/** Makes an EC key from a scalar. Returns undefined if the scalar has another length or is not in 1 … n-1. */
export function ecKey(curve: NistCurve, scalar: Uint8Array): CardEcKey | undefined {
  const { bytes, ecdsa } = curves[curve]
  const isKey = scalar.length === bytes && ecdsa.utils.isValidSecretKey(scalar)
  return isKey ? { kind: 'ec', curve, scalar: copyOf(scalar) } : undefined
}

/** Generates an RSA key with the platform's WebCrypto. */
export async function generateRsaKey(bits: number): Promise<CardRsaKey | undefined> {
  const parameters = { modulusLength: bits, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' }
  const pair = await globalThis.crypto.subtle.generateKey({ name: 'RSA-PSS', ...parameters }, true, [
    'sign',
    'verify',
  ])
  const jwk = await globalThis.crypto.subtle.exportKey('jwk', pair.privateKey)
  const plain = (text = ''): Uint8Array => fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'))
  return rsaKey(bits, plain(jwk.p), plain(jwk.q))
}

/** Generates an EC key with the card's own random source. */
export function generateEcKey(curve: NistCurve, random: RandomSource): CardEcKey | undefined {
  const { ecdsa } = curves[curve]
  return ecKey(curve, ecdsa.utils.randomSecretKey(random(ecdsa.lengths.seed ?? 72)))
}

/**
 * Signs a digest with ECDSA. Returns the signature as DER or as r‖s, or undefined if the digest is empty or longer than
 * the curve's field.
 */
export function ecdsaSignature(
  key: CardEcKey,
  input: Uint8Array,
  format: 'der' | 'compact',
): Uint8Array | undefined {
  const { bytes, ecdsa } = curves[key.curve]
  if (input.length === 0 || input.length > bytes) return undefined
  // A shorter digest is padded with leading zeros, which does not change its integer value (FIPS 186-5, 6.4.1). Cards
  // do not normalise s.
  const digest = join(new Uint8Array(bytes - input.length), input)
  return ecdsa.sign(digest, key.scalar, { prehash: false, lowS: false, format })
}

/**
 * Computes the x coordinate of the ECDH shared point. Returns undefined if `point` is not an uncompressed point of the
 * curve.
 */
export function sharedSecret(key: CardEcKey, point: Uint8Array): Uint8Array | undefined {
  const { bytes, ecdsa } = curves[key.curve]
  if (point.length !== 2 * bytes + 1 || point[0] !== 4) return undefined
  try {
    return ecdsa.getSharedSecret(key.scalar, point, false).slice(1, 1 + bytes)
  } catch {
    return undefined
  }
}

/**
 * Encodes the public key as GENERATE ASYMMETRIC KEY PAIR returns it: 7F49 with modulus (81) and exponent (82), or with
 * a point (86).
 */
export function publicKeyTemplate(key: CardKey): Uint8Array {
  if (key.kind === 'ec') return tlv(0x7f49, tlv(0x86, publicPoint(key)))
  const { n, e, modulusBytes } = key.rsa
  return tlv(0x7f49, tlv(0x81, fromInteger(n, modulusBytes)), tlv(0x82, minimal(e)))
}

/** Encodes the public key as SubjectPublicKeyInfo in DER (RFC 3279, 2.3; RFC 5480). */
export function subjectPublicKeyInfo(key: CardKey): Uint8Array {
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

/** Returns the uncompressed public point: 04, x, y. */
export function publicPoint(key: CardEcKey): Uint8Array {
  return curves[key.curve].ecdsa.getPublicKey(key.scalar, false)
}

/** Encodes an unsigned big-endian integer without leading zeros. */
export function minimal(value: bigint): Uint8Array {
  return fromInteger(value, Math.ceil(value.toString(16).length / 2))
}
