/** Reads a file in pieces. The next piece is fetched while the current one is processed, so at most two are in memory. */
import type { Chunks } from './chunks.ts'

/** The part of `Blob` (and `File`) that Webtoki uses. */
export interface BlobLike {
  readonly size: number
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> }
  /** Its bytes are read into reused buffers if the platform supports that. */
  stream?(): unknown
}

/** Large enough that the overhead of each read does not matter. */
const PIECE_BYTES = 0x20_0000

/** Starts to read the file. */
export function blobChunks(blob: BlobLike): Chunks {
  const reader = fillingReader(blob)
  return reader === undefined ? slices(blob) : filled(reader)
}

/** The part of `ReadableStreamBYOBReader` used here: it fills the buffer that it is given. */
interface FillingReader {
  read(view: Uint8Array<ArrayBuffer>): Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> | undefined }>
  cancel(): Promise<void>
}

function fillingReader(blob: BlobLike): FillingReader | undefined {
  try {
    const stream = blob.stream?.() as { getReader(options: { mode: 'byob' }): FillingReader } | undefined
    return stream?.getReader({ mode: 'byob' })
  } catch {
    // The platform's file streams have no BYOB reader.
    return undefined
  }
}

/** Alternates between two buffers, so that a long file leaves no garbage. */
function filled(reader: FillingReader): Chunks {
  const spare = [new ArrayBuffer(PIECE_BYTES), new ArrayBuffer(PIECE_BYTES)]
  const fetch = (): ReturnType<FillingReader['read']> =>
    awaitedLater(reader.read(new Uint8Array(spare.pop() ?? new ArrayBuffer(PIECE_BYTES))))
  let pending = fetch()
  let lent: ArrayBuffer | undefined
  return {
    next: async () => {
      if (lent !== undefined) spare.push(lent)
      lent = undefined
      const { done, value } = await pending
      if (done || value === undefined) return { done: true }
      // The reader returns the whole buffer that it was given.
      // oxlint-disable-next-line no-restricted-properties
      lent = value.buffer
      pending = fetch()
      return { done, value }
    },
    stop: () => void reader.cancel().catch(() => {}),
  }
}

function slices(blob: BlobLike): Chunks {
  let at = 0
  const fetch = (): Promise<ArrayBuffer> | undefined => {
    if (at >= blob.size) return undefined
    const begin = at
    at = Math.min(begin + PIECE_BYTES, blob.size)
    return awaitedLater(blob.slice(begin, at).arrayBuffer())
  }
  let pending = fetch()
  return {
    next: async () => {
      if (pending === undefined) return { done: true }
      const value = new Uint8Array(await pending)
      pending = fetch()
      return { done: false, value }
    },
    stop: () => {},
  }
}

/** Prevents an "unhandled rejection" report if the work fails before the caller awaits it. */
function awaitedLater<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  return work
}
