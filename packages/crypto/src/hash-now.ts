/** Digests without waiting, for paddings and checks in software. An entry of its own: a login needs none. */
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { sha3_224, sha3_256, sha3_384, sha3_512 } from '@noble/hashes/sha3.js'
import type { CHash } from '@noble/hashes/utils.js'
import { concatBytes } from '@webtoki/apdu/bytes'
import type { HashName } from './hashes.ts'

/** @internal All hashes in JavaScript. */
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

/** A whole digest at once, for small inputs. */
export function hashNow(name: HashName, bytes: Uint8Array): Uint8Array {
  return inJavaScript[name](bytes)
}

/** MGF1 (RFC 8017, B.2.1), for less than 2^16 blocks. */
export function mgf1(seed: Uint8Array, lengthBytes: number, hash: HashName): Uint8Array {
  const mask = new Uint8Array(lengthBytes)
  for (let made = 0, counter = 0; made < lengthBytes; counter++) {
    const block = hashNow(hash, concatBytes(seed, [0, 0, counter >> 8, counter & 0xff]))
    mask.set(block.subarray(0, lengthBytes - made), made)
    made += block.length
  }
  return mask
}
