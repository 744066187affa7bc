/** Signs documents with a card: detached CMS with CAdES attributes. A separate entry, because a login needs no CMS. */
import {
  documentAtCall,
  type DocumentData,
  type DocumentSignatureOptions,
  signDetached,
  signOptionsAtCall,
} from '@webtoki/documents'
import type { UseOptions, Webtoki } from './webtoki.ts'

export * from '@webtoki/documents'

/** Options of `signDocument`. */
export interface SignDocumentOptions extends UseOptions, DocumentSignatureOptions {}

/**
 * Signs a file with a card and resolves to the `.p7s`: detached CMS in DER. Cards hold only the signer's certificate: pass the
 * certificates between it and the root as `chain`. Rejects before it asks for the PIN if the signing time is outside the
 * certificate's validity.
 */
export async function signDocument(
  webtoki: Webtoki,
  file: DocumentData,
  options: SignDocumentOptions = {},
): Promise<Uint8Array> {
  const { signingTime, chain } = signOptionsAtCall(options)
  const { signal, onProgress, digest } = options
  // Before any APDU: refuses a stream that was read before, and copies an array.
  const data = documentAtCall(file)
  const what = options.for ?? (typeof File === 'undefined' || !(file instanceof File) ? undefined : file.name)
  return webtoki.sign({ ...options, for: what }, (signer) =>
    signDetached(signer, data, { signal, onProgress, digest, signingTime, chain }),
  )
}
