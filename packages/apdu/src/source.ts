/** Sources of bytes: an array, a stream, an iterator or an Observable, read as chunks. */
import type { AbortSignalLike } from './abort.ts'
import { copyOf, isByteSource, viewOf } from './bytes.ts'
import type { Chunks } from './chunks.ts'
import { Pace, STEP_BYTES } from './pace.ts'
import { claimOnce, freshnessOf, isNodeStream } from './read-once.ts'

export { blobChunks, type BlobLike } from './blob-chunks.ts'
export type { Chunks } from './chunks.ts'
export { claimOnce, freshnessOf } from './read-once.ts'

/** The part of `ReadableStream` that Webtoki uses. */
export interface ReadableStreamLike {
  readonly locked?: boolean
  getReader(): {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
    cancel(reason?: unknown): Promise<void>
    releaseLock?(): void
  }
}

/** The part of `Observable` that Webtoki uses. */
export interface ObservableLike {
  subscribe(observer: {
    next: (chunk: Uint8Array) => void
    error: (error: unknown) => void
    complete: () => void
  }): { unsubscribe(): void }
}

/**
 * Why a source is refused. 'used': it was read before, or yields nothing, which looks the same. 'no-source': it is not a
 * source of bytes. 'no-bytes': one of its chunks is not a byte array.
 */
export type SourceFault = 'used' | 'no-source' | 'no-bytes'

/** Converts a fault to the error that the caller wants to throw. */
export type Refusal = (fault: SourceFault) => Error

/** Arrays are read in pieces, so that progress is reported and an abort takes effect soon. */
const PIECE_BYTES = 0x10_0000

/**
 * Claims a source that can be read only once. Call the returned function once to start reading. It subscribes to an
 * Observable at once and buffers its values until they are pulled. Throws the refusal 'used' or 'no-source'.
 */
export function claimSource(data: unknown, refusal: Refusal): () => Chunks {
  if (isByteSource(data)) return () => iteratorChunks(piecesOf(viewOf(data)))
  if (typeof data !== 'object' || data === null) throw refusal('no-source')
  const source: Partial<
    ReadableStreamLike & AsyncIterable<Uint8Array> & Iterable<Uint8Array> & ObservableLike
  > = data
  const freshness = freshnessOf(data)
  if (freshness === 'used') throw refusal('used')
  const claim = (once: object): void => {
    if (!claimOnce(once)) throw refusal('used')
  }
  /** The refusal of a source that yields nothing, because it was probably used before. */
  const ifEmpty = freshness === 'fresh' ? undefined : () => refusal('used')
  // Preferred to the stream's own iterator, which cannot be stopped while it waits for a chunk.
  if (source.getReader !== undefined) {
    claim(data)
    return () => readerChunks(source as ReadableStreamLike, ifEmpty)
  }
  const iterator = source[Symbol.asyncIterator]?.() ?? source[Symbol.iterator]?.()
  if (iterator !== undefined) {
    claim(isNodeStream(data) ? data : iterator)
    return () => iteratorChunks(iterator, Object.is(iterator, data) ? ifEmpty : undefined)
  }
  if (source.subscribe === undefined) throw refusal('no-source')
  if ('next' in data && usedObservables.has(data)) throw refusal('used')
  return () => observableChunks(source as ObservableLike, () => refusal('used'))
}

/** Returns true if the object is known to be readable only once. */
export function isSingleUse(data: object): boolean {
  if ('getReader' in data || isNodeStream(data)) return true
  return (
    Symbol.asyncIterator in data && Object.is((data as AsyncIterable<unknown>)[Symbol.asyncIterator](), data)
  )
}

/** Options of `stepsOf`. */
export interface StepOptions {
  readonly refusal: Refusal
  /** An abort ends the reading at once, even while the source is pending, and rejects with the reason of the signal. */
  readonly signal?: AbortSignalLike | undefined
  /** Maximum length of one step, in bytes. */
  readonly stepBytes?: number | undefined
  /** Called after each chunk with the total number of bytes so far. */
  readonly onProgress?: ((bytes: number) => void) | undefined
}

