/** Verification in software with a public key's attributes: RFC 8017, 8.1.2 and 8.2.2; FIPS 186-5, 6.4.2. */
import { concatBytes, equalBytes, toHex } from '@webtoki/apdu'
import { encodeDigestInfo, padPkcs1 } from '@webtoki/apdu/piv'
import type { Attributes } from './attributes.ts'
import { areRsaNumbers } from './certificate.ts'
import { CKA, CKR } from './constants.ts'
import { hashNow as hashBytes, mgf1 } from './hash-now.ts'
import { CryptokiError } from './errors.ts'
import { type RawMechanism, pssParametersOf, signMechanism } from './mechanisms.ts'
import { curveOf, octetStringOf } from './software/curves.ts'

const MAX_MODULUS_BITS = 16_384

/**
 * Whether the signature fits. `data` is the digest where the mechanism hashes, else what the mechanism takes.
 * Throws CKR_SIGNATURE_LEN_RANGE, CKR_MECHANISM_INVALID, CKR_KEY_SIZE_RANGE, CKR_MECHANISM_PARAM_INVALID.
 */
export function verifySignature(
  key: Attributes,
  mechanism: RawMechanism,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const { padding, hash } = signMechanism(mechanism.type) ?? {}
  switch (padding) {
    case 'ecdsa':
      return verifyEcdsa(key, data, signature)
    case 'pkcs1': {
      const { encoded, keyBytes } = openRsa(key, signature)
      if (encoded === undefined) return false
      try {
        return equalBytes(
          encoded,
          padPkcs1(hash === undefined ? data : encodeDigestInfo(hash, data), keyBytes),
        )
      } catch (error) {
        if (error instanceof RangeError) return false
        throw error
      }
    }
    case 'raw-x509': {
      const { encoded, keyBytes } = openRsa(key, signature)
      if (encoded === undefined || data.length > keyBytes) return false
      return equalBytes(encoded, concatBytes(new Uint8Array(keyBytes - data.length), data))
    }
    case 'pss': {
      const { encoded, keyBits } = openRsa(key, signature)
      return encoded !== undefined && isPss(encoded, keyBits, data, mechanism)
    }
    case undefined:
      throw new CryptokiError(CKR.MECHANISM_INVALID)
  }
}

/** RSAVP1. `encoded` is undefined where the signature is no number below the modulus. */
function openRsa(
  key: Attributes,
  signature: Uint8Array,
): { readonly encoded: Uint8Array | undefined; readonly keyBits: number; readonly keyBytes: number } {
  const modulusBytes = magnitudeOf(key[CKA.MODULUS])
  const exponentBytes = magnitudeOf(key[CKA.PUBLIC_EXPONENT])
  const modulus = toBigInt(modulusBytes)
  const exponent = toBigInt(exponentBytes)
  const keyBits = modulus.toString(2).length
  if (keyBits < 512 || keyBits > MAX_MODULUS_BITS || !areRsaNumbers(modulusBytes, exponentBytes))
    throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  const keyBytes = Math.ceil(keyBits / 8)
  if (signature.length !== keyBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  const number = toBigInt(signature)
  if (number >= modulus) return { encoded: undefined, keyBits, keyBytes }
  return { encoded: toBytes(power(number, exponent, modulus), keyBytes), keyBits, keyBytes }
}

/** Public numbers only: this takes as long as they are. */
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  let square = base
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus
    square = (square * square) % modulus
  }
  return result
}

/** EMSA-PSS-VERIFY, RFC 8017, 9.1.2. */
function isPss(whole: Uint8Array, keyBits: number, digest: Uint8Array, mechanism: RawMechanism): boolean {
  const { hash, mgfHash, saltBytes } = pssParametersOf(mechanism)
  const encodedBits = keyBits - 1
  const encodedBytes = Math.ceil(encodedBits / 8)
  const leading = whole.length - encodedBytes
  if (leading > 0 && whole[0] !== 0) return false
  const encoded = whole.subarray(leading)
  const hashLength = hashBytes(hash, new Uint8Array(0)).length
  const blockBytes = encodedBytes - hashLength - 1
  if (digest.length !== hashLength || blockBytes < saltBytes + 1 || encoded.at(-1) !== 0xbc) return false
  const masked = encoded.subarray(0, blockBytes)
  const h = encoded.subarray(blockBytes, blockBytes + hashLength)
  const unusedBits = 8 * encodedBytes - encodedBits
  if (((masked[0] as number) & ~(0xff >> unusedBits)) !== 0) return false
  const mask = mgf1(h, blockBytes, mgfHash)
  const block = masked.map((byte, index) => byte ^ (mask[index] as number))
  block[0] = (block[0] as number) & (0xff >> unusedBits)
  const paddingBytes = blockBytes - saltBytes - 1
  if (block.subarray(0, paddingBytes).some((byte) => byte !== 0) || block[paddingBytes] !== 1) return false
  const salt = block.subarray(paddingBytes + 1)
  return equalBytes(h, hashBytes(hash, concatBytes(new Uint8Array(8), digest, salt)))
}

function verifyEcdsa(key: Attributes, digest: Uint8Array, signature: Uint8Array): boolean {
  const { curve, fieldBytes } = curveOf(key[CKA.EC_PARAMS])
  if (signature.length !== 2 * fieldBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  const point = octetStringOf(key[CKA.EC_POINT] ?? new Uint8Array(0))
  if (point?.[0] !== 0x04 || point.length !== 1 + 2 * fieldBytes) return false
  try {
    return curve.verify(signature, digest, point, { prehash: false, lowS: false })
  } catch {
    // A point off the curve, or r and s out of their range: no such signature fits.
    return false
  }
}

/** A big integer of PKCS#11 may have zeros before it. */
function magnitudeOf(bytes: Uint8Array | undefined): Uint8Array {
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  return bytes === undefined || first < 0 ? new Uint8Array(0) : bytes.subarray(first)
}

function toBigInt(bytes: Uint8Array | undefined): bigint {
  return bytes === undefined || bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

function toBytes(number: bigint, lengthBytes: number): Uint8Array {
  const hex = number.toString(16).padStart(2 * lengthBytes, '0')
  return Uint8Array.from({ length: lengthBytes }, (_, at) =>
    Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16),
  )
}
