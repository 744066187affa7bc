/** Which public keys count: RFC 3279, 2.3.1; RFC 4055, 1.2; RFC 5480, 2; FIPS 186-5, 5.1 and appendix A.1.1. */
import {
  type DerElement,
  objectIdentifier,
  positiveInteger,
  sequenceOf,
  Tag,
  wholeBytes,
} from '@webtoki/crypto'
import { PathError } from './errors.ts'

/** A curve of NIST, as WebCrypto names it. */
export type CurveName = 'P-256' | 'P-384' | 'P-521'

/** A key that counts. */
export type PublicKey =
  | {
      readonly kind: 'rsa'
      /** RSAPublicKey in DER. */
      readonly key: Uint8Array
      /** Parameters of id-RSASSA-PSS; undefined for rsaEncryption, which leaves the padding to the signature. */
      readonly pss: { readonly parameters: DerElement | undefined } | undefined
    }
  | { readonly kind: 'ec'; readonly curve: CurveName }
  /** Another algorithm or another curve: no signature under it is verified here. */
  | { readonly kind: 'other' }

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1'
const RSA_PSS = '1.2.840.113549.1.1.10'
const EC_PUBLIC_KEY = '1.2.840.10045.2.1'

const curves: ReadonlyMap<string, { readonly curve: CurveName; readonly fieldBytes: number }> =
  /* @__PURE__ */ new Map([
    ['1.2.840.10045.3.1.7', { curve: 'P-256', fieldBytes: 32 }],
    ['1.3.132.0.34', { curve: 'P-384', fieldBytes: 48 }],
    ['1.3.132.0.35', { curve: 'P-521', fieldBytes: 66 }],
  ] as const)

const MIN_RSA_BITS = 2048
/** Beyond it, as OpenSSL does too: longer ones only serve to make verifiers slow. */
const MAX_RSA_BITS = 16_384
/** FIPS 186-5 allows exponents below 2^256. Those below 2^16 are older than it, and common: 3 is the smallest. */
const MAX_EXPONENT_BITS = 256

/**
 * Reads SubjectPublicKeyInfo in DER. Throws PathError 'weak-key' if anybody could sign under the key, or it is too short
 * or too long: an RSA exponent of 1 or an even one, an even modulus, an elliptic curve that the certificate brings itself.
 * Throws PathError 'malformed' if it is not written as the standards say; points have to be uncompressed.
 */
export function readPublicKey(publicKeyInfo: Uint8Array): PublicKey {
  try {
    const [algorithm, bits, ...more] = sequenceOf(publicKeyInfo)
    if (algorithm === undefined || bits === undefined || more.length > 0)
      throw new RangeError('not a SubjectPublicKeyInfo')
    const key = wholeBytes(bits)
    const [oid, parameters, ...others] = sequenceOf(algorithm.der)
    if (oid === undefined || others.length > 0) throw new RangeError('not an AlgorithmIdentifier')
    switch (objectIdentifier(oid)) {
      case RSA_ENCRYPTION:
        if (parameters?.tag !== Tag.null || parameters.value.length > 0)
          throw new RangeError('parameters other than NULL')
        checkRsa(key)
        return { kind: 'rsa', key, pss: undefined }
      case RSA_PSS:
        checkRsa(key)
        return { kind: 'rsa', key, pss: { parameters } }
      case EC_PUBLIC_KEY:
        return readEc(key, parameters)
      default:
        return { kind: 'other' }
    }
  } catch (cause) {
    throw cause instanceof PathError ? cause : new PathError('malformed', { cause })
  }
}

function checkRsa(der: Uint8Array): void {
  const [modulus, exponent, ...more] = sequenceOf(der).map(positiveInteger)
  if (modulus === undefined || exponent === undefined || more.length > 0)
    throw new RangeError('not an RSAPublicKey')
  const bits = bitsOf(modulus)
  const counts =
    bits >= MIN_RSA_BITS &&
    bits <= MAX_RSA_BITS &&
    isOdd(modulus) &&
    bitsOf(exponent) <= MAX_EXPONENT_BITS &&
    // Under 1 every message is its own signature; an even one is no exponent of RSA.
    isOdd(exponent) &&
    bitsOf(exponent) > 1
  if (!counts) throw new PathError('weak-key')
}

/** Of a magnitude without zeros before it. */
function bitsOf(magnitude: Uint8Array): number {
  return 8 * magnitude.length - Math.clz32(magnitude[0] ?? 0) + 24
}

function isOdd(magnitude: Uint8Array): boolean {
  return ((magnitude.at(-1) ?? 0) & 1) === 1
}

function readEc(point: Uint8Array, parameters: DerElement | undefined): PublicKey {
  // Whoever chooses the curve's parameters can choose them so that he knows the private key (CVE-2020-0601).
  if (parameters?.tag !== Tag.oid) throw new PathError('weak-key')
  const known = curves.get(objectIdentifier(parameters))
  if (known === undefined) return { kind: 'other' }
  // Compressed and hybrid points are other texts for one key, and platforms differ on whether they take them.
  if (point[0] !== 0x04 || point.length !== 1 + 2 * known.fieldBytes)
    throw new RangeError('not an uncompressed point')
  return { kind: 'ec', curve: known.curve }
}
