/** What is said of a signature, in the words of ETSI EN 319 102-1, 5.1.3, and in plain ones. */
import type { Indication, SubIndication } from '@webtoki/trust/path'

interface Kind {
  readonly indication: Exclude<Indication, 'TOTAL-PASSED'>
  readonly subIndication: SubIndication
  readonly message: string
}

function failed(subIndication: SubIndication, message: string): Kind {
  return { indication: 'TOTAL-FAILED', subIndication, message }
}

function undecided(subIndication: SubIndication, message: string): Kind {
  return { indication: 'INDETERMINATE', subIndication, message }
}

/** One word for each problem of a signature. */
export type SignatureProblemReason =
  | 'malformed'
  | 'contradicting-algorithms'
  | 'contradicting-content-types'
  | 'other-document'
  | 'other-embedded-document'
  | 'wrong-signature'
  | 'wrong-signature-or-document'
  | 'certificate-missing'
  | 'other-certificate'
  | 'unsupported-algorithm'
  | 'weak-algorithm'
  | 'weak-key'
  | 'other-content-type'
  | 'attributes-as-document'
  | 'document-too-large'
  | 'wrong-use'
  | 'untrusted'

const kinds: Readonly<Record<SignatureProblemReason, Kind>> = {
  malformed: failed('FORMAT_FAILURE', 'The signature is damaged, or is not written as RFC 5652 says.'),
  'contradicting-algorithms': failed(
    'FORMAT_FAILURE',
    'The signature was made over another hash than the one that the signer names for the document.',
  ),
  'contradicting-content-types': failed(
    'FORMAT_FAILURE',
    'The signer names another type of content than the file does.',
  ),
  'other-document': failed(
    'HASH_FAILURE',
    'This document is not the one that was signed, or it was changed.',
  ),
  'other-embedded-document': failed(
    'HASH_FAILURE',
    'The signature file contains another document than this one.',
  ),
  'wrong-signature': failed(
    'SIG_CRYPTO_FAILURE',
    'The signature was not made with the key of the certificate, or it was changed.',
  ),
  'wrong-signature-or-document': failed(
    'SIG_CRYPTO_FAILURE',
    'The signature is not of this document, or was not made with the key of the certificate.',
  ),
  'certificate-missing': undecided(
    'NO_SIGNING_CERTIFICATE_FOUND',
    'The certificate of the signer is not in the file, or cannot be read. Hand it in if you have it.',
  ),
  'other-certificate': undecided(
    'NO_SIGNING_CERTIFICATE_FOUND',
    'The signer names another certificate than the one that the file has for this signature.',
  ),
  'unsupported-algorithm': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The signature uses an algorithm, a curve or a key that cannot be verified here; it may be right.',
  ),
  'weak-algorithm': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The signature uses SHA-1, MD5 or an older hash, which can be forged; it proves nothing.',
  ),
  'weak-key': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The key of the signer is too weak, for example RSA below 2048 bits; the signature proves nothing.',
  ),
  'other-content-type': undecided(
    'SIG_CONSTRAINTS_FAILURE',
    'The signature is of a kind of content that is not judged here, such as a time-stamp or a program.',
  ),
  'attributes-as-document': undecided(
    'SIG_CONSTRAINTS_FAILURE',
    'The document is the list of attributes that a signer signed for another document.',
  ),
  'document-too-large': undecided(
    'SIGNED_DATA_NOT_FOUND',
    'The signature has no signed attributes, and the document is longer than the 64 MiB that are verified so here.',
  ),
  'wrong-use': undecided(
    'CHAIN_CONSTRAINTS_FAILURE',
    'The certificate of the signer is not for signing documents.',
  ),
  untrusted: undecided('NO_CERTIFICATE_CHAIN_FOUND', 'The certificate of the signer is not trusted here.'),
}

/** Something that keeps a signature from passing. */
export interface SignatureProblem {
  readonly reason: SignatureProblemReason
  readonly indication: Exclude<Indication, 'TOTAL-PASSED'>
  readonly subIndication: SubIndication
  /** A sentence for people. */
  readonly message: string
  /** What was thrown, if anything was. */
  readonly cause?: unknown
}

/** What a cause says of itself in the same words (PathError does) is more exact. */
export function problem(reason: SignatureProblemReason, cause?: unknown): SignatureProblem {
  const said = cause as { readonly subIndication?: SubIndication; readonly message?: string } | undefined
  const own = reason === 'untrusted' && said?.subIndication !== undefined ? said : undefined
  return {
    reason,
    ...kinds[reason],
    ...(own && {
      subIndication: own.subIndication as SubIndication,
      message: own.message ?? kinds[reason].message,
    }),
    cause,
  }
}

/** The outcome of one signature. */
export interface Outcome {
  readonly indication: Indication
  /** Of the first of the problems; undefined if there are none. */
  readonly subIndication: SubIndication | undefined
  /** The gravest first. */
  readonly problems: readonly SignatureProblem[]
}

/** What proves a signature false outweighs what leaves it open. */
export function outcomeOf(found: readonly SignatureProblem[]): Outcome {
  const problems = found.toSorted((a, b) => weight(a) - weight(b))
  const [first] = problems
  return { indication: first?.indication ?? 'TOTAL-PASSED', subIndication: first?.subIndication, problems }
}

function weight({ indication }: SignatureProblem): number {
  return indication === 'TOTAL-FAILED' ? 0 : 1
}
