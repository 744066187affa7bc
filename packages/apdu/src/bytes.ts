/** Bytes: whatever holds them, copies, hex, joining and comparing. */

export { fromHex } from './from-hex.ts'

/** What holds bytes: WebIDL's BufferSource. Of this realm or another (an iframe's array is not our `Uint8Array`). */
export type ByteSource = ArrayBuffer | ArrayBufferView

/** Whether the value holds bytes, of whatever realm it is. */
export function isByteSource(value: unknown): value is ByteSource {
  if (ArrayBuffer.isView(value)) return true
  try {
    // Looks at the internal slot: neither a name nor a prototype can be wrong about it.
    return typeof value === 'object' && value !== null && new DataView(value as ArrayBuffer).byteLength >= 0
  } catch {
    return false
  }
}

/**
 * The same bytes as a plain Uint8Array, not copied: exactly the source's own, however large the buffer is in which it
 * lies. Throws TypeError if the source holds no bytes or was transferred away.
 */
export function viewOf(source: ByteSource): Uint8Array<ArrayBuffer> {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(new DataView(source).buffer)
  return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
}

/** The same bytes as a DataView, not copied. Throws TypeError if the source holds no bytes or was transferred away. */
export function dataViewOf(source: ByteSource): DataView<ArrayBuffer> {
  if (!ArrayBuffer.isView(source)) return new DataView(source)
  return new DataView(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
}

/**
 * A copy that shares nothing with the source, and whose `buffer` holds these bytes and no others. `slice` promises
 * neither: a Node Buffer's gives a view, in a pool of 8 KiB that other code uses too. Throws TypeError if the source
 * holds no bytes or was transferred away.
 */
export function copyOf(source: ByteSource): Uint8Array<ArrayBuffer> {
  return new Uint8Array(viewOf(source))
}

/** A copy as an ArrayBuffer that holds these bytes and no others. Throws TypeError as `copyOf` does. */
export function bufferOf(source: ByteSource): ArrayBuffer {
  return copyOf(source).buffer
}

/** Lower-case hex without separators. */
export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** Joins the parts into a new array. */
export function concatBytes(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  // An ArrayBuffer has no length, and the result would be empty.
  if (Number.isNaN(length)) throw new TypeError('Not an array of bytes.')
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** Not constant-time: for public bytes only. Throws TypeError for anything but arrays of bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  // Two ArrayBuffers have no length, and would be equal.
  if (a.length === undefined || b.length === undefined) throw new TypeError('Not an array of bytes.')
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** The bytes as a key of a Map: one character a byte. */
export function keyOf(source: Uint8Array): string {
  // An ArrayBuffer has no length, and all would have one key.
  const bytes = viewOf(source)
  let key = ''
  // As arguments of one call, more would overflow the stack; spread, they would take six times as long.
  for (let at = 0; at < bytes.length; at += 4096)
    key += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + 4096)) as string
  return key
}
