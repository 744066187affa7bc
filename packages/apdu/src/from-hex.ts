/** Hex as bytes. Apart from `bytes.ts`, which every page loads: none needs this to log a person in. */

/** Reads hex digits, blanks between them allowed. Throws RangeError on anything else. */
export function fromHex(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new RangeError('Not a string of hex bytes.')
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}
