/** A file in pieces: the next one is fetched while the last one is worked at, so two are alive, never more. */
import type { Chunks } from './chunks.ts'

/** The part of `Blob` (and `File`) that we use. */
export interface BlobLike {
  readonly size: number
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> }
  /** Read into buffers of ours where the platform can do that. */
  stream?(): unknown
}

/** Long enough that reading costs little. */
const PIECE_BYTES = 0x20_0000

/** Begins to read the file. */
export function blobChunks(blob: BlobLike): Chunks {
  const reader = fillingReader(blob)
  return reader === undefined ? slices(blob) : filled(reader)
}

/** What fills a buffer that it is given (ReadableStreamBYOBReader). */
interface FillingReader {
  read(view: Uint8Array<ArrayBuffer>): Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> | undefined }>
  cancel(): Promise<void>
}

function fillingReader(blob: BlobLike): FillingReader | undefined {
  try {
    const stream = blob.stream?.() as { getReader(options: { mode: 'byob' }): FillingReader } | undefined
    return stream?.getReader({ mode: 'byob' })
  } catch {
    // A platform whose file streams fill no buffers.
    return undefined
  }
}

/** Two buffers take turns, and no garbage is left however long the file is. */
function filled(reader: FillingReader): Chunks {
  const spare = [new ArrayBuffer(PIECE_BYTES), new ArrayBuffer(PIECE_BYTES)]
  const fetch = (): ReturnType<FillingReader['read']> =>
    awaitedLater(reader.read(new Uint8Array(spare.pop() ?? new ArrayBuffer(PIECE_BYTES))))
  let coming = fetch()
  let lent: ArrayBuffer | undefined
  return {
    next: async () => {
      if (lent !== undefined) spare.push(lent)
      lent = undefined
      const { done, value } = await coming
      if (done || value === undefined) return { done: true }
      // The reader has given back the whole buffer that it was lent.
      // oxlint-disable-next-line no-restricted-properties
      lent = value.buffer
      coming = fetch()
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
  let coming = fetch()
  return {
    next: async () => {
      if (coming === undefined) return { done: true }
      const value = new Uint8Array(await coming)
      coming = fetch()
      return { done: false, value }
    },
    stop: () => {},
  }
}

/** Who waits for it comes later; its failure must not be nobody's until then. */
function awaitedLater<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  return work
}
