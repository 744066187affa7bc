/** Bytes of the simulator's own: hex, joining, and little-endian numbers as USB and CCID order them. */

/** Reads hex digits, blanks between them allowed; throws RangeError on anything else. */
export function bytesOf(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new RangeError('Not a string of hex bytes.')
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** Lower-case hex without separators. */
export function hexOf(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** Joins the parts into a new array. */
export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** A 16-bit number, least significant byte first. */
export function uint16le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff)
}

/** A 32-bit number, least significant byte first. */
export function uint32le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff)
}

/** Reads 16 bits, least significant byte first; bytes past the end count as 0. */
export function readUint16le(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8)
}

/** Reads 32 bits unsigned, least significant byte first; bytes past the end count as 0. */
export function readUint32le(bytes: Uint8Array, offset: number): number {
  return (readUint16le(bytes, offset) | (readUint16le(bytes, offset + 2) << 16)) >>> 0
}

/** Whether both hold the same bytes; for public bytes only. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
