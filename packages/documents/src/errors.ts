/** What can go wrong with a document and its signature. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** One word for each. */
export type DocumentReason =
  | 'wrong-argument'
  | 'unreadable'
  | 'already-read'
  | 'cancelled'
  | 'malformed'
  | 'too-complex'
  | 'not-signed-data'
  | 'no-signer'
  | 'outside-validity'
  | 'certificate-missing'
  | 'untrusted'

const sentences: Readonly<Record<DocumentReason, string>> = {
  'wrong-argument': 'An argument is not what is asked for.',
  unreadable: 'The document could not be read to its end; it may have been moved or changed.',
  'already-read':
    'The document’s stream was read before, or gives nothing; give a new one, or a Blob, which can be read again.',
  cancelled: 'Reading the document was cancelled.',
  malformed: 'The signature file cannot be read.',
  'too-complex': 'The signature file is larger than what is verified here; it may be in order.',
  'not-signed-data': 'The file is CMS, and no signature.',
  'outside-validity':
    'The signing time is outside the validity of the certificate, so nobody could trust the signature.',
  'no-signer': 'The signature file holds no signature.',
  'certificate-missing': 'The certificate that made the signature is not in the file.',
  untrusted: 'The certificate of the signature is not among those that are trusted here.',
}

/** `DocumentError`'s codes. */
export type DocumentErrorCode = `documents/${DocumentReason}`

/** What an error says beside its reason. */
export interface DocumentErrorOptions extends ErrorOptions {
  /** Ends the sentence: which argument, what came. */
  readonly detail?: string | undefined
  /** Of 'too-complex'. */
  readonly limit?: string | undefined
}

/** `reason` is for programs. */
export class DocumentError extends WebtokiError {
  readonly code: DocumentErrorCode
  readonly reason: DocumentReason
  /** The limit that the file exceeds: `200 signatures`, say. It is ours, not the standard's. */
  readonly limit: string | undefined
  constructor(reason: DocumentReason, { detail, limit, ...options }: DocumentErrorOptions = {}) {
    const more = limit === undefined ? detail : `The limit is ${limit}.`
    super(more === undefined ? sentences[reason] : `${sentences[reason]} ${more}`, options)
    this.code = `documents/${reason}`
    this.reason = reason
    this.limit = limit
  }

  override get name(): 'DocumentError' {
    return 'DocumentError'
  }
}
