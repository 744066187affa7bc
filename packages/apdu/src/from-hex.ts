/** Parses hex. Separate from `bytes.ts`, because every page loads that one and no login needs this one. */

/**
 * Parses hex; white space between the digits is ignored. Throws RangeError for other characters or an odd number of
 * digits.
 */
export function fromHex(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new RangeError('The text is not hex.')
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}
