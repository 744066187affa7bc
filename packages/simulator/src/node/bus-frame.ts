/** The frames between the bus and the preload library: u32 length, u8 type, u32 id, payload, least significant byte first. */
import { dataViewOf } from '../bytes.ts'

/** What the kernel's usbfs answers (errno.h of Linux), as positive numbers. */
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

/** The operations of a request frame; the preload library has the same list. */
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

/** One frame, either way. */
export interface BusFrame {
  readonly type: string
  readonly id: number
  readonly payload: Uint8Array
}

/** The longest payload taken; more is no frame of ours. */
export const maxFrameBytes: number = 64 << 20

/** A frame as bytes. */
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

/** Numbers as the payload of an answer: signed, 32 bits each. */
export function int32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = dataViewOf(bytes)
  values.forEach((value, i) => {
    view.setInt32(4 * i, value, true)
  })
  return bytes
}

/** Cuts a stream into frames, however it arrives; throws RangeError at a length that no frame has. */
export class FrameReader {
  #chunks: Uint8Array[] = []
  #waitingBytes = 0

  /** Takes what came; gives the frames that are whole now. */
  push(chunk: Uint8Array): BusFrame[] {
    this.#chunks.push(chunk)
    this.#waitingBytes += chunk.length
    const frames: BusFrame[] = []
    for (;;) {
      if (this.#waitingBytes < 4) return frames
      const head = this.#first(4)
      const length = dataViewOf(head).getUint32(0, true)
      if (length < 5 || length - 5 > maxFrameBytes) throw new RangeError(`No frame is ${length} bytes long.`)
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

  // Joins chunks only until the first holds this many bytes, so that a long frame is not copied once per chunk.
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
