/** Computes the digest of a document in a worker, so that a long document does not block the page. */
import { DocumentError, type SignDetachedOptions } from 'webtoki/documents'
import type { DigestReply, DigestRequest } from './digest-worker.ts'
import { PartMissingError } from './page-parts.ts'
import { digestWorkerScript } from './trusted-scripts.ts'

/** Accepts files only. Rejects with DocumentError, or with PartMissingError if the worker's script cannot be loaded. */
export const digestInWorker: NonNullable<SignDetachedOptions['digest']> = (name, data, options) => {
  const { signal, onProgress } = options
  const worker = new Worker(digestWorkerScript, { type: 'module' })
  return new Promise<Uint8Array>((resolve, reject) => {
    const abort = (): void => reject(new DocumentError('cancelled', { cause: signal?.reason }))
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    // An exception in the script is an ErrorEvent. A script that cannot be loaded is a plain Event.
    worker.onerror = (event) =>
      reject(event instanceof ErrorEvent ? new DocumentError('unreadable') : new PartMissingError())
    worker.onmessage = ({ data: reply }: MessageEvent<DigestReply>) => {
      if ('bytes' in reply) onProgress?.(reply)
      else if ('digest' in reply) resolve(reply.digest)
      else reject(new DocumentError('unreadable'))
    }
    worker.postMessage({ name, file: data as File } satisfies DigestRequest)
  }).finally(() => worker.terminate())
}
