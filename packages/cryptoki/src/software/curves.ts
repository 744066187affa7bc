/** The elliptic curves that software knows, by CKA_EC_PARAMS in DER. Loaded when a point is used: they are most of this package's weight. */
import type { ECDSA } from '@noble/curves/abstract/weierstrass.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { decodeTlv, toHex } from '@webtoki/apdu'
import { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'

/** A curve in Weierstrass form, and the length of a coordinate. */
export interface KnownCurve {
  readonly curve: ECDSA
  readonly fieldBytes: number
}

const curves: ReadonlyMap<string, KnownCurve> = /* @__PURE__ */ new Map([
  ['06082a8648ce3d030107', { curve: p256, fieldBytes: 32 }],
  ['06052b81040022', { curve: p384, fieldBytes: 48 }],
  ['06052b81040023', { curve: p521, fieldBytes: 66 }],
])

/** Throws CKR_KEY_SIZE_RANGE for a curve that is not known. */
export function curveOf(ecParams: Uint8Array | undefined): KnownCurve {
  const known = curves.get(toHex(ecParams ?? new Uint8Array(0)))
  if (known === undefined) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
  return known
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
