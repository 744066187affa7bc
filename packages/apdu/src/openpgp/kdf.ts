/**
 * PINs in derived form (F9): iterated and salted S2K over salt and PIN (OpenPGP card 3.4, 4.3.2; RFC 4880, 3.7.1.3). A card
 * that wants them refuses the right PIN if it is sent as it is, and counts it as wrong.
 */
import { concatBytes, viewOf } from '../bytes.ts'
import { MalformedError } from '../errors.ts'
import { firstTlv } from '../tlv.ts'

/** A hash that takes its data in parts, as those of `@noble/hashes` do. */
export interface PinHash {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array
}

/** Makes the hash that the card wants; this package has none of its own. */
export type PinHashes = (name: 'SHA-256' | 'SHA-512') => PinHash | Promise<PinHash>

/** How the card wants its PIN derived. */
export interface Kdf {
  readonly hash: 'SHA-256' | 'SHA-512'
  /** How many bytes are hashed; not rounds. */
  readonly hashedBytes: number
  readonly salt: Uint8Array
}

/** The most that RFC 4880's own coded count can say. */
const MAX_HASHED_BYTES = 65_011_712
/** So many times salt and PIN are handed over at once. */
const COPIES_AT_ONCE = 256

/** Reads F9 for PW1; 'none': PINs are sent as they are. Throws MalformedError for a derivation that is not known here. */
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
  if (count?.length !== 4 || salt?.length !== 8) throw malformed('no count of 4 bytes, or no salt of 8')
  const hashedBytes = count.reduce((sum, byte) => sum * 0x100 + byte, 0)
  if (hashedBytes > MAX_HASHED_BYTES) throw malformed(`${hashedBytes} bytes to hash`)
  return { hash: number === 0x08 ? 'SHA-256' : 'SHA-512', hashedBytes, salt: salt.slice() }
}

/** What VERIFY sends in place of the PIN. */
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
    // Salt and PIN are hashed once at least.
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
