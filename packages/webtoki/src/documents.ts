/** Documents signed with a card: detached CMS with CAdES attributes. Loads what that needs; the login path does not. */
import {
  documentAtCall,
  type DocumentData,
  type DocumentSignatureOptions,
  signDetached,
  signOptionsAtCall,
} from '@webtoki/documents'
import type { UseOptions, Webtoki } from './webtoki.ts'

export * from '@webtoki/documents'

/** How a document is signed. */
export interface SignDocumentOptions extends UseOptions, DocumentSignatureOptions {}

/**
 * Signs a file with a card and resolves to the `.p7s`: detached CMS in DER. Cards keep their own certificate alone: hand in
 * those between it and the root as `chain`. A signing time outside the certificate's validity is refused before the PIN.
 */
export async function signDocument(
  webtoki: Webtoki,
  file: DocumentData,
  options: SignDocumentOptions = {},
): Promise<Uint8Array> {
  const { signingTime, chain } = signOptionsAtCall(options)
  const { signal, onProgress, digest } = options
  // Before the card is asked for anything: a stream that was read is refused, an array counts as it is now.
  const data = documentAtCall(file)
  const what = options.for ?? (typeof File === 'undefined' || !(file instanceof File) ? undefined : file.name)
  return webtoki.sign({ ...options, for: what }, (signer) =>
    signDetached(signer, data, { signal, onProgress, digest, signingTime, chain }),
  )
}
