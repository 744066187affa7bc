/** The numbers of an RSA key by its attributes. */
import { toHex } from '@webtoki/apdu'
import { bitsOf } from '@webtoki/crypto'
import type { Attributes } from '../attributes.ts'
import { CKA } from '../constants.ts'

/** A big integer of PKCS#11 may have zeros before it. */
export function magnitudeOf(bytes: Uint8Array | undefined): Uint8Array {
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  return bytes === undefined || first < 0 ? new Uint8Array(0) : bytes.subarray(first)
}

/** Bits of CKA_MODULUS; 0 if there is none. */
export function rsaBitsOf(key: Attributes): number {
  return bitsOf(magnitudeOf(key[CKA.MODULUS]))
}

/** Whether a block as long as CKA_MODULUS is, as a number, below it. */
export function isBelowModulus(block: Uint8Array, key: Attributes): boolean {
  // Bytes of one length in hex stand in the order of their numbers.
  return toHex(block) < toHex(key[CKA.MODULUS] ?? block)
}
