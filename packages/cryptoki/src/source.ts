/** What operations take as data: one array, or chunks that are pulled, or pushed where there is nothing else. */
import type { AbortSignalLike } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'

/** The part of `ReadableStream` that we use. */
export interface ReadableStreamLike {
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
 * cannot be asked to wait, and what it sends too early is kept. Chunks are neither changed nor kept.
 */
export type DataSource =
  | Uint8Array
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
      if (!(step.value instanceof Uint8Array)) {
        throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'a chunk is no Uint8Array' })
      }
      yield step.value
    }
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Begins the source at once: what an Observable tells before anybody pulls is kept. Throws CKR_ARGUMENTS_BAD. */
export function openSource(data: DataSource): Chunks {
  if (data instanceof Uint8Array) return fromIterator(piecesOf(data))
  if (typeof data !== 'object' || data === null) throw noSource()
  if ('getReader' in data) return fromReader(data)
  if (Symbol.asyncIterator in data) return fromIterator(data[Symbol.asyncIterator]())
  if (Symbol.iterator in data) return fromIterator(data[Symbol.iterator]())
  if ('subscribe' in data) return fromObservable(data)
  throw noSource()
}

function noSource(): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'the data is neither bytes nor a source of bytes' })
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

function fromReader(stream: ReadableStreamLike): Chunks {
  const reader = stream.getReader()
  return {
    next: () => reader.read(),
    stop: () => {
      reader.cancel().catch(() => {})
      reader.releaseLock()
    },
  }
}

function fromIterator(iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>): Chunks {
  return {
    next: async () => {
      const step = await iterator.next()
      return step.done ? { done: true } : { done: false, value: step.value }
    },
    stop: () => {
      // An iterator that is waiting ends when its wait does; nobody waits for that.
      void Promise.resolve(iterator.return?.()).catch(() => {})
    },
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
  const subscription = source.subscribe({
    next: (chunk) => {
      arrived.push(chunk)
      tell()
    },
    error: (error) => {
      end = { error }
      tell()
    },
    complete: () => {
      end = {}
      tell()
    },
  })
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
