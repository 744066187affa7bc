/** Documents signed with a card: detached CMS with CAdES attributes. Loads pkijs; the login path does not. */
import { documentAtCall, signDetached, type SignDetachedOptions } from '@webtoki/documents'
import type { UseOptions, Webtoki } from './webtoki.ts'

export * from '@webtoki/documents'

/** How a document is signed. */
export interface SignDocumentOptions
  extends UseOptions,
    Pick<SignDetachedOptions, 'onProgress' | 'digest' | 'signingTime'> {}

/** Signs a file with a card and resolves to the `.p7s`: detached CMS in DER. */
export async function signDocument(
  webtoki: Webtoki,
  file: Parameters<typeof signDetached>[1],
  options: SignDocumentOptions = {},
): Promise<Uint8Array> {
  const { signal, onProgress, digest } = options
  const signingTime = options.signingTime && new Date(options.signingTime)
  // Before the card is asked for anything: a stream that was read is refused, an array counts as it is now.
  const data = documentAtCall(file)
  const what = options.for ?? (typeof File === 'undefined' || !(file instanceof File) ? undefined : file.name)
  return webtoki.sign({ ...options, for: what }, (signer) =>
    signDetached(signer, data, {
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(digest === undefined ? {} : { digest }),
      ...(signingTime === undefined ? {} : { signingTime }),
    }),
  )
}
