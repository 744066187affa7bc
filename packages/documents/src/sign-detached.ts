/**
 * Creates detached CMS signatures: RFC 5652, with the signed attributes of CAdES-B-B (ETSI EN 319 122-1, 5.1 and 5.2).
 */
import { schemeOf } from '@webtoki/crypto'
import type { Signer, SignSignal } from '@webtoki/trust'
import { dateOrNow, requireOptions, requireSigner } from './arguments.ts'
import { type CertificateData, certificateList } from './certificate-list.ts'
import { cadesBB } from './cms/attributes.ts'
import { oids } from './cms/oids.ts'
import { prepareSignature } from './cms/sign.ts'
import { documentAtCall, type DocumentData, type ProgressOptions } from './data.ts'
import { type DigestFunction, digestsOf, type HashName } from './digest.ts'

/** The contents of a signature, and how its document is read. */
export interface DocumentSignatureOptions extends ProgressOptions {
  /** The time that the signature states; default: now. */
  readonly signingTime?: Date | undefined
  /** Intermediate certificates in DER or PEM that are added to the file, in addition to the signer's `chain`. */
  readonly chain?: readonly CertificateData[] | undefined
  /** Computes the digest elsewhere, for example in a worker. Default: here, in pieces. */
  readonly digest?: DigestFunction | undefined
}

/** Options of `signDetached`. */
export interface SignDetachedOptions extends DocumentSignatureOptions {
  /** Aborts the reading of the document and the signature. */
  readonly signal?: SignSignal | undefined
}

/** Checks all options and returns copies of `signingTime` and `chain`. Throws DocumentError 'wrong-argument'. */
export function signOptionsAtCall(options: SignDetachedOptions): {
  readonly signingTime: Date
  readonly chain: readonly Uint8Array[]
} {
  requireOptions(options)
  return {
    signingTime: dateOrNow('signingTime', options.signingTime),
    chain: certificateList('chain', options.chain),
  }
}

/**
 * Signs a document. Resolves to a ContentInfo in DER, the content of a `.p7s` file.
 *
 * Before anything is read or signed, it rejects with CertificateUseError if the certificate may not sign documents, and
 * with DocumentError 'outside-validity' if the signing time is outside the validity of the certificate,
 * 'certificate-missing' if a certificate cannot be parsed, and 'wrong-argument', which names the argument. Later it
 * rejects with DocumentError if the document cannot be read, and with the errors of the signer.
 */
export async function signDetached(
  signer: Signer,
  data: DocumentData,
  options: SignDetachedOptions = {},
): Promise<Uint8Array> {
  const { signingTime, chain } = signOptionsAtCall(options)
  const { signal } = options
  requireSigner(signer)
  const prepared = prepareSignature(signer, { profile: cadesBB, contentType: oids.data, signingTime, chain })
  const hash = schemeOf(signer.algorithm).hash as HashName
  const digests = await digestsOf([hash], documentAtCall(data), options)
  return prepared.sign(digests[hash], { signal })
}
