/**
 * Byte helpers of the simulator: hex, base64, concatenation, integers, randomness. They are not shared with the driver,
 * because shared code would only agree with itself.
 */

/** Decodes hex digits. White space is ignored. Throws RangeError for anything else. */
export function fromHex(hex: string): Uint8Array {
  const digits = hex.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits))
    throw new RangeError('The string is not a sequence of hex bytes.')
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** Encodes bytes as lower-case hex without separators. */
export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** Returns a DataView over the same bytes, without copying them. */
export function dataViewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Copies bytes into a new buffer. Works for a Node Buffer too, whose `slice` returns a view of the same memory. */
export function copyOf(source: ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  const view = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)
  return new Uint8Array(view)
}

/** Decodes base64 with the platform's `atob`. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

/** Encodes bytes as base64 with the platform's `btoa`. */
export function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

/** Concatenates byte arrays and single bytes into a new array. */
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

/** Encodes a 16-bit integer in little-endian order. */
export function uint16le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff)
}

/** Encodes a 32-bit integer in little-endian order. */
export function uint32le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff)
}

/** Reads an unsigned 16-bit little-endian integer. Bytes past the end count as 0. */
export function readUint16le(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8)
}

/** Reads an unsigned 32-bit little-endian integer. Bytes past the end count as 0. */
export function readUint32le(bytes: Uint8Array, offset: number): number {
  return (readUint16le(bytes, offset) | (readUint16le(bytes, offset + 2) << 16)) >>> 0
}

/** Returns true if both arrays hold the same bytes. Not constant-time, so only for public data. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** Reads an unsigned big-endian integer. */
export function toInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

/** Encodes an unsigned big-endian integer in exactly `length` bytes. Throws RangeError if it is longer. */
export function fromInteger(value: bigint, length: number): Uint8Array {
  const digits = value.toString(16)
  if (digits.length > 2 * length) throw new RangeError(`The integer does not fit in ${length} bytes.`)
  return fromHex(digits.padStart(2 * length, '0'))
}

/** Returns `length` random bytes for a virtual card. */
export type RandomSource = (length: number) => Uint8Array

/** Random bytes from the platform's `crypto.getRandomValues`. */
export const platformRandom: RandomSource = (length) =>
  globalThis.crypto.getRandomValues(new Uint8Array(length))
