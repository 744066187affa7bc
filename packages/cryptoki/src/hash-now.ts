/** Digests without waiting, for paddings and checks in software. Loaded where one is needed: a login needs none. */
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'

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
