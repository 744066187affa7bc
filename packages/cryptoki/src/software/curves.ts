/** The arithmetic of the elliptic curves. Loaded when a point is used: it is most of this package's weight. */
import type { ECDSA } from '@noble/curves/abstract/weierstrass.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { decodeTlv } from '@webtoki/apdu'
import { fieldBytesOf } from './known-curves.ts'

/** A curve in Weierstrass form, and the length of a coordinate. */
export interface KnownCurve {
  readonly curve: ECDSA
  readonly fieldBytes: number
}

const curves: Readonly<Record<number, ECDSA>> = { 32: p256, 48: p384, 66: p521 }

/** The curve of CKA_EC_PARAMS. Throws CKR_KEY_SIZE_RANGE for one that is not known. */
export function curveOf(ecParams: Uint8Array | undefined): KnownCurve {
  const fieldBytes = fieldBytesOf(ecParams)
  return { curve: curves[fieldBytes] as ECDSA, fieldBytes }
}

/** The value of a DER OCTET STRING that fills `bytes`; undefined if it is something else. */
export function octetStringOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    const { tag, value } = decodeTlv(bytes)
    return tag === 0x04 ? value : undefined
  } catch {
    return undefined
  }
}
