/**
 * Curve arithmetic in JavaScript: FIPS 186-5, 6.4.2 and 7.7. A separate entry point, because it is large: load it when a
 * point is used.
 */
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

/** Returns true if the bytes are a valid point on the curve. Points in Weierstrass form must be uncompressed. */
export function isPoint({ name, fieldBytes, isEdwards }: Curve, point: Uint8Array): boolean {
  const hasRightForm = isEdwards || (point.length === 1 + 2 * fieldBytes && point[0] === 0x04)
  try {
    if (hasRightForm) arithmetic[name].Point.fromBytes(point).assertValidity()
    return hasRightForm
  } catch {
    return false
  }
}

/** Verifies an ECDSA signature (r‖s) of a digest. Returns false also for a point that is not on the curve. */
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
    // r or s is out of range.
    return false
  }
}

/** Verifies an EdDSA signature of a message (RFC 8032, 5.1.7). Returns false also for a point that is not on the curve. */
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
