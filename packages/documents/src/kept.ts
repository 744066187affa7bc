/** A document that is kept while it is read, for signatures that are over the document itself. */
import { concatBytes, copyOf, isByteSource, viewOf } from '@webtoki/apdu/bytes'
import { type DocumentData, piecesOf, type ReadOptions } from './data.ts'

const MAX_BYTES = 64 * 1024 * 1024

/** `data`: to be read in its place, once. `bytes`: what was read; undefined if it was more than 64 MiB. */
export function kept(
  own: DocumentData,
  options: ReadOptions,
): { readonly data: DocumentData; bytes(): Uint8Array | undefined } {
  if (isByteSource(own)) return { data: own, bytes: () => viewOf(own) }
  const pieces: Uint8Array[] = []
  let length = 0
  async function* read(): AsyncGenerator<Uint8Array> {
    for await (const piece of piecesOf(own, options)) {
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
