/** What can go wrong with a document and its signature. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** One word for each. */
export type DocumentReason =
  | 'unreadable'
  | 'already-read'
  | 'cancelled'
  | 'malformed'
  | 'too-complex'
  | 'not-signed-data'
  | 'no-signer'
  | 'certificate-missing'
  | 'unsupported-algorithm'
  | 'untrusted'

const sentences: Readonly<Record<DocumentReason, string>> = {
  unreadable: 'The document could not be read to its end; it may have been moved or changed.',
  'already-read':
    'The document’s stream was read before, or gives nothing; give a new one, or a Blob, which can be read again.',
  cancelled: 'Reading the document was cancelled.',
  malformed: 'The signature file cannot be read.',
  'too-complex': 'The signature file holds more signatures, certificates or bytes than are verified here.',
  'not-signed-data': 'The file is CMS, and no signature.',
  'no-signer': 'The signature file holds no signature.',
  'certificate-missing': 'The certificate that made the signature is not in the file.',
  'unsupported-algorithm': 'The signature uses an algorithm that is not known here.',
  untrusted: 'The certificate of the signature is not among those that are trusted here.',
}

/** `DocumentError`'s codes. */
export type DocumentErrorCode = `documents/${DocumentReason}`

/** `reason` is for programs. */
export class DocumentError extends WebtokiError {
  readonly code: DocumentErrorCode
  readonly reason: DocumentReason
  constructor(reason: DocumentReason, options?: ErrorOptions) {
    super(sentences[reason], options)
    this.code = `documents/${reason}`
    this.reason = reason
  }

  override get name(): 'DocumentError' {
    return 'DocumentError'
  }
}
