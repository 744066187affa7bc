/**
 * Synchronous digests and the RSA-PSS padding that needs them (RFC 8017, 9.1 and B.2.1). A separate entry point, because
 * a login does not need it.
 */
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { sha3_224, sha3_256, sha3_384, sha3_512 } from '@noble/hashes/sha3.js'
import type { CHash } from '@noble/hashes/utils.js'
import { concatBytes } from '@webtoki/apdu/bytes'
import type { HashName } from './hashes.ts'

/** @internal The hashes in JavaScript. */
export const inJavaScript: Readonly<Record<HashName, CHash>> = {
  'SHA-1': sha1,
  'SHA-224': sha224,
  'SHA-256': sha256,
  'SHA-384': sha384,
  'SHA-512': sha512,
  'SHA3-224': sha3_224,
  'SHA3-256': sha3_256,
  'SHA3-384': sha3_384,
  'SHA3-512': sha3_512,
}

/** Computes a digest synchronously, for short data. */
export function hashNow(name: HashName, bytes: Uint8Array): Uint8Array {
  return inJavaScript[name](bytes)
}

/** Computes an MGF1 mask (RFC 8017, B.2.1) of fewer than 2^16 blocks. */
export function mgf1(seed: Uint8Array, lengthBytes: number, hash: HashName): Uint8Array {
  const mask = new Uint8Array(lengthBytes)
  for (let offset = 0, counter = 0; offset < lengthBytes; counter++) {
    const block = hashNow(hash, concatBytes(seed, [0, 0, counter >> 8, counter & 0xff]))
    mask.set(block.subarray(0, lengthBytes - offset), offset)
    offset += block.length
  }
  return mask
}

/** Parameters of `padPss`. The caller supplies the randomness. */
export interface PssPadding {
  readonly keyBits: number
  readonly saltBytes: number
  readonly hash: HashName
  readonly mgfHash: HashName
  readonly randomBytes: (length: number) => Uint8Array
}

/**
 * Encodes a digest with EMSA-PSS (RFC 8017, 9.1.1), padded to the length of the key. Throws RangeError if the key is too
 * short.
 */
export function padPss(digest: Uint8Array, parameters: PssPadding): Uint8Array {
  const { keyBits, saltBytes, hash, mgfHash, randomBytes } = parameters
  const encodedBits = keyBits - 1
  const encodedBytes = Math.ceil(encodedBits / 8)
  const paddingBytes = encodedBytes - digest.length - saltBytes - 2
  if (paddingBytes < 0) throw new RangeError(`A key of ${keyBits} bits is too short for this hash and salt.`)
  const salt = randomBytes(saltBytes)
  if (salt.length !== saltBytes)
    throw new RangeError(`randomBytes returned ${salt.length} bytes instead of ${saltBytes}.`)
  const h = hashNow(hash, concatBytes(new Uint8Array(8), digest, salt))
  if (h.length !== digest.length)
    throw new RangeError('The digest does not have the length of the hash of PSS.')
  const block = concatBytes(new Uint8Array(paddingBytes), [1], salt)
  const mask = mgf1(h, block.length, mgfHash)
  const masked = block.map((byte, index) => byte ^ (mask[index] ?? 0))
  masked[0] = (masked[0] ?? 0) & (0xff >> (8 * encodedBytes - encodedBits))
  // If the key has 8n + 1 bits, the encoded message is one byte shorter than the modulus.
  const leading = new Uint8Array(Math.ceil(keyBits / 8) - encodedBytes)
  return concatBytes(leading, masked, h, [0xbc])
}
