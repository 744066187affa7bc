/** Bytes as they come: one array, a file, or chunks that are pulled, or pushed where there is nothing else. */
import type { AbortSignalLike } from './abort.ts'
import { copyOf, isByteSource, viewOf } from './bytes.ts'
import type { Chunks } from './chunks.ts'
import { Pace, STEP_BYTES } from './pace.ts'
import { claimOnce, freshnessOf, isNodeStream } from './read-once.ts'

export { blobChunks, type BlobLike } from './blob-chunks.ts'
export type { Chunks } from './chunks.ts'
export { claimOnce, freshnessOf } from './read-once.ts'

/** The part of `ReadableStream` that we use. */
export interface ReadableStreamLike {
  readonly locked?: boolean
  getReader(): {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
    cancel(reason?: unknown): Promise<void>
    releaseLock?(): void
  }
}

/** The part of `Observable` that we use. */
export interface ObservableLike {
  subscribe(observer: {
    next: (chunk: Uint8Array) => void
    error: (error: unknown) => void
    complete: () => void
  }): { unsubscribe(): void }
}

/**
 * Why a source is refused: it was used before (or gives nothing, which looks the same), it is no source of bytes, or a
 * chunk of it holds no bytes.
 */
export type SourceFault = 'used' | 'no-source' | 'no-bytes'

/** Makes the caller's own error of a fault. */
export type Refusal = (fault: SourceFault) => Error

/** An array is taken in pieces, so that progress is told and an abandoned operation ends soon. */
const PIECE_BYTES = 0x10_0000

/**
 * Claims what is there once for the work that begins. The function returned begins it, and is called once: what an
 * Observable tells from then on is kept, before anybody pulls. Throws the refusal 'used' or 'no-source'.
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
  /** The refusal if it gives nothing at all, because then somebody has used it up. */
  const ifEmpty = freshness === 'fresh' ? undefined : () => refusal('used')
  // Before its own iterator, which hears of no end while it waits.
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
  if ('next' in data && heard.has(data)) throw refusal('used')
  return () => observableChunks(source as ObservableLike, () => refusal('used'))
}

/** Whether it can be read one time only, as far as that can be seen. */
export function isThereOnce(data: object): boolean {
  if ('getReader' in data || isNodeStream(data)) return true
  return (
    Symbol.asyncIterator in data && Object.is((data as AsyncIterable<unknown>)[Symbol.asyncIterator](), data)
  )
}

/** How a source is read. */
export interface StepOptions {
  readonly refusal: Refusal
  /** Its abort ends the reading at once, whatever the source does; thrown is its reason. */
  readonly signal?: AbortSignalLike | undefined
  /** The most of one step. */
  readonly stepBytes?: number | undefined
  /** Told after each chunk how many bytes have come. */
  readonly onProgress?: ((bytes: number) => void) | undefined
}

/** The data in steps between which the page has its turns. Who reads lets the source go. Throws the refusal 'no-bytes'. */
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
      // At least once: a source may have many chunks without bytes.
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

/** A copy of a chunk. Anything that is not bytes stays as it is, and is refused when it is pulled. */
export function ownChunk(chunk: Uint8Array): Uint8Array {
  return isByteSource(chunk) ? copyOf(chunk) : chunk
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

function readerChunks(stream: ReadableStreamLike, ifEmpty: (() => Error) | undefined): Chunks {
  const reader = stream.getReader()
  return {
    next: givingSomething(ifEmpty, () => reader.read()),
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
    next: givingSomething(ifEmpty, async () => {
      const step = await iterator.next()
      return step.done ? { done: true } : { done: false, value: step.value }
    }),
    stop: () => {
      // An iterator that is waiting ends when its wait does; nobody waits for that.
      void Promise.resolve(iterator.return?.()).catch(() => {})
    },
  }
}

function givingSomething(ifEmpty: (() => Error) | undefined, next: Chunks['next']): Chunks['next'] {
  if (ifEmpty === undefined) return next
  let isFirst = true
  return async () => {
    const step = await next()
    if (isFirst && step.done) throw ifEmpty()
    isFirst = false
    return step
  }
}

/** Observables that have told an operation anything: a Subject will not tell that again. */
const heard = new WeakSet<object>()

function observableChunks(source: ObservableLike, used: () => Error): Chunks {
  let arrived: Uint8Array[] = []
  // The same, last first: taking from the front of a long array moves all the rest each time.
  let waiting: Uint8Array[] = []
  let end: { readonly error?: unknown } | undefined
  let wake: (() => void) | undefined
  const tell = (): void => {
    wake?.()
    wake = undefined
  }
  // One that ends at once, or told something before, and tells nothing now has told it to somebody else.
  let mustGive = true
  const wasHeard = heard.has(source)
  const subscription = source.subscribe({
    next: (chunk) => {
      heard.add(source)
      mustGive = false
      arrived.push(ownChunk(chunk))
      tell()
    },
    error: (error) => {
      heard.add(source)
      end = { error }
      tell()
    },
    complete: () => {
      heard.add(source)
      end = mustGive ? { error: used() } : {}
      tell()
    },
  })
  mustGive &&= wasHeard
  return {
    next: async () => {
      while (waiting.length + arrived.length === 0 && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      if (waiting.length === 0) {
        waiting = arrived.reverse()
        arrived = []
      }
      const value = waiting.pop()
      if (value !== undefined) return { done: false, value }
      if (end !== undefined && 'error' in end) throw end.error
      return { done: true }
    },
    stop: () => subscription.unsubscribe(),
  }
}
