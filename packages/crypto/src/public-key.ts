/** Public keys: RFC 3279, 2.3.1; RFC 4055, 1.2; RFC 5480, 2; RFC 8410, 4; FIPS 186-5, 5.1 and appendix A.1.1. */
import { viewOf } from '@webtoki/apdu/bytes'
import { type Curve, curveOfOid } from './curves.ts'
import { type DerElement, objectIdentifier, positiveInteger, sequenceOf, Tag, wholeBytes } from './der.ts'

/** Identifiers of keys and, of id-RSASSA-PSS, of signatures too. */
export const KeyOid = {
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaPss: '1.2.840.113549.1.1.10',
  ecPublicKey: '1.2.840.10045.2.1',
} as const

/** An RSA key. Both numbers are big-endian, without zeros before them. */
export interface RsaPublicKey {
  readonly kind: 'rsa'
  readonly modulus: Uint8Array
  readonly exponent: Uint8Array
  /** Length of the modulus. */
  readonly bits: number
  /** Parameters of id-RSASSA-PSS; undefined for rsaEncryption, which leaves the padding to the signature. */
  readonly pss: { readonly parameters: DerElement | undefined } | undefined
}

/** A key on a curve that is known by name. */
export interface CurvePublicKey {
  readonly kind: 'ec' | 'edwards'
  readonly curve: Curve
  /** Of `ec`: 04, x, y. Of `edwards`: as RFC 8032 encodes it. It may lie off its curve. */
  readonly point: Uint8Array
}

/** A key of another algorithm or on another curve. */
export interface OtherPublicKey {
  readonly kind: 'other'
  /** Object identifier of the algorithm. */
  readonly algorithm: string
  /** Object identifier of the curve; undefined if the key has none, or brings the parameters of one. */
  readonly curve: string | undefined
}

/** A public key. */
export type PublicKey = RsaPublicKey | CurvePublicKey | OtherPublicKey

/**
 * Reads SubjectPublicKeyInfo in DER. Throws RangeError if it is not written as the standards say; points of ECDSA have to be
 * uncompressed. Whether the key is good for anything is not judged here: see `isWeakKey`.
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
  // Compressed and hybrid points are other texts for one key, and platforms differ on whether they take them.
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

/** Of a magnitude without zeros before it. */
export function bitsOf(magnitude: Uint8Array): number {
  const { length, 0: first = 0 } = viewOf(magnitude)
  return length === 0 ? 0 : 8 * length - Math.clz32(first) + 24
}

/** FIPS 186-5 allows exponents below 2^256. Those below 2^16 are older than it, and common: 3 is the smallest. */
const MAX_EXPONENT_BITS = 256

/**
 * Whether these can be an RSA key's, both big-endian without zeros before them: under an exponent of 1 every message is
 * its own signature, and an even exponent or modulus is not RSA. A longer exponent only makes verifiers slow.
 */
export function areRsaNumbers(modulus: Uint8Array, exponent: Uint8Array): boolean {
  const isOdd = (magnitude: Uint8Array): boolean => ((magnitude.at(-1) ?? 0) & 1) === 1
  return isOdd(modulus) && isOdd(exponent) && bitsOf(exponent) > 1 && bitsOf(exponent) <= MAX_EXPONENT_BITS
}

const MIN_RSA_BITS = 2048
/** As OpenSSL has it: longer keys only serve to make verifiers slow. */
const MAX_RSA_BITS = 16_384

/**
 * Whether a signature under the key proves nothing: an RSA key of other than 2048 to 16384 bits or of numbers that are not
 * RSA's, and a curve whose parameters come with the key, because whoever chooses these can know a private key that fits
 * (CVE-2020-0601).
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
