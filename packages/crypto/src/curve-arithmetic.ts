/** The arithmetic of the curves, without the platform: FIPS 186-5, 6.4.2 and 7.7. An entry of its own, to be loaded when a point is used: it is large. */
import type { ECDSA } from '@noble/curves/abstract/weierstrass.js'
import type { EdDSA } from '@noble/curves/abstract/edwards.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { brainpoolP256r1, brainpoolP384r1, brainpoolP512r1 } from '@noble/curves/misc.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import type { Curve, CurveName } from './curves.ts'

const arithmetic: Readonly<Record<CurveName, ECDSA | EdDSA>> = {
  'P-256': p256,
  'P-384': p384,
  'P-521': p521,
  secp256k1,
  brainpoolP256r1,
  brainpoolP384r1,
  brainpoolP512r1,
  Ed25519: ed25519,
}

/** Whether the bytes are a point of the curve, and one that is not compressed if the curve is in Weierstrass form. */
export function isPoint({ name, fieldBytes, isEdwards }: Curve, point: Uint8Array): boolean {
  const form = isEdwards || (point.length === 1 + 2 * fieldBytes && point[0] === 0x04)
  try {
    if (form) arithmetic[name].Point.fromBytes(point).assertValidity()
    return form
  } catch {
    return false
  }
}

/** Whether r‖s is a signature of the digest by ECDSA. False for a point off its curve. */
export function verifiesEcdsa(
  curve: Curve,
  point: Uint8Array,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  const ecdsa = arithmetic[curve.name] as ECDSA
  try {
    return isPoint(curve, point) && ecdsa.verify(signature, digest, point, { prehash: false, lowS: false })
  } catch {
    // r and s out of their range.
    return false
  }
}

/** Whether it is a signature of the message by EdDSA (RFC 8032, 5.1.7). False for a point off its curve. */
export function verifiesEddsa(
  { name }: Curve,
  point: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const eddsa = arithmetic[name] as EdDSA
  try {
    return eddsa.verify(signature, message, point, { zip215: false })
  } catch {
    return false
  }
}
