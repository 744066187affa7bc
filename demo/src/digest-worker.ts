/** Reads and hashes a document in a worker. */
import { digestDocument, type HashName } from 'webtoki/documents'

/** The page's request to the worker. */
export interface DigestRequest {
  readonly name: HashName
  readonly file: File
}

/** The worker's messages: the number of bytes read so far, then the digest or a failure. */
export type DigestReply =
  | { readonly bytes: number }
  | { readonly digest: Uint8Array }
  | { readonly failed: true }

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<DigestRequest>) => void) | null
  postMessage(reply: DigestReply): void
}

scope.onmessage = ({ data: { name, file } }) => {
  digestDocument([name], file, { onProgress: ({ bytes }) => scope.postMessage({ bytes }) }).then(
    (digests) => scope.postMessage({ digest: digests[name] }),
    () => scope.postMessage({ failed: true }),
  )
}
