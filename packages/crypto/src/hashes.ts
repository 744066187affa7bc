/**
 * The hashes: FIPS 180-4 and 202; identifiers of RFC 8017, appendix B.1, and of NIST's CSOR. And what raw RSA and ECDSA take
 * of a digest: RFC 8017, 9.2; FIPS 186-5, 6.4.
 */
import { encodeTlv } from '@webtoki/apdu'
import { concatBytes } from '@webtoki/apdu/bytes'
import { encodeAlgorithmIdentifier } from './encode.ts'
import { Tag } from './der.ts'

/** A hash that can be computed, as WebCrypto and FIPS print its name. */
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

/** What is known of a hash. */
export interface Hash {
  /** Length of its digest. */
  readonly bytes: number
  readonly oid: string
  /** WebCrypto has it under its name (Web Cryptography API, 31). */
  readonly isInWebCrypto?: boolean
  /** Collisions can be made: whoever does that chooses what was signed. */
  readonly isWeak?: boolean
}

/** By name. */
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

/** The hash of an object identifier; undefined if it is not known here. */
export function hashOfOid(oid: string): HashName | undefined {
  return (Object.keys(hashes) as HashName[]).find((name) => hashes[name].oid === oid)
}

/** DigestInfo in DER (RFC 8017, 9.2). Throws RangeError if the digest's length is not the hash's. */
export function encodeDigestInfo(name: HashName, digest: Uint8Array): Uint8Array {
  const { oid, bytes } = hashes[name]
  if (digest.length !== bytes) throw new RangeError(`${digest.length} bytes are not a digest of ${name}.`)
  return encodeTlv(
    Tag.sequence,
    encodeAlgorithmIdentifier(oid, encodeTlv(Tag.null)),
    encodeTlv(Tag.octetString, digest),
  )
}

/** EMSA-PKCS1-v1_5 from the point where T (a DigestInfo, or what CKM_RSA_PKCS is given) is known. Throws RangeError. */
export function padPkcs1(message: Uint8Array, keyBytes: number): Uint8Array {
  const paddingBytes = keyBytes - message.length - 3
  if (paddingBytes < 8) throw new RangeError(`${message.length} bytes are too long for a key of ${keyBytes}.`)
  return concatBytes([0, 1], new Uint8Array(paddingBytes).fill(0xff), [0], message)
}

/** A digest as ECDSA takes it: the leftmost bytes of a longer one (FIPS 186-5, 6.4.1), zeros before a shorter one. */
export function fitDigest(digest: Uint8Array, fieldBytes: number): Uint8Array {
  if (digest.length >= fieldBytes) return digest.slice(0, fieldBytes)
  return concatBytes(new Uint8Array(fieldBytes - digest.length), digest)
}
