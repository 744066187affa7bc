/**
 * Decoding and checking of public keys: RFC 3279, 2.3.1; RFC 4055, 1.2; RFC 5480, 2; RFC 8410, 4; FIPS 186-5, 5.1 and
 * appendix A.1.1.
 */
import { viewOf } from '@webtoki/apdu/bytes'
import { type Curve, curveOfOid } from './curves.ts'
import { type DerElement, objectIdentifier, positiveInteger, sequenceOf, Tag, wholeBytes } from './der.ts'

/** Object identifiers of key types. id-RSASSA-PSS also identifies signatures. */
export const KeyOid = {
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaPss: '1.2.840.113549.1.1.10',
  ecPublicKey: '1.2.840.10045.2.1',
} as const

/** An RSA key. Both numbers are big-endian without leading zeros. */
export interface RsaPublicKey {
  readonly kind: 'rsa'
  readonly modulus: Uint8Array
  readonly exponent: Uint8Array
  /** Length of the modulus in bits. */
  readonly bits: number
  /** Parameters of id-RSASSA-PSS; undefined for rsaEncryption, which leaves the padding to the signature. */
  readonly pss: { readonly parameters: DerElement | undefined } | undefined
}

/** A key on one of the curves in `curves`. */
export interface CurvePublicKey {
  readonly kind: 'ec' | 'edwards'
  readonly curve: Curve
  /** 'ec': 04, x, y. 'edwards': the encoding of RFC 8032. Not checked to be on the curve; see `isPoint`. */
  readonly point: Uint8Array
}

/** A key of another algorithm or on another curve. */
export interface OtherPublicKey {
  readonly kind: 'other'
  /** Object identifier of the algorithm. */
  readonly algorithm: string
  /** Object identifier of the curve; undefined if the key has none or contains explicit curve parameters. */
  readonly curve: string | undefined
}

/** A decoded public key. */
export type PublicKey = RsaPublicKey | CurvePublicKey | OtherPublicKey

/**
 * Decodes SubjectPublicKeyInfo in DER. Points of ECDSA keys must be uncompressed. Throws RangeError if the encoding violates
 * the standards. Does not check the strength of the key; see `isWeakKey`.
 */
export function readPublicKey(publicKeyInfo: Uint8Array): PublicKey {
  const [algorithm, bits, ...more] = sequenceOf(viewOf(publicKeyInfo))
  if (algorithm === undefined || bits === undefined || more.length > 0)
    throw new RangeError('not a SubjectPublicKeyInfo')
  const key = wholeBytes(bits)
  const [id, parameters, ...others] = sequenceOf(algorithm.der)
  if (id === undefined || others.length > 0) throw new RangeError('not an AlgorithmIdentifier')
  const oid = objectIdentifier(id)
  switch (oid) {
    case KeyOid.rsaEncryption:
      if (parameters?.tag !== Tag.null || parameters.value.length > 0)
        throw new RangeError('parameters other than NULL')
      return readRsa(key, undefined)
    case KeyOid.rsaPss:
      return readRsa(key, { parameters })
    case KeyOid.ecPublicKey:
      return readEc(key, parameters)
    default:
      return readEdwards(oid, key, parameters)
  }
}

function readRsa(der: Uint8Array, pss: RsaPublicKey['pss']): RsaPublicKey {
  const [modulus, exponent, ...more] = sequenceOf(der).map(positiveInteger)
  if (modulus === undefined || exponent === undefined || more.length > 0)
    throw new RangeError('not an RSAPublicKey')
  return { kind: 'rsa', modulus, exponent, bits: bitsOf(modulus), pss }
}

function readEc(point: Uint8Array, parameters: DerElement | undefined): PublicKey {
  const oid = parameters?.tag === Tag.oid ? objectIdentifier(parameters) : undefined
  const curve = oid === undefined ? undefined : curveOfOid(oid)
  if (curve === undefined || curve.isEdwards)
    return { kind: 'other', algorithm: KeyOid.ecPublicKey, curve: oid }
  // Compressed and hybrid points are other encodings of the same key, and platforms differ in whether they accept them.
  if (point[0] !== 0x04 || point.length !== 1 + 2 * curve.fieldBytes)
    throw new RangeError('not an uncompressed point')
  return { kind: 'ec', curve, point }
}

function readEdwards(oid: string, point: Uint8Array, parameters: DerElement | undefined): PublicKey {
  const curve = curveOfOid(oid)
  if (!curve?.isEdwards) return { kind: 'other', algorithm: oid, curve: undefined }
  if (parameters !== undefined || point.length !== curve.fieldBytes)
    throw new RangeError(`not a key of ${curve.name}`)
  return { kind: 'edwards', curve, point }
}

/** Returns the length in bits of a magnitude without leading zeros. */
export function bitsOf(magnitude: Uint8Array): number {
  const { length, 0: first = 0 } = viewOf(magnitude)
  return length === 0 ? 0 : 8 * length - Math.clz32(first) + 24
}

/** FIPS 186-5 allows exponents below 2^256. It forbids those below 2^16, but older keys have them; 3 is the smallest. */
const MAX_EXPONENT_BITS = 256

/**
 * Returns true if the numbers are plausible for an RSA key: modulus and exponent are odd, the exponent is greater than 1 and
 * has at most 256 bits. With exponent 1 every message is its own signature; a longer exponent only slows verifiers down.
 * Both numbers are big-endian without leading zeros.
 */
export function areRsaNumbers(modulus: Uint8Array, exponent: Uint8Array): boolean {
  const isOdd = (magnitude: Uint8Array): boolean => ((magnitude.at(-1) ?? 0) & 1) === 1
  return isOdd(modulus) && isOdd(exponent) && bitsOf(exponent) > 1 && bitsOf(exponent) <= MAX_EXPONENT_BITS
}

const MIN_RSA_BITS = 2048
/** The limit of OpenSSL. Longer keys only slow verifiers down. */
const MAX_RSA_BITS = 16_384

/**
 * Returns true if a signature by the key proves nothing: for an RSA key outside of 2048 to 16384 bits or with implausible
 * numbers, and for a key with explicit curve parameters, because an attacker can choose these to match a private key of
 * theirs (CVE-2020-0601).
 */
export function isWeakKey(key: PublicKey): boolean {
  switch (key.kind) {
    case 'rsa':
      return key.bits < MIN_RSA_BITS || key.bits > MAX_RSA_BITS || !areRsaNumbers(key.modulus, key.exponent)
    case 'other':
      return key.algorithm === KeyOid.ecPublicKey && key.curve === undefined
    default:
      return false
  }
}
