/** The data sources of operations, with the PKCS#11 errors for sources that cannot be used. */
import { type ByteSource, copyOf, isByteSource } from '@webtoki/apdu'
import * as source from '@webtoki/apdu/source'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Progress } from './progress.ts'

export type { Chunks } from '@webtoki/apdu/source'

/**
 * One byte array, or a source of chunks. Streams and iterables are pulled, so that a large file is never held in memory. An
 * Observable cannot be paused, so chunks that it emits early are buffered. Arrays and chunks of Observables are copied at
 * once; a pulled chunk must stay unchanged until the next one is pulled.
 *
 * Arrays and cold Observables can be used again. A stream, an iterator or a Subject can be used only once; if it has been used,
 * the operation fails with CKR_ARGUMENTS_BAD before the user is asked for a PIN. The same applies to an iterator or Observable
 * without any chunk, because it looks like a used one; pass an empty array for an empty message. An iterator of which other
 * code has consumed only a part cannot be detected.
 */
export type DataSource =
  | ByteSource
  | AsyncIterable<Uint8Array>
  | Iterable<Uint8Array>
  | source.ReadableStreamLike
  | source.ObservableLike

/** Copies arrays, so that later changes by the caller have no effect. */
export function dataAtCall(data: DataSource): DataSource {
  if (Array.isArray(data)) return data.map(source.copyChunk)
  return isByteSource(data) ? copyOf(data) : data
}

/** `claimSource` of `@webtoki/apdu/source`, which throws CKR_ARGUMENTS_BAD. */
export function claimSource(data: DataSource): () => source.Chunks {
  return source.claimSource(data, refusal)
}

/** Splits the data into steps of at most `stepBytes`, and reports the number of bytes as 'collecting' events. */
export function stepsOf(
  chunks: source.Chunks,
  progress: Progress,
  stepBytes?: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const onProgress = (bytes: number): void => progress.report({ phase: 'collecting', bytes })
  return source.stepsOf(chunks, { refusal, signal: progress.signal, stepBytes, onProgress })
}

const details: Readonly<Record<source.SourceFault, string>> = {
  used: 'the data source was used before or is empty; pass a new one, or an array, which can be used again',
  'no-source': 'the data must be a Uint8Array or a source of chunks',
  'no-bytes': 'a chunk of the data is not a Uint8Array',
}

function refusal(fault: source.SourceFault): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: details[fault] })
}
