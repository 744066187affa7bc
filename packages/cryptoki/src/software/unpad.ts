/**
 * Removal of the padding after raw RSA decryption: RFC 8017, 7.1.2 (OAEP) and 7.2.2 (PKCS#1 v1.5). Both take the same steps
 * whatever the block contains; JavaScript gives no stronger guarantee about time. Loaded on first use.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { copyOf } from '@webtoki/apdu'
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { HashName } from '@webtoki/crypto'
import { hashNow, mgf1 } from '@webtoki/crypto/hash-now'

/** The parameters of OAEP. */
export interface OaepPadding {
  readonly hash: HashName
  readonly mgfHash: HashName
  readonly label: Uint8Array
}

/** Candidates for the length of the synthetic message. With 128 of them, none is valid with a probability of at most 2^-128. */
const LENGTH_TRIES = 128

/** A block starts with 00, 02 and at least 8 bytes of padding, which a zero ends. */
const HEADER_BYTES = 2
const MIN_PADDING_BYTES = 8

/**
 * Decodes RSAES-PKCS1-v1_5 with implicit rejection (draft-irtf-cfrg-rsa-guidance, 7; OpenSSL 3.2 and later). A wrong padding
 * is not an error: it gives a message of pseudo-random bytes and length, always the same for the same ciphertext. An
 * attacker who submits ciphertexts therefore learns nothing about the padding (Bleichenbacher 1998).
 *
 * `block` is the output of raw RSA, as long as the modulus; it is not modified. `secret` seeds the pseudo-random message:
 * 32 bytes that nobody else knows. OpenSSL derives it from the private exponent; for a key on a card use random bytes and
 * keep them as long as the token. Throws CKR_ENCRYPTED_DATA_LEN_RANGE.
 */
export function unpadPkcs1(block: Uint8Array, ciphertext: Uint8Array, secret: Uint8Array): Uint8Array {
  const bytes = block.length
  if (bytes < HEADER_BYTES + MIN_PADDING_BYTES + 1 || ciphertext.length > bytes)
    throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
  const fullCiphertext = new Uint8Array(bytes)
  fullCiphertext.set(ciphertext, bytes - ciphertext.length)
  const derivationKey = hmac(sha256, secret, fullCiphertext)
  const synthetic = pseudoRandom(derivationKey, 'message', bytes)
  const syntheticStart = bytes - syntheticLength(derivationKey, bytes)

  let zeroAt = 0
  let isFound = 0
  for (let at = HEADER_BYTES; at < bytes; at++) {
    const isZero = maskIfZero(block[at] as number)
    zeroAt |= at & isZero & ~isFound
    isFound |= isZero
  }
  const good =
    maskIfZero(block[0] as number) &
    maskIfZero((block[1] as number) ^ 0x02) &
    isFound &
    ~maskIfLess(zeroAt, HEADER_BYTES + MIN_PADDING_BYTES)
  const start = ((zeroAt + 1) & good) | (syntheticStart & ~good)
  for (let at = 0; at < bytes; at++)
    synthetic[at] = ((block[at] as number) & good) | ((synthetic[at] as number) & ~good)
  const message = copyOf(synthetic.subarray(start))
  for (const each of [synthetic, derivationKey]) each.fill(0)
  return message
}

/** Returns the last candidate that is short enough for the header to precede it, or 0 if there is none. */
function syntheticLength(derivationKey: Uint8Array, bytes: number): number {
  const limit = bytes - HEADER_BYTES - MIN_PADDING_BYTES
  const mask = 2 ** (32 - Math.clz32(limit)) - 1
  const candidates = pseudoRandom(derivationKey, 'length', 2 * LENGTH_TRIES)
  let length = 0
  for (let at = 0; at < candidates.length; at += 2) {
    const candidate = (((candidates[at] as number) << 8) | (candidates[at + 1] as number)) & mask
    const fits = maskIfLess(candidate, limit)
    length = (candidate & fits) | (length & ~fits)
  }
  return length
}

/** The PRF of the draft: concatenates HMACs of a counter, the label and the output length in bits. */
function pseudoRandom(key: Uint8Array, label: 'message' | 'length', bytes: number): Uint8Array {
  const labelBytes = Array.from(label, (letter) => letter.charCodeAt(0))
  const output = new Uint8Array(bytes)
  const bits = bytes * 8
  for (let made = 0, counter = 0; made < bytes; counter++) {
    const input = Uint8Array.of(counter >> 8, counter & 0xff, ...labelBytes, bits >> 8, bits & 0xff)
    const block = hmac(sha256, key, input)
    output.set(block.subarray(0, bytes - made), made)
    made += block.length
  }
  return output
}

/**
 * Decodes EME-OAEP. `block` is the output of raw RSA, as long as the modulus. Every fault in it gives the same error at the
 * same place, CKR_ENCRYPTED_DATA_INVALID, because a difference would reveal the message (Manger 2001). Throws
 * CKR_ENCRYPTED_DATA_LEN_RANGE if the modulus is too short for the hash.
 */
export function unpadOaep(block: Uint8Array, { hash, mgfHash, label }: OaepPadding): Uint8Array {
  const labelHash = hashNow(hash, label)
  const digestBytes = labelHash.length
  if (block.length < 2 * digestBytes + 2) throw new CryptokiError(CKR.ENCRYPTED_DATA_LEN_RANGE)
  const masked = block.subarray(1 + digestBytes)
  const seed = exclusiveOr(block.subarray(1, 1 + digestBytes), mgf1(masked, digestBytes, mgfHash))
  const data = exclusiveOr(masked, mgf1(seed, masked.length, mgfHash))

  let wrong = block[0] as number
  for (let at = 0; at < digestBytes; at++) wrong |= (data[at] as number) ^ (labelHash[at] as number)
  let oneAt = 0
  let isFound = 0
  for (let at = digestBytes; at < data.length; at++) {
    const byte = data[at] as number
    const isOne = maskIfZero(byte ^ 0x01)
    wrong |= byte & ~isOne & ~isFound
    oneAt |= at & isOne & ~isFound
    isFound |= isOne
  }
  const good = maskIfZero(wrong) & isFound
  const message = copyOf(data.subarray(oneAt + 1))
  for (const each of [seed, data]) each.fill(0)
  if (good === 0) {
    message.fill(0)
    throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
  }
  return message
}

function exclusiveOr(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes, (byte, at) => byte ^ (mask[at] as number))
}

/** Returns all ones if the number, of less than 32 bits, is zero; otherwise zero. */
function maskIfZero(number: number): number {
  return ~(number | -number) >> 31
}

/** Returns all ones if a < b, both of less than 31 bits; otherwise zero. */
function maskIfLess(a: number, b: number): number {
  return (a - b) >> 31
}
