/** Byte sources of any realm: views, copies, hex, concatenation and comparison. */

export { fromHex } from './from-hex.ts'

/** WebIDL's BufferSource, from this realm or another: an array made in an iframe is not an instance of our `Uint8Array`. */
export type ByteSource = ArrayBuffer | ArrayBufferView

/** Returns true for an ArrayBuffer or a view of one, from any realm. */
export function isByteSource(value: unknown): value is ByteSource {
  if (ArrayBuffer.isView(value)) return true
  try {
    // DataView checks the internal slot, which neither a name nor a prototype can fake.
    return typeof value === 'object' && value !== null && new DataView(value as ArrayBuffer).byteLength >= 0
  } catch {
    return false
  }
}

/**
 * Returns a plain Uint8Array over the same memory, without copying. It covers the source's bytes only, even if the
 * underlying buffer is larger. Throws TypeError if the source holds no bytes or its buffer was transferred.
 */
export function viewOf(source: ByteSource): Uint8Array<ArrayBuffer> {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(new DataView(source).buffer)
  return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
}

/** Returns a DataView over the same memory, without copying. Throws TypeError as `viewOf` does. */
export function dataViewOf(source: ByteSource): DataView<ArrayBuffer> {
  if (!ArrayBuffer.isView(source)) return new DataView(source)
  return new DataView(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
}

/**
 * Returns a copy that shares no memory with the source and whose `buffer` holds exactly these bytes. `slice` guarantees
 * neither: on a Node Buffer it returns a view of an 8 KiB pool that other code uses too. Throws TypeError as `viewOf` does.
 */
export function copyOf(source: ByteSource): Uint8Array<ArrayBuffer> {
  return new Uint8Array(viewOf(source))
}

/** Returns a copy as an ArrayBuffer that holds exactly these bytes. Throws TypeError as `viewOf` does. */
export function bufferOf(source: ByteSource): ArrayBuffer {
  return copyOf(source).buffer
}

/** Formats bytes as lower-case hex without separators. */
export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** Joins the parts into a new array. Throws TypeError if a part has no length. */
export function concatBytes(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  // An ArrayBuffer has no `length`. Without this check the result would be empty.
  if (Number.isNaN(length)) throw new TypeError('Not an array of bytes.')
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** Compares public bytes. Not constant-time, so not for secrets. Throws TypeError if an argument has no length. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  // An ArrayBuffer has no `length`. Without this check any two would be equal.
  if (a.length === undefined || b.length === undefined) throw new TypeError('Not an array of bytes.')
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Returns the bytes as a string that can be the key of a Map, one character per byte. */
export function keyOf(source: Uint8Array): string {
  // An ArrayBuffer has no `length`. Without `viewOf` all of them would have the same key.
  const bytes = viewOf(source)
  let key = ''
  // More arguments at once overflow the stack. Spreading them takes six times as long as Reflect.apply.
  for (let at = 0; at < bytes.length; at += 4096)
    key += Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, at + 4096)) as string
  return key
}
