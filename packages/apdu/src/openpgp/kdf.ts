/**
 * Derived PINs (F9): iterated and salted S2K over salt and PIN (OpenPGP card 3.4, 4.3.2; RFC 4880, 3.7.1.3). A card that
 * requires them refuses the right PIN if it is sent in plain form, and counts it as a failed attempt.
 */
import { concatBytes, viewOf } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv } from '../tlv.ts'

/** An incremental hash, such as those of `@noble/hashes`. */
export interface PinHash {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array
}

/** Creates the hash that the card requires. The caller supplies it, because this package contains no hash. */
export type PinHashes = (name: 'SHA-256' | 'SHA-512') => PinHash | Promise<PinHash>

/** Parameters of the PIN derivation. */
export interface Kdf {
  readonly hash: 'SHA-256' | 'SHA-512'
  /** Number of bytes to hash; not a number of rounds. */
  readonly hashedBytes: number
  readonly salt: Uint8Array
}

/** The largest value of the coded count in RFC 4880. */
const MAX_HASHED_BYTES = 65_011_712
/** Number of copies of salt and PIN per call of `update`. */
const COPIES_AT_ONCE = 256

/** Decodes F9 for PW1. Returns 'none' if PINs are sent in plain form. Throws MalformedError for an unknown derivation. */
export function decodeKdf(bytes: Uint8Array): Kdf | 'none' {
  const parts = firstTlv(bytes, 0xf9)?.value ?? viewOf(bytes)
  if (parts.length === 0) return 'none'
  const part = (tag: number): Uint8Array | undefined => firstTlv(parts, tag)?.value
  const algorithm = part(0x81)?.[0]
  if (algorithm === 0) return 'none'
  if (algorithm !== 3) throw malformed(`algorithm ${algorithm ?? 'absent'}`)
  const number = part(0x82)?.[0]
  if (number !== 0x08 && number !== 0x0a) throw malformed(`hash ${number ?? 'absent'}`)
  const count = part(0x83)
  const salt = part(0x84)
  if (count?.length !== 4 || salt?.length !== 8) throw malformed('no count of 4 bytes or no salt of 8 bytes')
  const hashedBytes = count.reduce((sum, byte) => sum * 0x100 + byte, 0)
  if (hashedBytes > MAX_HASHED_BYTES) throw malformed(`${hashedBytes} bytes to hash`)
  return { hash: number === 0x08 ? 'SHA-256' : 'SHA-512', hashedBytes, salt: salt.slice() }
}

/** Derives the data field of VERIFY from the PIN. Temporary copies of the PIN are overwritten. */
export async function derivePin(
  { hash, hashedBytes, salt }: Kdf,
  pin: Uint8Array,
  hashes: PinHashes,
): Promise<Uint8Array> {
  const hasher = await hashes(hash)
  const once = concatBytes(salt, pin)
  const block = new Uint8Array(once.length * COPIES_AT_ONCE)
  for (let at = 0; at < block.length; at += once.length) block.set(once, at)
  try {
    // Salt and PIN are hashed at least once.
    let left = Math.max(hashedBytes, once.length)
    for (; left >= block.length; left -= block.length) hasher.update(block)
    hasher.update(block.subarray(0, left))
    return hasher.digest()
  } finally {
    once.fill(0)
    block.fill(0)
  }
}

function malformed(what: string): MalformedError {
  return new MalformedError('KDF object', `${what}; no PIN was sent`)
}
