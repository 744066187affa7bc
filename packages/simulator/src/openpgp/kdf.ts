/** Derived PINs (DO F9; OpenPGP card application 3.4, 4.3.2) with the iterated and salted S2K of RFC 4880, 3.7.1.3. */
import { copyOf, fromHex, join, sameBytes } from '../bytes.ts'
import { readObjects, tlv } from '../iso7816/tlv.ts'

/** The hash with which the terminal derives PINs. */
export type KdfHash = 'sha256' | 'sha512'

/** The PIN for which a salt is used. */
export type KdfSalt = 'pin' | 'resettingCode' | 'adminPin'

/** The derivation parameters in DO F9. */
export interface Kdf {
  readonly hash: KdfHash
  /** Number of bytes to hash. It is not the number of rounds. */
  readonly hashedBytes: number
  /** A PIN without its own salt uses the salt `pin`. */
  readonly salts: { readonly pin: Uint8Array } & Readonly<Partial<Record<KdfSalt, Uint8Array>>>
}

const hashes = { sha256: { number: 0x08, bytes: 32 }, sha512: { number: 0x0a, bytes: 64 } } as const
const hashNames = { sha256: 'SHA-256', sha512: 'SHA-512' } as const

/** Returns the parameters of a new card, with one salt for all PINs or three salts. */
export function defaultKdf(hash: KdfHash, salts: 1 | 3): Kdf {
  const pin = fromHex('3031323334353637')
  const others = { resettingCode: fromHex('3132333435363738'), adminPin: fromHex('3233343536373839') }
  return { hash, hashedBytes: 100_000, salts: salts === 1 ? { pin } : { pin, ...others } }
}

/** DO F9 of a card without PIN derivation. */
export const noKdf: Uint8Array = tlv(0x81, 0x00)

/** Derives a PIN: the hash over salt and PIN, repeated up to `hashedBytes`. */
export async function derivedPin(kdf: Kdf, salt: KdfSalt, pin: Uint8Array): Promise<Uint8Array> {
  const once = join(kdf.salts[salt] ?? kdf.salts.pin, pin)
  const hashed = new Uint8Array(Math.max(kdf.hashedBytes, once.length))
  for (let at = 0; at < hashed.length; at += once.length) hashed.set(once.subarray(0, hashed.length - at), at)
  return new Uint8Array(await globalThis.crypto.subtle.digest(hashNames[kdf.hash], copyOf(hashed)))
}

/** Encodes DO F9 with the initial derived PIN and admin PIN. */
export function kdfObject(kdf: Kdf, pin: Uint8Array, adminPin: Uint8Array): Uint8Array {
  const { hash, hashedBytes, salts } = kdf
  const count = [24, 16, 8, 0].map((shift) => (hashedBytes >>> shift) & 0xff)
  return join(
    tlv(0x81, 0x03),
    tlv(0x82, hashes[hash].number),
    tlv(0x83, ...count),
    tlv(0x84, salts.pin),
    salts.resettingCode ? tlv(0x85, salts.resettingCode) : [],
    salts.adminPin ? tlv(0x86, salts.adminPin) : [],
    tlv(0x87, pin),
    tlv(0x88, adminPin),
  )
}

/** Parses DO F9. Returns 'none' if it disables derivation, the initial derived PINs, or undefined if it is malformed. */
export function readKdf(
  bytes: Uint8Array,
): 'none' | { readonly pin: Uint8Array; readonly adminPin: Uint8Array } | undefined {
  if (sameBytes(bytes, noKdf)) return 'none'
  const parts = readObjects(bytes) ?? []
  const part = (tag: number): Uint8Array | undefined => parts.find((object) => object.tag === tag)?.value
  const known = Object.values(hashes).find(({ number }) => part(0x82)?.[0] === number)
  const pin = part(0x87)
  const adminPin = part(0x88)
  // 85 and 86 are absent if one salt is used for all PINs.
  const saltsFit = [0x84, 0x85, 0x86].every((tag) => (part(tag)?.length ?? (tag === 0x84 ? 0 : 8)) === 8)
  if (part(0x81)?.[0] !== 0x03 || part(0x83)?.length !== 4 || known === undefined || !saltsFit)
    return undefined
  return pin?.length === known.bytes && adminPin?.length === known.bytes ? { pin, adminPin } : undefined
}
