/**
 * Application related data (6E) of an OpenPGP card: its AID, PIN status and key attributes (OpenPGP card 3.4, 4.2.1,
 * 4.4.1, 4.4.3).
 */
import { concatBytes, equalBytes, fromHex, toHex } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv } from '../tlv.ts'

/** The use of each of the three keys. */
export type OpenPgpKeyUse = 'signature' | 'decryption' | 'authentication'

/** The key uses in the order of the specification. */
export const openPgpKeyUses: readonly OpenPgpKeyUse[] = ['signature', 'decryption', 'authentication']

/** AID for SELECT: registered application provider and application number. */
export const openPgpAid: Uint8Array = /* @__PURE__ */ fromHex('d27600012401')

/** Algorithm attributes (C1 to C3). */
export type OpenPgpAlgorithm =
  | { readonly type: 'rsa'; readonly modulusBits: number }
  /** ECDSA or ECDH. `curve` is the content of the curve's object identifier, in hex. */
  | { readonly type: 'ec'; readonly curve: string }
  /** EdDSA and all others, by their number in RFC 4880. */
  | { readonly type: 'other'; readonly number: number }

/** What the card reports about one of its keys, even if that key does not exist. */
export interface OpenPgpKeyData {
  readonly algorithm: OpenPgpAlgorithm
  /** 20 bytes; undefined if none was written. */
  readonly fingerprint: Uint8Array | undefined
  /** Whether each use requires a touch (D6 to D8). Undefined if the card does not report it in 6E. */
  readonly touch: boolean | undefined
}

/** Decoded content of 6E. */
export interface OpenPgpApplicationData {
  /** The whole AID, 16 bytes: it contains version, manufacturer and serial number. */
  readonly aid: Uint8Array
  /** Version of the specification, such as '3.4'. */
  readonly version: string
  readonly manufacturer: number
  /** Eight hex digits. */
  readonly serialNumber: string
  /** True if the card supports derived PINs; F9 then states whether it requires them. */
  readonly hasKdf: boolean
  /** True if PW1 with reference 81 is valid for one signature only. */
  readonly onePinPerSignature: boolean
  readonly maxPinBytes: number
  readonly keys: Readonly<Record<OpenPgpKeyUse, OpenPgpKeyData>>
}

const RSA = 0x01
const ECDH = 0x12
const ECDSA = 0x13
const FINGERPRINT_BYTES = 20
const nothing = new Uint8Array(0)

/**
 * Decodes 6E, with or without its header. Returns undefined if it belongs to another application. Throws MalformedError if
 * it belongs to OpenPGP and cannot be decoded.
 */
export function decodeApplicationData(bytes: Uint8Array): OpenPgpApplicationData | undefined {
  const whole = firstTlv(bytes, 0x6e)?.value ?? bytes
  const aid = firstTlv(whole, 0x4f)?.value
  if (aid === undefined || !equalBytes(aid.subarray(0, openPgpAid.length), openPgpAid)) return undefined
  if (aid.length !== 16) throw malformed(`an AID of ${aid.length} bytes instead of 16`)
  const discretionary = firstTlv(whole, 0x73)?.value ?? whole
  const part = (tag: number): Uint8Array | undefined => firstTlv(discretionary, tag)?.value
  const [capabilities = 0] = part(0xc0) ?? []
  const pinStatus = part(0xc4) ?? nothing
  // Bit 8 states that PIN block format 2 is supported.
  const maxPinBytes = (pinStatus[1] ?? 0) & 0x7f
  if (maxPinBytes === 0) throw malformed(`a PW status of ${pinStatus.length} bytes`)
  const key = (at: number): OpenPgpKeyData => ({
    algorithm: decodeAlgorithm(part(0xc1 + at) ?? nothing),
    fingerprint: fingerprintAt(part(0xc5) ?? nothing, at),
    touch: touchOf(part(0xd6 + at)),
  })
  return {
    aid: concatBytes(aid),
    version: `${aid[6]}.${aid[7]}`,
    manufacturer: ((aid[8] ?? 0) << 8) | (aid[9] ?? 0),
    serialNumber: toHex(aid.subarray(10, 14)),
    hasKdf: (capabilities & 0x01) !== 0,
    onePinPerSignature: pinStatus[0] === 0,
    maxPinBytes,
    keys: { signature: key(0), decryption: key(1), authentication: key(2) },
  }
}

function decodeAlgorithm(attributes: Uint8Array): OpenPgpAlgorithm {
  const [number = 0, high = 0, low = 0] = attributes
  if (number === RSA) return { type: 'rsa', modulusBits: (high << 8) | low }
  if (number !== ECDSA && number !== ECDH) return { type: 'other', number }
  // A trailing FF states that a private key is imported together with its public key (4.4.3.10).
  const end = attributes.at(-1) === 0xff ? -1 : undefined
  return { type: 'ec', curve: toHex(attributes.subarray(1, end)) }
}

function fingerprintAt(all: Uint8Array, at: number): Uint8Array | undefined {
  const own = all.slice(at * FINGERPRINT_BYTES, (at + 1) * FINGERPRINT_BYTES)
  return own.length === FINGERPRINT_BYTES && own.some((byte) => byte !== 0) ? own : undefined
}

function touchOf(policy: Uint8Array | undefined): boolean | undefined {
  return policy?.[0] === undefined ? undefined : policy[0] !== 0
}

function malformed(what: string): MalformedError {
  return new MalformedError('application related data', what)
}
