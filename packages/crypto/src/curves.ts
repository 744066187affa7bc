/**
 * The registry of elliptic curves: FIPS 186-5 and SP 800-186, SEC 2, RFC 5639, RFC 8032. A new curve needs a row here and
 * one in `curve-arithmetic.ts`.
 */
import { equalBytes, viewOf } from '@webtoki/apdu/bytes'
import { encodeOid } from './encode.ts'

const rows = [
  { name: 'P-256', oid: '1.2.840.10045.3.1.7', bits: 256, isInWebCrypto: true },
  { name: 'P-384', oid: '1.3.132.0.34', bits: 384, isInWebCrypto: true },
  { name: 'P-521', oid: '1.3.132.0.35', bits: 521, isInWebCrypto: true },
  { name: 'secp256k1', oid: '1.3.132.0.10', bits: 256 },
  { name: 'brainpoolP256r1', oid: '1.3.36.3.3.2.8.1.1.7', bits: 256 },
  { name: 'brainpoolP384r1', oid: '1.3.36.3.3.2.8.1.1.11', bits: 384 },
  { name: 'brainpoolP512r1', oid: '1.3.36.3.3.2.8.1.1.13', bits: 512 },
  // The identifier of the algorithm (RFC 8410, 3), which has only this curve.
  { name: 'Ed25519', oid: '1.3.101.112', bits: 255, isInWebCrypto: true, isEdwards: true },
] as const

/** Name of a supported curve, as WebCrypto or its standard spells it. */
export type CurveName = (typeof rows)[number]['name']

/** Properties of a curve. */
export interface Curve {
  readonly name: CurveName
  /** Object identifier. */
  readonly oid: string
  /** Length of a coordinate in bits. */
  readonly bits: number
  /** Length of a coordinate in bytes. */
  readonly fieldBytes: number
  /** True if WebCrypto defines it. A platform may still lack it. */
  readonly isInWebCrypto: boolean
  /** True for the Edwards form of EdDSA, false for the Weierstrass form of ECDSA and ECDH. */
  readonly isEdwards: boolean
}

/** The supported curves. */
export const curves: readonly Curve[] = /* @__PURE__ */ rows.map((row) => ({
  isInWebCrypto: false,
  isEdwards: false,
  fieldBytes: Math.ceil(row.bits / 8),
  ...row,
}))

/** Returns the curve with this object identifier, or undefined if it is not supported. */
export function curveOfOid(oid: string): Curve | undefined {
  return curves.find((curve) => curve.oid === oid)
}

/**
 * Returns the curve of an OBJECT IDENTIFIER in DER, as in ECParameters and CKA_EC_PARAMS, or undefined if it is not
 * supported.
 */
export function curveOfParameters(der: Uint8Array): Curve | undefined {
  return curves.find(({ oid }) => equalBytes(encodeOid(oid), viewOf(der)))
}
