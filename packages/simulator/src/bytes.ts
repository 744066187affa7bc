/** Bytes of the simulator's own, shared with no driver on purpose: hex, base64, joining, numbers of either byte order, randomness. */

/** Reads hex digits, blanks between them allowed; throws RangeError on anything else. */
export function fromHex(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new RangeError('Not a string of hex bytes.')
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** Lower-case hex without separators. */
export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** A DataView over the same bytes. */
export function dataViewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A copy that shares nothing with the source, also of a Node Buffer, whose `slice` is a view. */
export function copyOf(source: ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  const view = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)
  return new Uint8Array(view)
}

/** Reads base64 by the platform's own `atob`. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

/** Writes base64 by the platform's own `btoa`. */
export function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

/** Joins byte strings and single bytes into a new array. */
export function join(...parts: readonly (Uint8Array | readonly number[] | number)[]): Uint8Array {
  let length = 0
  for (const part of parts) length += typeof part === 'number' ? 1 : part.length
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    if (typeof part === 'number') whole[at++] = part
    else {
      whole.set(part, at)
      at += part.length
    }
  }
  return whole
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

/** Reads an unsigned big-endian integer. */
export function toInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

/** Writes an unsigned big-endian integer in exactly `length` bytes. */
export function fromInteger(value: bigint, length: number): Uint8Array {
  const digits = value.toString(16)
  if (digits.length > 2 * length) throw new RangeError('The integer does not fit its field.')
  return fromHex(digits.padStart(2 * length, '0'))
}

/** Where a virtual card takes its randomness from. */
export type RandomSource = (length: number) => Uint8Array

/** The platform's randomness. */
export const platformRandom: RandomSource = (length) =>
  globalThis.crypto.getRandomValues(new Uint8Array(length))
