/** The size of an RSA key by its attributes. */
import type { Attributes } from '../attributes.ts'
import { CKA } from '../constants.ts'

/** A big integer of PKCS#11 may have zeros before it. */
export function magnitudeOf(bytes: Uint8Array | undefined): Uint8Array {
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  return bytes === undefined || first < 0 ? new Uint8Array(0) : bytes.subarray(first)
}

/** Bits of CKA_MODULUS; 0 if there is none. */
export function rsaBitsOf(key: Attributes): number {
  const modulus = magnitudeOf(key[CKA.MODULUS])
  return modulus.length === 0 ? 0 : 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24
}
