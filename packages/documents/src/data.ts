/** Documents as they come: whole, as a file, or as a stream; read in pieces, never kept. */
import { type ByteSource, copyOf, isByteSource } from '@webtoki/apdu/bytes'
import {
  blobChunks,
  type BlobLike,
  type Chunks,
  claimSource,
  freshnessOf,
  type ReadableStreamLike,
  type SourceFault,
  stepsOf,
} from '@webtoki/apdu/source'
import type { SignSignal } from '@webtoki/trust'
import { DocumentError } from './errors.ts'

export type { BlobLike } from '@webtoki/apdu/source'

/** The part of `ReadableStream` that we use. */
export type StreamLike = ReadableStreamLike

/**
 * A document's bytes. An array counts as it is at the call. A stream or an iterator can be read once; one that was read
 * before, here or by others, is refused with DocumentError 'already-read', and so is an iterator that gives nothing:
 * one that was read to its end looks the same.
 */
export type DocumentData = ByteSource | BlobLike | AsyncIterable<Uint8Array> | StreamLike

/** Who is told how far the reading is. */
export interface ProgressOptions {
  /** Told after each piece. */
  readonly onProgress?: ((progress: ReadProgress) => void) | undefined
}

/** Options of whatever reads a document. */
export interface ReadOptions extends ProgressOptions {
  readonly signal?: SignSignal | undefined
}

/** How far the reading is. */
export interface ReadProgress {
  readonly bytes: number
  /** Absent where the source does not tell. */
  readonly totalBytes?: number
}

/** The document as it is now. Throws DocumentError 'wrong-argument' and 'already-read'; a document that is there once is not claimed yet. */
export function documentAtCall(data: DocumentData): DocumentData {
  if (isByteSource(data)) return copyOf(data)
  if (!isSource(data)) throw refusal('no-source')
  if (freshnessOf(data) === 'used') throw refusal('used')
  return data
}

/** From a page without types anything may come. */
function isSource(data: unknown): data is object {
  if (typeof data !== 'object' || data === null) return false
  return isBlob(data) || 'getReader' in data || Symbol.asyncIterator in data
}

/** Whether it is a File or Blob. */
export function isBlob(data: unknown): data is BlobLike {
  return typeof data === 'object' && data !== null && 'slice' in data && 'size' in data
}

/**
 * The bytes in order, in steps between which the page has its turns, of a document that `documentAtCall` has let pass. A
 * step is good until the next one is asked for. Throws DocumentError 'already-read' at once, 'unreadable' and
 * 'cancelled' while it is read.
 */
export function piecesOf(data: DocumentData, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
  if (isByteSource(data)) return read(claimSource(data, refusal), data.byteLength, options)
  if (isBlob(data)) return read(() => blobChunks(data), data.size, options)
  return read(claimSource(data, refusal), undefined, options)
}

async function* read(
  open: () => Chunks,
  totalBytes: number | undefined,
  { signal, onProgress }: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const total = totalBytes === undefined ? {} : { totalBytes }
  let bytes = 0
  const tell = (now: number): void => {
    bytes = now
    onProgress?.({ bytes, ...total })
  }
  try {
    const chunks = open()
    try {
      yield* stepsOf(chunks, { refusal, signal, onProgress: tell })
    } finally {
      chunks.stop()
    }
  } catch (error) {
    if (error instanceof DocumentError) throw error
    throw new DocumentError(signal?.aborted ? 'cancelled' : 'unreadable', { cause: error })
  }
  // A file that was cut while it was read.
  if (totalBytes !== undefined && bytes !== totalBytes) throw new DocumentError('unreadable')
}

function refusal(fault: SourceFault): DocumentError {
  if (fault === 'used') return new DocumentError('already-read')
  // What a stream of text or of objects gives.
  if (fault === 'no-bytes') return new DocumentError('unreadable')
  return new DocumentError('wrong-argument', {
    detail:
      'A document is bytes, a File or Blob, a stream, or an async iterable of bytes; encode text as bytes.',
  })
}
