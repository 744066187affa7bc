/** The 8-byte encoding of PIN and PUK (SP 800-73-4 part 2, 2.4.3). */

/** Returns true if the bytes are 6 to 8 digits padded with FF to 8 bytes. */
export function isPinFormat(bytes: Uint8Array): boolean {
  if (bytes.length !== 8) return false
  const filling = bytes.indexOf(0xff)
  const length = filling === -1 ? 8 : filling
  const digits = bytes.subarray(0, length).every((byte) => byte >= 0x30 && byte <= 0x39)
  return length >= 6 && digits && bytes.subarray(length).every((byte) => byte === 0xff)
}

/** Encodes a PIN or PUK in 8 bytes. Throws RangeError if it is longer. */
export function pinBlock(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length > 8) throw new RangeError('A PIN or PUK of a PIV card has at most 8 characters.')
  const block = new Uint8Array(8).fill(0xff)
  block.set(bytes)
  return block
}
