/** Reads and hashes a document away from the page's own thread. */
import { digestDocument, type HashName } from 'webtoki/documents'

/** What the page asks. */
export interface DigestRequest {
  readonly name: HashName
  readonly file: File
}

/** What it is told: how far the reading is, and its end. */
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
