/** Documents as they come: whole, as a file, or as a stream; read in pieces, never kept. */
import { type ByteSource, copyOf, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { claimOnce, freshnessOf, isNodeStream } from '@webtoki/apdu/read-once'
import type { SignSignal } from '@webtoki/trust'
import { DocumentError } from './errors.ts'

/** The part of `Blob` (and `File`) that we use. */
export interface BlobLike {
  readonly size: number
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> }
  /** Read into buffers of ours where the platform can do that. */
  stream?(): unknown
}

/** The part of `ReadableStream` that we use. */
export interface StreamLike {
  readonly locked?: boolean
  getReader(): {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
    cancel(reason?: unknown): Promise<void>
  }
}

/**
 * A document's bytes. An array counts as it is at the call. A stream or an iterator can be read once; one that was read
 * before, here or by others, is refused with DocumentError 'already-read', and so is an iterator that gives nothing:
 * one that was read to its end looks the same.
 */
export type DocumentData = ByteSource | BlobLike | AsyncIterable<Uint8Array> | StreamLike

/** Options of whatever reads a document. */
export interface ReadOptions {
  readonly signal?: SignSignal | undefined
  /** Told after each piece. */
  readonly onProgress?: ((progress: ReadProgress) => void) | undefined
}

/** How far the reading is. */
export interface ReadProgress {
  readonly bytes: number
  /** Absent where the source does not tell. */
  readonly totalBytes?: number
}

/** Long enough that reading costs little; whoever hashes one takes it in steps. */
const PIECE_BYTES = 0x20_0000

/** The document as it is now. Throws DocumentError 'wrong-argument' and 'already-read'; a document that is there once is not claimed yet. */
export function documentAtCall(data: DocumentData): DocumentData {
  if (isByteSource(data)) return copyOf(data)
  if (!isSource(data)) {
    throw new DocumentError('wrong-argument', {
      detail:
        'A document is bytes, a File or Blob, a stream, or an async iterable of bytes; encode text as bytes.',
    })
  }
  if (freshnessOf(data) === 'used') throw new DocumentError('already-read')
  return data
}

/** From a page without types anything may come. */
function isSource(data: unknown): data is object {
  if (typeof data !== 'object' || data === null) return false
  return ('slice' in data && 'size' in data) || 'getReader' in data || Symbol.asyncIterator in data
}

/** Whether it can be read one time only, as far as that can be seen. */
export function isThereOnce(data: DocumentData): boolean {
  if (isByteSource(data)) return false
  if ('getReader' in data || isNodeStream(data)) return true
  return Symbol.asyncIterator in data && Object.is(data[Symbol.asyncIterator](), data)
}

function claim(data: object): void {
  if (!claimOnce(data)) throw new DocumentError('already-read')
}

/**
 * The pieces in order, of a document that `documentAtCall` has let pass. Throws DocumentError 'already-read' at once,
 * 'unreadable' and 'cancelled' while it is read.
 */
export function piecesOf(data: DocumentData, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
  return told(open(data, options.signal), sizeOf(data), options)
}

async function* told(
  pieces: AsyncIterable<Uint8Array>,
  totalBytes: number | undefined,
  { signal, onProgress }: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const total = totalBytes === undefined ? {} : { totalBytes }
  let bytes = 0
  try {
    for await (const piece of pieces) {
      if (signal?.aborted) throw new DocumentError('cancelled', { cause: signal.reason })
      // Not what a stream of text or of objects gives.
      const view = viewOf(piece)
      yield view
      bytes += view.length
      onProgress?.({ bytes, ...total })
    }
  } catch (error) {
    if (error instanceof DocumentError) throw error
    throw new DocumentError('unreadable', { cause: error })
  }
  // A file that was cut while it was read.
  if (totalBytes !== undefined && bytes !== totalBytes) throw new DocumentError('unreadable')
}

function sizeOf(data: DocumentData): number | undefined {
  if (isByteSource(data)) return data.byteLength
  return 'slice' in data && 'size' in data ? data.size : undefined
}

