/** Public keys in the response to GENERATE ASYMMETRIC KEY PAIR: OpenPGP card 3.4, 7.2.14. */
import { MalformedError } from '../errors.ts'
import { firstTlv } from '../tlv.ts'

/** A public key. The algorithm attributes name the curve of a point. */
export type OpenPgpPublicKey =
  /** Big-endian numbers without leading zeros. */
  | { readonly type: 'rsa'; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  /** 04, x, y; for Ed25519 and X25519 32 bytes. */
  | { readonly type: 'ec'; readonly point: Uint8Array }

/** Decodes 7F49. Throws MalformedError. */
export function decodePublicKey(bytes: Uint8Array): OpenPgpPublicKey {
  const template = firstTlv(bytes, 0x7f49)?.value
  if (template === undefined) throw malformed('no 7F49')
  const point = firstTlv(template, 0x86)?.value
  if (point !== undefined) return { type: 'ec', point: point.slice() }
  const [modulus, exponent] = [0x81, 0x82].map((tag) => magnitude(firstTlv(template, tag)?.value))
  if (!modulus?.length || !exponent?.length) throw malformed('neither a point nor an RSA key')
  return { type: 'rsa', modulus, exponent }
}

function magnitude(number: Uint8Array | undefined): Uint8Array | undefined {
  const start = number?.findIndex((byte) => byte !== 0)
  return start === undefined || start < 0 ? undefined : number?.slice(start)
}

function malformed(what: string): MalformedError {
  return new MalformedError('public key from the card', what)
}
