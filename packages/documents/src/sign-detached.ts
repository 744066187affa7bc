/** Detached CMS signatures: RFC 5652, with the signed attributes of CAdES-B-B (ETSI EN 319 122-1, 5.1 and 5.2). */
import { schemeOf } from '@webtoki/crypto'
import type { Signer, SignSignal } from '@webtoki/trust'
import { moment, requireOptions, requireSigner } from './arguments.ts'
import { type CertificateData, certificateList } from './certificate-list.ts'
import { cadesBB } from './cms/attributes.ts'
import { oids } from './cms/oids.ts'
import { prepareSignature } from './cms/sign.ts'
import { documentAtCall, type DocumentData, type ProgressOptions } from './data.ts'
import { type DigestElsewhere, digestsOf, type HashName } from './digest.ts'

/** What a signature says, and how its document is read. */
export interface DocumentSignatureOptions extends ProgressOptions {
  /** Default: now. */
  readonly signingTime?: Date | undefined
  /** Certificates between the signer's and the root, in DER or PEM, beside the signer's own `chain`; they go into the file. */
  readonly chain?: readonly CertificateData[] | undefined
  /** Digests elsewhere, in a worker say. Default: here, in pieces. */
  readonly digest?: DigestElsewhere | undefined
}

/** How a document is signed. */
export interface SignDetachedOptions extends DocumentSignatureOptions {
  readonly signal?: SignSignal | undefined
}

/** `signingTime` and `chain` as they are now. Throws DocumentError 'wrong-argument', also for the other options. */
export function signOptionsAtCall(options: SignDetachedOptions): {
  readonly signingTime: Date
  readonly chain: readonly Uint8Array[]
} {
  requireOptions(options)
  return {
    signingTime: moment('signingTime', options.signingTime),
    chain: certificateList('chain', options.chain),
  }
}

/**
 * Resolves to ContentInfo in DER, the `.p7s`. Before anything is read or signed, rejects with CertificateUseError if the
 * certificate may not sign documents, with DocumentError 'outside-validity' if the signing time is outside its validity,
 * and 'wrong-argument', which names the argument; later with DocumentError, and with whatever the signer says.
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