function open(data: DocumentData, signal: SignSignal | undefined): AsyncIterable<Uint8Array> {
  if (isByteSource(data)) return fromBytes(viewOf(data))
  if ('slice' in data && 'size' in data) return fromBlob(data, signal)
  // Before its own iterator, which hears of no end while it waits.
  const isFresh = freshnessOf(data) === 'fresh'
  if ('getReader' in data) {
    claim(data)
    return fromStream(data, !isFresh, signal)
  }
  if (!(Symbol.asyncIterator in data)) throw new DocumentError('unreadable')
  const pieces = data[Symbol.asyncIterator]()
  claim(isNodeStream(data) ? data : pieces)
  return fromIterator(pieces, !isFresh && Object.is(pieces, data), signal)
}

/** A source may wait for ever, on a network drive say; who cancels does not. */
function unlessAborted<T>(work: Promise<T>, signal: SignSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new DocumentError('cancelled', { cause: signal.reason }))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

async function* fromBytes(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

/** What fills a buffer that it is given (ReadableStreamBYOBReader). */
interface FillingReader {
  read(view: Uint8Array<ArrayBuffer>): Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> | undefined }>
  cancel(): Promise<void>
}

/**
 * Two buffers take turns: one is hashed while the other is filled, and no garbage is left however long the file is.
 * A piece is good until the next one is asked for.
 */
async function* filled(reader: FillingReader, signal: SignSignal | undefined): AsyncGenerator<Uint8Array> {
  const spare = [new ArrayBuffer(PIECE_BYTES), new ArrayBuffer(PIECE_BYTES)]
  const fetch = (): ReturnType<FillingReader['read']> => {
    const reading = reader.read(new Uint8Array(spare.pop() ?? new ArrayBuffer(PIECE_BYTES)))
    reading.catch(() => {})
    return reading
  }
  let isAtEnd = false
  try {
    let next = fetch()
    for (;;) {
      const { done, value } = await unlessAborted(next, signal)
      if (done || value === undefined) {
        isAtEnd = true
        return
      }
      next = fetch()
      yield value
      // The reader has given back the whole buffer that it was lent.
      // oxlint-disable-next-line no-restricted-properties
      spare.push(value.buffer)
    }
  } finally {
    if (!isAtEnd) void reader.cancel().catch(() => {})
  }
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

/** The next piece is fetched while the last one is worked at: two are alive, never more. */
async function* fromBlob(blob: BlobLike, signal: SignSignal | undefined): AsyncGenerator<Uint8Array> {
  const reader = fillingReader(blob)
  if (reader !== undefined) {
    yield* filled(reader, signal)
    return
  }
  const fetch = (at: number): Promise<ArrayBuffer> =>
    blob.slice(at, Math.min(at + PIECE_BYTES, blob.size)).arrayBuffer()
  let next = blob.size > 0 ? fetch(0) : undefined
  for (let at = 0; next !== undefined; ) {
    const piece: ArrayBuffer = await unlessAborted(next, signal)
    at += PIECE_BYTES
    next = at < blob.size ? fetch(at) : undefined
    // Who waits for it comes later; its failure must not be nobody's until then.
    next?.catch(() => {})
    yield new Uint8Array(piece)
  }
}

/** `mustGive`: as below. */
async function* fromStream(
  stream: StreamLike,
  mustGive: boolean,
  signal: SignSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const { done, value } = await reader.read()
    return done ? { done, value: undefined } : { done: false, value: value ?? nothing }
  }
  const end = async (): Promise<IteratorResult<Uint8Array>> => {
    await reader.cancel()
    return { done: true, value: undefined }
  }
  yield* fromIterator({ next, return: end }, mustGive, signal)
}

const nothing = new Uint8Array(0)

/** `mustGive`: if it gives nothing at all, it has been read to its end by somebody. */
async function* fromIterator(
  pieces: AsyncIterator<Uint8Array>,
  mustGive: boolean,
  signal: SignSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let isAtEnd = false
  let isFirst = true
  try {
    for (;;) {
      const { done, value } = await unlessAborted(pieces.next(), signal)
      if (done === true) {
        isAtEnd = true
        if (isFirst && mustGive) throw new DocumentError('already-read')
        return
      }
      isFirst = false
      yield value
    }
  } finally {
    if (!isAtEnd) pieces.return?.().catch(() => {})
  }
}
