/** What operations take as data: one array, or chunks that are pulled, or pushed where there is nothing else. */
import { type AbortSignalLike, type ByteSource, copyOf, isByteSource, viewOf } from '@webtoki/apdu'
import { Pace, STEP_BYTES } from '@webtoki/apdu/pace'
import { claimOnce, freshnessOf, isNodeStream } from '@webtoki/apdu/read-once'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Progress } from './progress.ts'

/** The part of `ReadableStream` that we use. */
export interface ReadableStreamLike {
  readonly locked?: boolean
  getReader(): {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
    cancel(reason?: unknown): Promise<void>
    releaseLock(): void
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
 * One array, or chunks. Streams and iterables are pulled, so that a large file never stands in memory; an Observable
 * cannot be asked to wait, and what it sends too early is kept. Arrays and pushed chunks are copied when they are given;
 * a pulled chunk is used until the next one is pulled. Arrays and cold Observables can be used again. A stream, an
 * iterator or a Subject is there once: one that has been used ends in CKR_ARGUMENTS_BAD before anybody is asked for a
 * PIN. So does an iterator or Observable that gives nothing at all, because one that was used up looks the same: an empty
 * message is an empty array. That others have pulled a part of an iterator that goes on cannot be seen.
 */
export type DataSource =
  | ByteSource
  | AsyncIterable<Uint8Array>
  | Iterable<Uint8Array>
  | ReadableStreamLike
  | ObservableLike

/** An array is taken in pieces, so that progress is told and an abandoned operation ends soon. */
const PIECE_BYTES = 0x10_0000

/** A source that has been begun. */
export interface Chunks {
  next(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  /** Lets the source go: it need give no more. Does nothing where it has ended. */
  stop(): void
}

/** The chunks in order. Ends by throwing the signal's reason as soon as it aborts, whatever the source does. */
export async function* chunksOf(
  chunks: Chunks,
  signal: AbortSignalLike,
): AsyncGenerator<Uint8Array, void, undefined> {
  let interrupt: (() => void) | undefined
  const abort = (): void => interrupt?.()
  signal.addEventListener('abort', abort, { once: true })
  try {
    for (;;) {
      if (signal.aborted) throw signal.reason
      const step = await new Promise<Awaited<ReturnType<Chunks['next']>>>((resolve, reject) => {
        interrupt = () => reject(signal.reason as Error)
        chunks.next().then(resolve, reject)
      })
      if (step.done) return
      if (!isByteSource(step.value)) {
        throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'a chunk holds no bytes' })
      }
      yield viewOf(step.value)
    }
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The data in steps between which the page has its turns; tells how many bytes have come. `stepBytes`: the most of one step. */
export async function* stepsOf(
  chunks: Chunks,
  progress: Progress,
  stepBytes: number = STEP_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0
  const pace = new Pace()
  for await (const chunk of chunksOf(chunks, progress.signal)) {
    progress.check()
    // At least once: a source may have many chunks without bytes.
    for (let at = 0; at === 0 || at < chunk.length; at += stepBytes) {
      yield chunk.subarray(at, at + stepBytes)
      if (!pace.isDue) continue
      await pace.turn()
      progress.check()
    }
    bytes += chunk.length
    progress.tell({ phase: 'collecting', bytes })
  }
}

/** The data as they are now: what their owner writes into arrays later does not count. */
export function dataAtCall(data: DataSource): DataSource {
  if (Array.isArray(data)) return data.map(ownChunk)
  return isByteSource(data) ? copyOf(data) : data
}

/** A copy of a chunk. Anything that is not bytes stays as it is, and is refused when it is pulled. */
function ownChunk(chunk: Uint8Array): Uint8Array {
  return isByteSource(chunk) ? copyOf(chunk) : chunk
}

/** Observables that have told an operation anything: a Subject will not tell that again. */
const heard = new WeakSet<object>()

/**
 * Claims what is there once for the operation that begins. The function returned begins it, and is called once: what an
 * Observable tells from then on is kept, before anybody pulls. Throws CKR_ARGUMENTS_BAD if the data are not a source of
 * bytes, or one that has been used.
 */
export function claimSource(data: DataSource): () => Chunks {
  if (isByteSource(data)) return () => fromIterator(piecesOf(viewOf(data)), false)
  if (typeof data !== 'object' || data === null) throw noSource()
  const freshness = freshnessOf(data)
  if (freshness === 'used') throw usedSource()
  const isFresh = freshness === 'fresh'
  if ('getReader' in data) {
    claim(data)
    return () => fromReader(data, !isFresh)
  }
  if (Symbol.asyncIterator in data || Symbol.iterator in data) {
    const iterator = Symbol.asyncIterator in data ? data[Symbol.asyncIterator]() : data[Symbol.iterator]()
    claim(isNodeStream(data) ? data : iterator)
    return () => fromIterator(iterator, !isFresh && Object.is(iterator, data))
  }
  if (!('subscribe' in data)) throw noSource()
  if ('next' in data && heard.has(data)) throw usedSource()
  return () => fromObservable(data)
}

function claim(source: object): void {
  if (!claimOnce(source)) throw usedSource()
}

function usedSource(): CryptokiError {
  const detail =
    'the source of the data was used before, or gives nothing; give a new one, or an array, which can be used again'
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
}

function noSource(): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'the data is neither bytes nor a source of bytes' })
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

/** `mustGive`: if it gives nothing at all, it has been used up by somebody. */
function fromReader(stream: ReadableStreamLike, mustGive: boolean): Chunks {
  const reader = stream.getReader()
  return {
    next: givingSomething(mustGive, () => reader.read()),
    stop: () => {
      reader.cancel().catch(() => {})
      reader.releaseLock()
    },
  }
}

function fromIterator(iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>, mustGive: boolean): Chunks {
  return {
    next: givingSomething(mustGive, async () => {
      const step = await iterator.next()
      return step.done ? { done: true } : { done: false, value: step.value }
    }),
    stop: () => {
      // An iterator that is waiting ends when its wait does; nobody waits for that.
      void Promise.resolve(iterator.return?.()).catch(() => {})
    },
  }
}

function givingSomething(mustGive: boolean, next: Chunks['next']): Chunks['next'] {
  if (!mustGive) return next
  let isFirst = true
  return async () => {
    const step = await next()
    if (isFirst && step.done) throw usedSource()
    isFirst = false
    return step
  }
}

function fromObservable(source: ObservableLike): Chunks {
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
      end = mustGive ? { error: usedSource() } : {}
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
