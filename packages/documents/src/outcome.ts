/** The problems of a signature, with the indications of ETSI EN 319 102-1, 5.1.3, and messages for people. */
import type { Indication, SubIndication } from '@webtoki/trust/path'

interface ProblemKind {
  readonly indication: Exclude<Indication, 'TOTAL-PASSED'>
  readonly subIndication: SubIndication
  readonly message: string
}

function failed(subIndication: SubIndication, message: string): ProblemKind {
  return { indication: 'TOTAL-FAILED', subIndication, message }
}

function undecided(subIndication: SubIndication, message: string): ProblemKind {
  return { indication: 'INDETERMINATE', subIndication, message }
}

/** Why a signature is not valid. */
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

const problemKinds: Readonly<Record<SignatureProblemReason, ProblemKind>> = {
  malformed: failed('FORMAT_FAILURE', 'The signature is damaged or does not conform to RFC 5652.'),
  'contradicting-algorithms': failed(
    'FORMAT_FAILURE',
    'The signature uses another hash than the signer states for the document.',
  ),
  'contradicting-content-types': failed(
    'FORMAT_FAILURE',
    'The signer and the file state different types of content.',
  ),
  'other-document': failed('HASH_FAILURE', 'This is not the document that was signed, or it was changed.'),
  'other-embedded-document': failed('HASH_FAILURE', 'The signature file contains a different document.'),
  'wrong-signature': failed(
    'SIG_CRYPTO_FAILURE',
    'The signature was not made with the key of the certificate, or it was changed.',
  ),
  'wrong-signature-or-document': failed(
    'SIG_CRYPTO_FAILURE',
    'The signature is not for this document, or was not made with the key of the certificate.',
  ),
  'certificate-missing': undecided(
    'NO_SIGNING_CERTIFICATE_FOUND',
    'The certificate of the signer is not in the file or cannot be read. Add it if you have it.',
  ),
  'other-certificate': undecided(
    'NO_SIGNING_CERTIFICATE_FOUND',
    'The certificate in the file is not the one that the signer named.',
  ),
  'unsupported-algorithm': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The signature uses an unsupported algorithm, curve or key, so it could not be checked.',
  ),
  'weak-algorithm': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The signature uses SHA-1, MD5 or an older hash. It can be forged and proves nothing.',
  ),
  'weak-key': undecided(
    'CRYPTO_CONSTRAINTS_FAILURE',
    'The key of the signer is too weak, for example RSA below 2048 bits. The signature proves nothing.',
  ),
  'other-content-type': undecided(
    'SIG_CONSTRAINTS_FAILURE',
    'The signature is for an unsupported type of content, such as a time-stamp or a program.',
  ),
  'attributes-as-document': undecided(
    'SIG_CONSTRAINTS_FAILURE',
    'The document is a list of signed attributes, which were signed for another document.',
  ),
  'document-too-large': undecided(
    'SIGNED_DATA_NOT_FOUND',
    'The signature has no signed attributes, and the document is longer than 64 MiB, the limit for such signatures.',
  ),
  'wrong-use': undecided(
    'CHAIN_CONSTRAINTS_FAILURE',
    'The certificate of the signer may not be used to sign documents.',
  ),
  untrusted: undecided('NO_CERTIFICATE_CHAIN_FOUND', 'The certificate of the signer is not trusted.'),
}

/** A problem because of which a signature is not valid. */
export interface SignatureProblem {
  readonly reason: SignatureProblemReason
  readonly indication: Exclude<Indication, 'TOTAL-PASSED'>
  readonly subIndication: SubIndication
  /** A sentence for people. */
  readonly message: string
  /** The error, if one was thrown. */
  readonly cause?: unknown
}

/**
 * Creates a problem. For 'untrusted', the sub-indication and message of a cause such as PathError are used: they are
 * more exact.
 */
export function problem(reason: SignatureProblemReason, cause?: unknown): SignatureProblem {
  const details = cause as { readonly subIndication?: SubIndication; readonly message?: string } | undefined
  const own = reason === 'untrusted' && details?.subIndication !== undefined ? details : undefined
  return {
    reason,
    ...problemKinds[reason],
    ...(own && {
      subIndication: own.subIndication as SubIndication,
      message: own.message ?? problemKinds[reason].message,
    }),
    cause,
  }
}

/** The result of one signature. */
export interface Outcome {
  readonly indication: Indication
  /** That of the first problem; undefined if there are no problems. */
  readonly subIndication: SubIndication | undefined
  /** Those of TOTAL-FAILED first. */
  readonly problems: readonly SignatureProblem[]
}

/** Combines problems: one that proves a signature false outweighs one that leaves it undecided. */
export function outcomeOf(found: readonly SignatureProblem[]): Outcome {
  const problems = found.toSorted((a, b) => weight(a) - weight(b))
  const [first] = problems
  return { indication: first?.indication ?? 'TOTAL-PASSED', subIndication: first?.subIndication, problems }
}

function weight({ indication }: SignatureProblem): number {
  return indication === 'TOTAL-FAILED' ? 0 : 1
}
