/** The public key of a certificate, as far as tokens use it: RFC 5280, 4.1.2.7; RFC 3279, 2.3; RFC 5480, 2. */
import { toHex } from '@webtoki/apdu'
import { positiveInteger, sequenceOf, Tag, wholeBytes } from '@webtoki/crypto'

/** An RSA key, RFC 8017 appendix A.1.1. */
export interface RsaCertificateKey {
  readonly type: 'rsa'
  /** Big-endian, without a leading zero byte. */
  readonly modulus: Uint8Array
  /** Big-endian, without a leading zero byte. */
  readonly exponent: Uint8Array
  /** Length of the modulus. */
  readonly bits: number
}

/** A key on one of the curves that cards have, RFC 5480 clause 2. */
export interface EcCertificateKey {
  readonly type: 'ec'
  readonly curve: 'P-256' | 'P-384' | 'P-521'
  /** The curve's object identifier in DER: CKA_EC_PARAMS. */
  readonly parameters: Uint8Array
  /** Uncompressed: 04, x, y. */
  readonly point: Uint8Array
}

/** A public key that this library can use. */
export type CertificateKey = RsaCertificateKey | EcCertificateKey

/** Object identifiers as the hex of their content bytes. */
const RSA_ENCRYPTION = '2a864886f70d010101'
const EC_PUBLIC_KEY = '2a8648ce3d0201'

const curves: ReadonlyMap<
  string,
  { readonly curve: EcCertificateKey['curve']; readonly fieldBytes: number }
> = /* @__PURE__ */ new Map([
  ['2a8648ce3d030107', { curve: 'P-256', fieldBytes: 32 }],
  ['2b81040022', { curve: 'P-384', fieldBytes: 48 }],
  ['2b81040023', { curve: 'P-521', fieldBytes: 66 }],
] as const)

/**
 * The key of a SubjectPublicKeyInfo in DER; undefined if it is of another kind, on another curve, compressed or malformed,
 * or anybody could sign under it.
 */
export function certificateKey(publicKeyInfo: Uint8Array): CertificateKey | undefined {
  try {
    return readKey(publicKeyInfo)
  } catch {
    return undefined
  }
}

/** Throws RangeError. */
function readKey(publicKeyInfo: Uint8Array): CertificateKey | undefined {
  const [algorithm, key, ...more] = sequenceOf(publicKeyInfo)
  if (algorithm === undefined || key === undefined || more.length > 0)
    throw new RangeError('not a SubjectPublicKeyInfo')
  const bits = wholeBytes(key)
  const [type, parameters] = sequenceOf(algorithm.der)
  const id = type?.tag === Tag.oid ? toHex(type.value) : undefined
  if (id === RSA_ENCRYPTION) return readRsaKey(bits)
  if (id !== EC_PUBLIC_KEY || parameters?.tag !== Tag.oid) return undefined
  const curve = curves.get(toHex(parameters.value))
  if (curve === undefined || bits[0] !== 0x04 || bits.length !== 1 + 2 * curve.fieldBytes) return undefined
  return { type: 'ec', curve: curve.curve, parameters: parameters.der, point: bits }
}

function readRsaKey(der: Uint8Array): RsaCertificateKey | undefined {
  const [modulus, exponent, ...more] = sequenceOf(der).map(positiveInteger)
  if (modulus === undefined || exponent === undefined || more.length > 0) return undefined
  if (!areRsaNumbers(modulus, exponent)) return undefined
  return { type: 'rsa', modulus, exponent, bits: 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24 }
}

/** FIPS 186-5 allows public exponents below 2^256. */
const MAX_EXPONENT_BYTES = 32

/**
 * Whether these can be an RSA key's, both big-endian without zeros before them: under an exponent of 1 every message is
 * its own signature, and an even exponent or modulus is not RSA. A longer exponent only makes verifiers slow.
 */
export function areRsaNumbers(modulus: Uint8Array, exponent: Uint8Array): boolean {
  const isOdd = (magnitude: Uint8Array): boolean => ((magnitude.at(-1) ?? 0) & 1) === 1
  const isOne = exponent.length === 1 && exponent[0] === 1
  return isOdd(modulus) && isOdd(exponent) && !isOne && exponent.length <= MAX_EXPONENT_BYTES
}
