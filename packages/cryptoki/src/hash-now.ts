/** Digests without waiting, for paddings and checks in software. Loaded where one is needed: a login needs none. */
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { concatBytes } from '@webtoki/apdu'

/** The hashes that paddings use. */
export type PaddingHash = 'SHA-1' | 'SHA-224' | 'SHA-256' | 'SHA-384' | 'SHA-512'

const hashes: Readonly<Record<PaddingHash, (bytes: Uint8Array) => Uint8Array>> = {
  'SHA-1': sha1,
  'SHA-224': sha224,
  'SHA-256': sha256,
  'SHA-384': sha384,
  'SHA-512': sha512,
}

/** A whole digest at once, for small inputs. */
export function hashNow(name: PaddingHash, bytes: Uint8Array): Uint8Array {
  return hashes[name](bytes)
}

/** MGF1 (RFC 8017, B.2.1), for less than 2^16 blocks. */
export function mgf1(seed: Uint8Array, lengthBytes: number, hash: PaddingHash): Uint8Array {
  const mask = new Uint8Array(lengthBytes)
  for (let made = 0, counter = 0; made < lengthBytes; counter++) {
    const block = hashNow(hash, concatBytes(seed, [0, 0, counter >> 8, counter & 0xff]))
    mask.set(block.subarray(0, lengthBytes - made), made)
    made += block.length
  }
  return mask
}
