/**
 * Keeps a document in memory while it is read. A signature without signed attributes is over the document itself (RFC
 * 5652, 5.4).
 */
import { concatBytes, copyOf, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { type DocumentData, piecesOf, type ReadOptions } from './data.ts'

const MAX_BYTES = 64 * 1024 * 1024

/**
 * Returns `data`, which has to be read once in place of `document`, and `bytes()`, which returns the bytes that were
 * read, or undefined if they exceed 64 MiB.
 */
export function bufferedDocument(
  document: DocumentData,
  options: ReadOptions,
): { readonly data: DocumentData; bytes(): Uint8Array | undefined } {
  if (isByteSource(document)) return { data: document, bytes: () => viewOf(document) }
  const pieces: Uint8Array[] = []
  let length = 0
  async function* read(): AsyncGenerator<Uint8Array> {
    for await (const piece of piecesOf(document, options)) {
      length += piece.length
      if (length <= MAX_BYTES) pieces.push(copyOf(piece))
      else pieces.length = 0
      yield piece
    }
  }
  return {
    data: { [Symbol.asyncIterator]: read },
    bytes: () => (length <= MAX_BYTES ? concatBytes(...pieces) : undefined),
  }
}