/**
 * Yields the data in steps and lets the event loop run between them. The caller calls `stop` of the chunks at the end.
 * Throws the refusal 'no-bytes'.
 */
export async function* stepsOf(
  chunks: Chunks,
  { refusal, signal, stepBytes = STEP_BYTES, onProgress }: StepOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0
  const pace = new Pace()
  const check = (): void => {
    if (signal?.aborted) throw signal.reason
  }
  let interrupt: (() => void) | undefined
  const abort = (): void => interrupt?.()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    for (;;) {
      check()
      const step = await new Promise<Awaited<ReturnType<Chunks['next']>>>((resolve, reject) => {
        interrupt = () => reject(signal?.reason as Error)
        chunks.next().then(resolve, reject)
      })
      if (step.done) return
      if (!isByteSource(step.value)) throw refusal('no-bytes')
      check()
      const chunk = viewOf(step.value)
      // Runs at least once, so that a source with many empty chunks also yields to the event loop.
      for (let at = 0; at === 0 || at < chunk.length; at += stepBytes) {
        yield chunk.subarray(at, at + stepBytes)
        if (!pace.isDue) continue
        await pace.turn()
        check()
      }
      bytes += chunk.length
      onProgress?.(bytes)
    }
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** Returns a copy of a chunk. Returns other values unchanged; `stepsOf` refuses them. */
export function copyChunk(chunk: Uint8Array): Uint8Array {
  return isByteSource(chunk) ? copyOf(chunk) : chunk
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

function readerChunks(stream: ReadableStreamLike, ifEmpty: (() => Error) | undefined): Chunks {
  const reader = stream.getReader()
  return {
    next: refusingEmpty(ifEmpty, () => reader.read()),
    stop: () => {
      reader.cancel().catch(() => {})
      reader.releaseLock?.()
    },
  }
}

function iteratorChunks(
  iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>,
  ifEmpty?: () => Error,
): Chunks {
  return {
    next: refusingEmpty(ifEmpty, async () => {
      const step = await iterator.next()
      return step.done ? { done: true } : { done: false, value: step.value }
    }),
    stop: () => {
      // Not awaited: an async generator that waits for a chunk handles `return` only after it.
      void Promise.resolve(iterator.return?.()).catch(() => {})
    },
  }
}

/** Wraps `next` so that it rejects with `ifEmpty` if the source ends without a chunk. */
function refusingEmpty(ifEmpty: (() => Error) | undefined, next: Chunks['next']): Chunks['next'] {
  if (ifEmpty === undefined) return next
  let isFirst = true
  return async () => {
    const step = await next()
    if (isFirst && step.done) throw ifEmpty()
    isFirst = false
    return step
  }
}

/** Observables that have notified an operation before. A Subject does not repeat its values. */
const usedObservables = new WeakSet<object>()

function observableChunks(source: ObservableLike, used: () => Error): Chunks {
  let arrived: Uint8Array[] = []
  // Older chunks in reverse order, because removing the first element of a long array moves all others each time.
  let reversed: Uint8Array[] = []
  let end: { readonly error?: unknown } | undefined
  let wake: (() => void) | undefined
  const notify = (): void => {
    wake?.()
    wake = undefined
  }
  // An Observable that completes without a value counts as used if it completes during `subscribe` or was used before.
  let isUsedIfEmpty = true
  const wasUsed = usedObservables.has(source)
  const subscription = source.subscribe({
    next: (chunk) => {
      usedObservables.add(source)
      isUsedIfEmpty = false
      arrived.push(copyChunk(chunk))
      notify()
    },
    error: (error) => {
      usedObservables.add(source)
      end = { error }
      notify()
    },
    complete: () => {
      usedObservables.add(source)
      end = isUsedIfEmpty ? { error: used() } : {}
      notify()
    },
  })
  isUsedIfEmpty &&= wasUsed
  return {
    next: async () => {
      while (reversed.length + arrived.length === 0 && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      if (reversed.length === 0) {
        reversed = arrived.reverse()
        arrived = []
      }
      const value = reversed.pop()
      if (value !== undefined) return { done: false, value }
      if (end !== undefined && 'error' in end) throw end.error
      return { done: true }
    },
    stop: () => subscription.unsubscribe(),
  }
}
