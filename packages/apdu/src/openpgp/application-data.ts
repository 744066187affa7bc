/** Application related data (6E) of an OpenPGP card: what it is and what its keys are (OpenPGP card 3.4, 4.2.1, 4.4.1, 4.4.3). */
import { concatBytes, equalBytes, fromHex, toHex } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv } from '../tlv.ts'

/** What each of the three keys is for. */
export type OpenPgpKeyUse = 'signature' | 'decryption' | 'authentication'

/** The uses in the order of the specification. */
export const openPgpKeyUses: readonly OpenPgpKeyUse[] = ['signature', 'decryption', 'authentication']

/** Registered application provider and application: what SELECT names. */
export const openPgpAid: Uint8Array = /* @__PURE__ */ fromHex('d27600012401')

/** Algorithm attributes (C1 to C3). */
export type OpenPgpAlgorithm =
  | { readonly type: 'rsa'; readonly modulusBits: number }
  /** ECDSA or ECDH; the curve's object identifier, its content bytes in hex. */
  | { readonly type: 'ec'; readonly curve: string }
  /** EdDSA and what is not known here; its number in RFC 4880. */
  | { readonly type: 'other'; readonly number: number }

/** What the card tells of one of its keys, whether it is there or not. */
export interface OpenPgpKeyData {
  readonly algorithm: OpenPgpAlgorithm
  /** 20 bytes; undefined: none was written. */
  readonly fingerprint: Uint8Array | undefined
  /** Whether each use waits for a touch (D6 to D8); undefined: the card does not tell here. */
  readonly touch: boolean | undefined
}

/** What 6E tells. */
export interface OpenPgpApplicationData {
  /** The whole AID, 16 bytes: version, manufacturer and serial number are in it. */
  readonly aid: Uint8Array
  /** Such as '3.4'. */
  readonly version: string
  readonly manufacturer: number
  /** Eight hex digits. */
  readonly serialNumber: string
  /** The card may want PINs in derived form: F9 says so. */
  readonly hasKdf: boolean
  /** PW1 with reference 81 is good for one signature only. */
  readonly onePinPerSignature: boolean
  readonly maxPinBytes: number
  readonly keys: Readonly<Record<OpenPgpKeyUse, OpenPgpKeyData>>
}

const RSA = 0x01
const ECDH = 0x12
const ECDSA = 0x13
const FINGERPRINT_BYTES = 20
const nothing = new Uint8Array(0)

/** undefined: it is of another application. Throws MalformedError if it is OpenPGP's and cannot be read. */
export function decodeApplicationData(bytes: Uint8Array): OpenPgpApplicationData | undefined {
  const whole = firstTlv(bytes, 0x6e)?.value ?? bytes
  const aid = firstTlv(whole, 0x4f)?.value
  if (aid === undefined || !equalBytes(aid.subarray(0, openPgpAid.length), openPgpAid)) return undefined
  if (aid.length !== 16) throw malformed(`an AID of ${aid.length} bytes`)
  const discretionary = firstTlv(whole, 0x73)?.value ?? whole
  const part = (tag: number): Uint8Array | undefined => firstTlv(discretionary, tag)?.value
  const [capabilities = 0] = part(0xc0) ?? []
  const pinStatus = part(0xc4) ?? nothing
  // Bit 8 says that PIN block format 2 may be used.
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
  // FF at the end says that a private key is imported with its public one (4.4.3.10).
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
