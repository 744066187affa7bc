/** Verifies signatures in software with the attributes of a public key: RFC 8017, 8.1.2 and 8.2.2; FIPS 186-5, 6.4.2 and 7.7. */
import { concatBytes, equalBytes } from '@webtoki/apdu'
import { encodeDigestInfo, hashes, padPkcs1 } from '@webtoki/crypto'
import { verifiesEcdsa, verifiesEddsa } from '@webtoki/crypto/curve-arithmetic'
import type { Attributes } from './attributes.ts'
import { CKA, CKR } from './constants.ts'
import { hashNow, mgf1 } from '@webtoki/crypto/hash-now'
import { CryptokiError } from './errors.ts'
import { type RawMechanism, pssParametersOf, signMechanism } from './mechanisms.ts'
import { curveOf, edwardsCurveOf, octetStringOf } from './software/key-numbers.ts'
import { rsaNumbersOf, rsaPublicPower } from './software/rsa.ts'

/**
 * Returns true if the signature is valid. `data` is the digest if the mechanism hashes, otherwise the data itself. Throws
 * CKR_SIGNATURE_LEN_RANGE, CKR_MECHANISM_INVALID, CKR_KEY_SIZE_RANGE, CKR_MECHANISM_PARAM_INVALID.
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
      const { encoded, keyBytes } = recoverEncoded(key, signature)
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
      const { encoded, keyBytes } = recoverEncoded(key, signature)
      if (encoded === undefined || data.length > keyBytes) return false
      return equalBytes(encoded, concatBytes(new Uint8Array(keyBytes - data.length), data))
    }
    case 'pss': {
      const { encoded, keyBits } = recoverEncoded(key, signature)
      return encoded !== undefined && isPss(encoded, keyBits, data, mechanism)
    }
    case 'eddsa':
      return verifyEddsa(key, data, signature)
    case undefined:
      throw new CryptokiError(CKR.MECHANISM_INVALID)
  }
}

/** RSAVP1, RFC 8017, 5.2.2. `encoded` is undefined if the signature is not less than the modulus. */
function recoverEncoded(
  attributes: Attributes,
  signature: Uint8Array,
): { readonly encoded: Uint8Array | undefined; readonly keyBits: number; readonly keyBytes: number } {
  const key = rsaNumbersOf(attributes)
  if (signature.length !== key.keyBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  return { ...key, encoded: rsaPublicPower(key, signature) }
}

/** EMSA-PSS-VERIFY, RFC 8017, 9.1.2. */
function isPss(whole: Uint8Array, keyBits: number, digest: Uint8Array, mechanism: RawMechanism): boolean {
  const { hash, mgfHash, saltBytes } = pssParametersOf(mechanism)
  const encodedBits = keyBits - 1
  const encodedBytes = Math.ceil(encodedBits / 8)
  const leading = whole.length - encodedBytes
  if (leading > 0 && whole[0] !== 0) return false
  const encoded = whole.subarray(leading)
  const hashLength = hashes[hash].bytes
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
  return equalBytes(h, hashNow(hash, concatBytes(new Uint8Array(8), digest, salt)))
}

function verifyEcdsa(key: Attributes, digest: Uint8Array, signature: Uint8Array): boolean {
  const curve = curveOf(key[CKA.EC_PARAMS])
  if (signature.length !== 2 * curve.fieldBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  const point = octetStringOf(key[CKA.EC_POINT] ?? new Uint8Array(0))
  return point !== undefined && verifiesEcdsa(curve, point, digest, signature)
}

/** Accepts the point directly and within an OCTET STRING, because PKCS#11 v3.0 and v3.1 differ. */
function verifyEddsa(key: Attributes, message: Uint8Array, signature: Uint8Array): boolean {
  const curve = edwardsCurveOf(key[CKA.EC_PARAMS])
  if (signature.length !== 2 * curve.fieldBytes) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
  const value = key[CKA.EC_POINT] ?? new Uint8Array(0)
  const point = value.length === curve.fieldBytes ? value : octetStringOf(value)
  return point !== undefined && verifiesEddsa(curve, point, message, signature)
}
