/** Reads documents from arrays, files, streams and iterables in pieces, without keeping them. */
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

/** The part of `ReadableStream` that is used here. */
export type StreamLike = ReadableStreamLike

/**
 * The bytes of a document. An array is copied at the call. A stream or an iterator can be read only once: one that was
 * read before is refused with DocumentError 'already-read'. An iterator without any bytes is refused too, because one
 * that was read to its end looks the same.
 */
export type DocumentData = ByteSource | BlobLike | AsyncIterable<Uint8Array> | StreamLike

/** Reports the progress of reading. */
export interface ProgressOptions {
  /** Called after each piece. */
  readonly onProgress?: ((progress: ReadProgress) => void) | undefined
}

/** Options of functions that read a document. */
export interface ReadOptions extends ProgressOptions {
  /** Aborts the reading with DocumentError 'cancelled'. */
  readonly signal?: SignSignal | undefined
}

/** The progress of reading. */
export interface ReadProgress {
  readonly bytes: number
  /** Absent if the source has no size. */
  readonly totalBytes?: number
}

/**
 * Returns a document that later changes by the caller do not affect: a copy of an array, otherwise the source itself.
 * It does not claim a source that can be read only once. Throws DocumentError 'wrong-argument' and 'already-read'.
 */
export function documentAtCall(data: DocumentData): DocumentData {
  if (isByteSource(data)) return copyOf(data)
  if (!isSource(data)) throw refusal('no-source')
  if (freshnessOf(data) === 'used') throw refusal('used')
  return data
}

/** Callers without TypeScript may pass a value of any type. */
function isSource(data: unknown): data is object {
  if (typeof data !== 'object' || data === null) return false
  return isBlob(data) || 'getReader' in data || Symbol.asyncIterator in data
}

/** Returns true for a File or Blob. */
export function isBlob(data: unknown): data is BlobLike {
  return typeof data === 'object' && data !== null && 'slice' in data && 'size' in data
}

/**
 * Reads a document that `documentAtCall` returned, in steps between which the event loop runs. The array of a step is
 * valid until the next step. Throws DocumentError 'already-read' at the call, 'unreadable' and 'cancelled' while
 * reading.
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
  const reportProgress = (now: number): void => {
    bytes = now
    onProgress?.({ bytes, ...total })
  }
  try {
    const chunks = open()
    try {
      yield* stepsOf(chunks, { refusal, signal, onProgress: reportProgress })
    } finally {
      chunks.stop()
    }
  } catch (error) {
    if (error instanceof DocumentError) throw error
    throw new DocumentError(signal?.aborted ? 'cancelled' : 'unreadable', { cause: error })
  }
  // The file was truncated while it was read.
  if (totalBytes !== undefined && bytes !== totalBytes) throw new DocumentError('unreadable')
}

function refusal(fault: SourceFault): DocumentError {
  if (fault === 'used') return new DocumentError('already-read')
  // The stream yields text or objects instead of bytes.
  if (fault === 'no-bytes') return new DocumentError('unreadable')
  return new DocumentError('wrong-argument', {
    detail:
      'A document is bytes, a File or Blob, a stream, or an async iterable of bytes; encode text as bytes.',
  })
}
