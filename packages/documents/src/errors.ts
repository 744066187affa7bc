/** Errors of signing and verifying documents. */
import { WebtokiError } from '@webtoki/apdu/errors'

/** Why a document could not be signed or verified. */
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

const messages: Readonly<Record<DocumentReason, string>> = {
  'wrong-argument': 'An argument has the wrong type.',
  unreadable: 'The document could not be read to its end. It may have been moved or changed; try again.',
  'already-read':
    'The stream of the document was read before or is empty. Pass a new stream, or a Blob, which can be read again.',
  cancelled: 'Reading the document was cancelled.',
  malformed: 'The signature file cannot be parsed.',
  'too-complex': 'The signature file exceeds a limit, so it was not verified.',
  'not-signed-data': 'The file is CMS but does not contain a signature.',
  'outside-validity':
    'The signing time is outside the validity of the certificate, so the signature would not be trusted.',
  'no-signer': 'The signature file contains no signature.',
  'certificate-missing': 'A certificate of the signer or its chain cannot be parsed.',
  untrusted: 'The certificate of the signer is not trusted.',
}

/** The values of `DocumentError.code`. */
export type DocumentErrorCode = `documents/${DocumentReason}`

/** Details of an error. */
export interface DocumentErrorOptions extends ErrorOptions {
  /** A sentence that is appended to the message: which argument, and what was received. */
  readonly detail?: string | undefined
  /** The limit that was exceeded, for 'too-complex'. */
  readonly limit?: string | undefined
}

/** A document could not be signed or verified. `reason` is for programs. */
export class DocumentError extends WebtokiError {
  readonly code: DocumentErrorCode
  readonly reason: DocumentReason
  /** The limit that the file exceeds, for example `200 signatures`. The standard has no such limit. */
  readonly limit: string | undefined
  constructor(reason: DocumentReason, { detail, limit, ...options }: DocumentErrorOptions = {}) {
    const more = limit === undefined ? detail : `The limit is ${limit}.`
    super(more === undefined ? messages[reason] : `${messages[reason]} ${more}`, options)
    this.code = `documents/${reason}`
    this.reason = reason
    this.limit = limit
  }

  override get name(): 'DocumentError' {
    return 'DocumentError'
  }
}
