/** What operations take as data. */
import { type ByteSource, copyOf, isByteSource } from '@webtoki/apdu'
import * as source from '@webtoki/apdu/source'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Progress } from './progress.ts'

export type { Chunks } from '@webtoki/apdu/source'

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
  | source.ReadableStreamLike
  | source.ObservableLike

/** The data as they are now: what their owner writes into arrays later does not count. */
export function dataAtCall(data: DataSource): DataSource {
  if (Array.isArray(data)) return data.map(source.ownChunk)
  return isByteSource(data) ? copyOf(data) : data
}

/** As `claimSource` of `@webtoki/apdu/source`. Throws CKR_ARGUMENTS_BAD. */
export function claimSource(data: DataSource): () => source.Chunks {
  return source.claimSource(data, refusal)
}

/** The data in steps; tells how many bytes have come. `stepBytes`: the most of one step. */
export function stepsOf(
  chunks: source.Chunks,
  progress: Progress,
  stepBytes?: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const onProgress = (bytes: number): void => progress.tell({ phase: 'collecting', bytes })
  return source.stepsOf(chunks, { refusal, signal: progress.signal, stepBytes, onProgress })
}

const details: Readonly<Record<source.SourceFault, string>> = {
  used: 'the source of the data was used before, or gives nothing; give a new one, or an array, which can be used again',
  'no-source': 'the data is neither bytes nor a source of bytes',
  'no-bytes': 'a chunk holds no bytes',
}

function refusal(fault: source.SourceFault): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: details[fault] })
}
