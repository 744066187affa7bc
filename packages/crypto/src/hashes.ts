/**
 * The registry of hashes: FIPS 180-4 and FIPS 202; object identifiers from RFC 8017, appendix B.1, and NIST's CSOR. Also
 * adapts digests to raw RSA and ECDSA operations: RFC 8017, 9.2; FIPS 186-5, 6.4.
 */
import { encodeTlv } from '@webtoki/apdu'
import { concatBytes } from '@webtoki/apdu/bytes'
import { encodeAlgorithmIdentifier } from './encode.ts'
import { Tag } from './der.ts'

/** Name of a supported hash, as WebCrypto and FIPS spell it. */
export type HashName =
  | 'SHA-1'
  | 'SHA-224'
  | 'SHA-256'
  | 'SHA-384'
  | 'SHA-512'
  | 'SHA3-224'
  | 'SHA3-256'
  | 'SHA3-384'
  | 'SHA3-512'

/** Properties of a hash. */
export interface Hash {
  /** Length of its digest in bytes. */
  readonly bytes: number
  /** Object identifier. */
  readonly oid: string
  /** True if WebCrypto has it under the same name (Web Cryptography API, 31). */
  readonly isInWebCrypto?: boolean
  /** True if collisions are feasible: an attacker could replace the signed data. */
  readonly isWeak?: boolean
}

/** The supported hashes by name. */
export const hashes: Readonly<Record<HashName, Hash>> = {
  'SHA-1': { oid: '1.3.14.3.2.26', bytes: 20, isInWebCrypto: true, isWeak: true },
  'SHA-224': { oid: '2.16.840.1.101.3.4.2.4', bytes: 28 },
  'SHA-256': { oid: '2.16.840.1.101.3.4.2.1', bytes: 32, isInWebCrypto: true },
  'SHA-384': { oid: '2.16.840.1.101.3.4.2.2', bytes: 48, isInWebCrypto: true },
  'SHA-512': { oid: '2.16.840.1.101.3.4.2.3', bytes: 64, isInWebCrypto: true },
  'SHA3-224': { oid: '2.16.840.1.101.3.4.2.7', bytes: 28 },
  'SHA3-256': { oid: '2.16.840.1.101.3.4.2.8', bytes: 32 },
  'SHA3-384': { oid: '2.16.840.1.101.3.4.2.9', bytes: 48 },
  'SHA3-512': { oid: '2.16.840.1.101.3.4.2.10', bytes: 64 },
}

/** Returns the hash with this object identifier, or undefined if it is not supported. */
export function hashOfOid(oid: string): HashName | undefined {
  return (Object.keys(hashes) as HashName[]).find((name) => hashes[name].oid === oid)
}

/** Encodes DigestInfo in DER (RFC 8017, 9.2). Throws RangeError if the digest does not have the length of the hash. */
export function encodeDigestInfo(name: HashName, digest: Uint8Array): Uint8Array {
  const { oid, bytes } = hashes[name]
  if (digest.length !== bytes)
    throw new RangeError(`A digest of ${name} has ${bytes} bytes, not ${digest.length}.`)
  return encodeTlv(
    Tag.sequence,
    encodeAlgorithmIdentifier(oid, encodeTlv(Tag.null)),
    encodeTlv(Tag.octetString, digest),
  )
}

/**
 * Pads T (a DigestInfo, or the data for CKM_RSA_PKCS) with EMSA-PKCS1-v1_5. Throws RangeError if it is too long for the
 * key.
 */
export function padPkcs1(message: Uint8Array, keyBytes: number): Uint8Array {
  const paddingBytes = keyBytes - message.length - 3
  if (paddingBytes < 8)
    throw new RangeError(`${message.length} bytes are too long for a key of ${keyBytes} bytes.`)
  return concatBytes([0, 1], new Uint8Array(paddingBytes).fill(0xff), [0], message)
}

/**
 * Adapts a digest to ECDSA: truncates it to the leftmost bytes (FIPS 186-5, 6.4.1), or prepends zeros if it is shorter
 * than the field.
 */
export function fitDigest(digest: Uint8Array, fieldBytes: number): Uint8Array {
  if (digest.length >= fieldBytes) return digest.slice(0, fieldBytes)
  return concatBytes(new Uint8Array(fieldBytes - digest.length), digest)
}
