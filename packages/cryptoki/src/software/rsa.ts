/** RSA encryption and signature recovery with a public key (RFC 8017, 7.1.1, 7.2.1 and 8.2.2). Loaded on first use. */
import { concatBytes, fromHex, toHex } from '@webtoki/apdu'
import type { Attributes } from '../attributes.ts'
import { areRsaNumbers } from '@webtoki/crypto'
import { CKA, CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import { hashNow, mgf1 } from '@webtoki/crypto/hash-now'
import { oaepParametersOf, type RawMechanism } from '../mechanisms.ts'
import { magnitudeOf, rsaBitsOf } from './key-numbers.ts'
import type { OaepPadding } from './unpad.ts'

/** The numbers of a public key. */
export interface RsaNumbers {
  readonly modulus: bigint
  readonly exponent: bigint
  readonly keyBits: number
  readonly keyBytes: number
}

/** Throws CKR_KEY_SIZE_RANGE if the attributes are not those of an RSA key. */
export function rsaNumbersOf(key: Attributes): RsaNumbers {
  const modulus = magnitudeOf(key[CKA.MODULUS])
  const exponent = magnitudeOf(key[CKA.PUBLIC_EXPONENT])
  const keyBits = rsaBitsOf(key)
  if (!areRsaNumbers(modulus, exponent)) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return {
    modulus: toBigInt(modulus),
    exponent: toBigInt(exponent),
    keyBits,
    keyBytes: Math.ceil(keyBits / 8),
  }
}

/** RSAEP and RSAVP1 (RFC 8017, 5.1.1 and 5.2.2). Returns undefined if `block`, as a number, is not below the modulus. */
export function rsaPublicPower(key: RsaNumbers, block: Uint8Array): Uint8Array | undefined {
  const number = toBigInt(block)
  return number < key.modulus ? toBytes(power(number, key.exponent, key.modulus), key.keyBytes) : undefined
}

/**
 * Encrypts by CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP or CKM_RSA_X_509. Throws CKR_DATA_LEN_RANGE, and CKR_DATA_INVALID if the
 * data of CKM_RSA_X_509, as a number, is not below the modulus.
 */
export function encryptRsa(
  attributes: Attributes,
  mechanism: RawMechanism,
  data: Uint8Array,
  randomBytes: (bytes: number) => Uint8Array,
): Uint8Array {
  const key = rsaNumbersOf(attributes)
  const block = padded(key.keyBytes, mechanism, data, randomBytes)
  const encrypted = rsaPublicPower(key, block)
  block.fill(0)
  if (encrypted !== undefined) return encrypted
  throw new CryptokiError(CKR.DATA_INVALID, { detail: 'the data, as a number, is not below the modulus' })
}

function padded(
  keyBytes: number,
  mechanism: RawMechanism,
  data: Uint8Array,
  randomBytes: (bytes: number) => Uint8Array,
): Uint8Array {
  if (mechanism.type === CKM.RSA_PKCS_OAEP)
    return padOaep(keyBytes, oaepParametersOf(mechanism, keyBytes), data, randomBytes)
  const isRaw = mechanism.type === CKM.RSA_X_509
  const paddingBytes = keyBytes - data.length - (isRaw ? 0 : 3)
  if (paddingBytes < (isRaw ? 0 : 8)) throw new CryptokiError(CKR.DATA_LEN_RANGE)
  if (isRaw) return concatBytes(new Uint8Array(paddingBytes), data)
  return concatBytes([0, 2], nonZero(paddingBytes, randomBytes), [0], data)
}

function nonZero(count: number, randomBytes: (bytes: number) => Uint8Array): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let made = 0; made < count; ) {
    const more = randomBytes(count - made).filter((byte) => byte !== 0)
    bytes.set(more, made)
    made += more.length
  }
  return bytes
}

/** EME-OAEP encoding. */
function padOaep(
  keyBytes: number,
  { hash, mgfHash, label }: OaepPadding,
  data: Uint8Array,
  randomBytes: (bytes: number) => Uint8Array,
): Uint8Array {
  const labelHash = hashNow(hash, label)
  const zeros = keyBytes - data.length - 2 * labelHash.length - 2
  if (zeros < 0) throw new CryptokiError(CKR.DATA_LEN_RANGE)
  const seed = randomBytes(labelHash.length)
  const block = concatBytes(labelHash, new Uint8Array(zeros), [1], data)
  exclusiveOr(block, mgf1(seed, block.length, mgfHash))
  exclusiveOr(seed, mgf1(block, seed.length, mgfHash))
  return concatBytes([0], seed, block)
}

function exclusiveOr(bytes: Uint8Array, mask: Uint8Array): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = (bytes[at] as number) ^ (mask[at] as number)
}

/**
 * Recovers the signed data from a signature of CKM_RSA_PKCS or CKM_RSA_X_509; the latter gives as many bytes as the
 * modulus has. Throws CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID.
 */
export function recoverRsa(
  attributes: Attributes,
  { type }: RawMechanism,
  signature: Uint8Array,
): Uint8Array {
  const key = rsaNumbersOf(attributes)
  if (signature.length !== key.keyBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  const block = rsaPublicPower(key, signature)
  const start = type === CKM.RSA_X_509 ? 0 : messageStart(block)
  if (block === undefined || start === undefined) throw new CryptokiError(CKR.SIGNATURE_INVALID)
  return block.subarray(start)
}

/** Returns the offset of the message, after 00, 01, at least eight FF and 00, or undefined if the padding is wrong. */
function messageStart(block: Uint8Array | undefined): number | undefined {
  if (block === undefined || block[0] !== 0 || block[1] !== 1) return undefined
  const end = block.findIndex((byte, at) => at >= 2 && byte !== 0xff)
  return end >= 10 && block[end] === 0 ? end + 1 : undefined
}

/** Not constant in time: never use it with a private exponent. */
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  let square = base
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus
    square = (square * square) % modulus
  }
  return result
}

function toBigInt(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

function toBytes(number: bigint, lengthBytes: number): Uint8Array {
  return fromHex(number.toString(16).padStart(2 * lengthBytes, '0'))
}
