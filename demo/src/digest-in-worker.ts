/** A document's digest by a worker: the page stays free however long the document is. */
import { DocumentError, type SignDetachedOptions } from 'webtoki/documents'
import type { DigestReply, DigestRequest } from './digest-worker.ts'
// oxlint-disable-next-line import/default -- the bundler makes this module, demo/src/vite.d.ts types it
import workerUrl from './digest-worker.ts?worker&url'

/** The one script that this page loads by name: the policy lets no other pass. */
const policy = (
  globalThis as unknown as {
    trustedTypes?: {
      createPolicy(name: string, rules: object): { createScriptURL(url: string): string }
    }
  }
).trustedTypes?.createPolicy('webtoki-demo-worker', {
  createScriptURL: (url: string) => {
    if (url !== workerUrl) throw new TypeError('That is not the digest worker.')
    return url
  },
})

/** Takes files alone; what else there is is hashed in the page. */
export const digestInWorker: NonNullable<SignDetachedOptions['digest']> = (name, data, options) => {
  const { signal, onProgress } = options
  const worker = new Worker(policy?.createScriptURL(workerUrl) ?? workerUrl, { type: 'module' })
  return new Promise<Uint8Array>((resolve, reject) => {
    const abort = (): void => reject(new DocumentError('cancelled', { cause: signal?.reason }))
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    worker.onerror = () => reject(new DocumentError('unreadable'))
    worker.onmessage = ({ data: reply }: MessageEvent<DigestReply>) => {
      if ('bytes' in reply) onProgress?.(reply)
      else if ('digest' in reply) resolve(reply.digest)
      else reject(new DocumentError('unreadable'))
    }
    worker.postMessage({ name, file: data as File } satisfies DigestRequest)
  }).finally(() => worker.terminate())
}
