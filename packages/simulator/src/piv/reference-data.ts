/** How a PIN or PUK is written into its 8 bytes (SP 800-73-4 part 2 §2.4.3). */

/** Whether these are 6 to 8 digits filled up with FF to 8 bytes (SP 800-73-4 part 2 §2.4.3). */
export function isPinFormat(bytes: Uint8Array): boolean {
  if (bytes.length !== 8) return false
  const filling = bytes.indexOf(0xff)
  const length = filling === -1 ? 8 : filling
  const digits = bytes.subarray(0, length).every((byte) => byte >= 0x30 && byte <= 0x39)
  return length >= 6 && digits && bytes.subarray(length).every((byte) => byte === 0xff)
}

/** Writes a PIN or PUK given as text into its 8 bytes. */
export function pinBlock(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length > 8) throw new RangeError('A PIN has at most 8 characters.')
  const block = new Uint8Array(8).fill(0xff)
  block.set(bytes)
  return block
}
