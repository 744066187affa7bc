/**
 * The frames between the bus and the preload library (preload/wire.c): u32 length, u8 type, u32 id and payload,
 * little-endian.
 */
import { dataViewOf } from '../bytes.ts'

/** Error codes of the kernel's usbfs (Linux, errno.h), as positive numbers. */
export const Errno = {
  ENOENT: 2,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
  EPIPE: 32,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EREMOTEIO: 121,
} as const

/** The operations of a request frame. The preload library has the same list. */
export const Operation = {
  setConfiguration: 1,
  claim: 2,
  release: 3,
  setInterface: 4,
  reset: 5,
  clearHalt: 6,
  resetEndpoint: 7,
  getDriver: 8,
  close: 9,
} as const

/** A frame in either direction. */
export interface BusFrame {
  readonly type: string
  readonly id: number
  readonly payload: Uint8Array
}

/** Maximum length of a payload. */
export const maxFrameBytes: number = 64 << 20

/** Encodes a frame. */
export function encodeFrame(type: string, id: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const payloadBytes = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(9 + payloadBytes)
  const view = dataViewOf(bytes)
  view.setUint32(0, 5 + payloadBytes, true)
  view.setUint8(4, type.charCodeAt(0))
  view.setUint32(5, id, true)
  let at = 9
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Encodes signed 32-bit integers for the payload of a response. */
export function int32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = dataViewOf(bytes)
  values.forEach((value, i) => {
    view.setInt32(4 * i, value, true)
  })
  return bytes
}

/** Splits a stream into frames, regardless of how the stream is divided into chunks. */
export class FrameReader {
  #chunks: Uint8Array[] = []
  #waitingBytes = 0

  /** Adds a chunk and returns the frames that are complete. Throws RangeError for an invalid length. */
  push(chunk: Uint8Array): BusFrame[] {
    this.#chunks.push(chunk)
    this.#waitingBytes += chunk.length
    const frames: BusFrame[] = []
    for (;;) {
      if (this.#waitingBytes < 4) return frames
      const head = this.#first(4)
      const length = dataViewOf(head).getUint32(0, true)
      if (length < 5 || length - 5 > maxFrameBytes)
        throw new RangeError(`A frame on the virtual USB bus has the invalid length ${length}.`)
      if (this.#waitingBytes < 4 + length) return frames
      const bytes = this.#first(4 + length)
      const view = dataViewOf(bytes)
      frames.push({
        type: String.fromCharCode(view.getUint8(4)),
        id: view.getUint32(5, true),
        payload: bytes.slice(9, 4 + length),
      })
      this.#chunks[0] = bytes.subarray(4 + length)
      this.#waitingBytes -= 4 + length
    }
  }

  // Joins the chunks only if the first one is too short, so that a long frame is not copied once for each chunk.
  #first(bytes: number): Uint8Array {
    const first = this.#chunks[0] as Uint8Array
    if (first.length >= bytes) return first
    const all = new Uint8Array(this.#waitingBytes)
    let at = 0
    for (const chunk of this.#chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    this.#chunks = [all]
    return all
  }
}
