/**
 * The elliptic curves: FIPS 186-5 and SP 800-186, SEC 2, RFC 5639, RFC 8032. A new curve is a row here and one in
 * `curve-arithmetic.ts`.
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
  // The identifier is that of the algorithm (RFC 8410, 3), which has one curve.
  { name: 'Ed25519', oid: '1.3.101.112', bits: 255, isInWebCrypto: true, isEdwards: true },
] as const

/** A curve that is known by name, as WebCrypto or its standard prints it. */
export type CurveName = (typeof rows)[number]['name']

/** What is known of a curve. */
export interface Curve {
  readonly name: CurveName
  readonly oid: string
  /** Of a coordinate. */
  readonly bits: number
  /** Bytes of a coordinate. */
  readonly fieldBytes: number
  /** WebCrypto names it; a platform may still lack it. */
  readonly isInWebCrypto: boolean
  /** EdDSA's form; else Weierstrass's, that of ECDSA and ECDH. */
  readonly isEdwards: boolean
}

/** All that are known here. */
export const curves: readonly Curve[] = /* @__PURE__ */ rows.map((row) => ({
  isInWebCrypto: false,
  isEdwards: false,
  fieldBytes: Math.ceil(row.bits / 8),
  ...row,
}))

/** The curve of an object identifier; undefined if it is not known here. */
export function curveOfOid(oid: string): Curve | undefined {
  return curves.find((curve) => curve.oid === oid)
}

/** The curve of an OBJECT IDENTIFIER in DER, as ECParameters and CKA_EC_PARAMS hold it; undefined if it is not known here. */
export function curveOfParameters(der: Uint8Array): Curve | undefined {
  return curves.find(({ oid }) => equalBytes(encodeOid(oid), viewOf(der)))
}
