/** One signature, verified over the digest of its content: RFC 5652, 5.4 and 5.6. */
import {
  hashes,
  isWeakKey,
  objectIdentifier,
  type ReadCertificate,
  readHash,
  readPublicKey,
  readSignatureScheme,
  sequenceOf,
  type SignatureScheme,
} from '@webtoki/crypto'
import { equalBytes } from '@webtoki/apdu/bytes'
import type { SignatureVerifier } from '@webtoki/trust'
import type { HashName } from '../digest.ts'
import { problem, type SignatureProblem } from '../outcome.ts'
import { readSignedAttributes } from './attributes.ts'
import { elementsIn } from './ber.ts'
import { isReferenceTo } from './certificate-reference.ts'
import { oids } from './oids.ts'
import type { SignerInfo } from './signer-info.ts'

/** What was signed, as the verifier has it. */
export interface SignedContent {
  /** eContentType of the SignedData. */
  readonly type: string
  /** By the hashes that the file's signers name for it. */
  readonly digests: Readonly<Partial<Record<HashName, Uint8Array>>>
  /** The content itself, for signatures without signed attributes; undefined if it was not kept. */
  readonly bytes: Uint8Array | undefined
}

/** What a signer names as the way it signed. 'weak': MD2 or MD5. Undefined: not known here. */
export interface SignerAlgorithms {
  /** Of the content. */
  readonly hash: HashName | 'weak' | undefined
  readonly scheme: SignatureScheme | 'weak' | undefined
}

/** Throws RangeError. */
export function algorithmsOf({ digestAlgorithm, signatureAlgorithm }: SignerInfo): SignerAlgorithms {
  const hash = readHash(digestAlgorithm)
  const [id] = sequenceOf(digestAlgorithm)
  if (id !== undefined && olderThanSha1.includes(objectIdentifier(id)))
    return { hash: 'weak', scheme: 'weak' }
  return { hash, scheme: readSignatureScheme(signatureAlgorithm, hash) }
}

/** Whether others could have made the signature. */
function isForgeable({ hash, scheme }: SignerAlgorithms): boolean {
  if (hash === 'weak' || scheme === 'weak') return true
  return [hash, scheme?.hash].some((each) => each !== undefined && hashes[each].isWeak)
}

/** MD2 and MD5, which nobody computes here. */
const olderThanSha1 = ['1.2.840.113549.2.2', '1.2.840.113549.2.5']

/** What was found of a signature over its content. Undefined: it could not be told, or what was found proves nothing. */
export interface SignatureFindings {
  /** The content is the one that was signed. */
  readonly digestMatches: boolean | undefined
  /** The signature was made with the certificate's key. */
  readonly signatureValid: boolean | undefined
  /** The signed attributes name this certificate; undefined also if none names any. */
  readonly signingCertificateMatches: boolean | undefined
  readonly problems: readonly SignatureProblem[]
}

/** Says nothing of whom the certificate is of, and of what it may be used for. */
export async function verifySigner(
  info: SignerInfo,
  certificate: ReadCertificate,
  content: SignedContent,
  verifier: SignatureVerifier,
): Promise<SignatureFindings> {
  const { attributes } = info
  const algorithms = algorithmsOf(info)
  const { hash, scheme } = algorithms
  const isWeak = isForgeable(algorithms)
  const digest = hash === undefined || hash === 'weak' ? undefined : content.digests[hash]
  const problems: SignatureProblem[] = []
  const add = (...found: Parameters<typeof problem>): void => void problems.push(problem(...found))
  if (isWeak) add('weak-algorithm')
  else if (hash === undefined || scheme === undefined) add('unsupported-algorithm')
  const isContradicted = typeof scheme === 'object' && scheme.hash !== undefined && scheme.hash !== hash
  if (isContradicted && hash !== undefined) add('contradicting-algorithms')
  if (content.type !== oids.data) add('other-content-type')
  let digestMatches: boolean | undefined
  if (attributes === undefined) {
    // RFC 5652, 5.3: only plain data is signed without attributes.
    if (content.type !== oids.data) add('malformed')
    if (content.bytes === undefined) add('document-too-large')
    else if (areAttributes(content.bytes)) add('attributes-as-document')
  } else {
    if (attributes.contentType !== content.type) add('contradicting-content-types')
    const isSigned = digest && equalBytes(attributes.messageDigest, digest)
    if (isSigned === false) add('other-document')
    digestMatches = isSigned && isWeak ? undefined : isSigned
  }
  const references = (attributes?.certificates ?? []).map((each) => isReferenceTo(each, certificate))
  if (references.includes(false)) add('other-certificate')
  else if (references.includes(undefined)) add('unsupported-algorithm')
  let signatureValid: boolean | undefined
  if (typeof scheme === 'object' && !isContradicted) {
    const key = certificate.publicKeyInfo
    const signed = attributes?.signed ?? (content.bytes === undefined ? [] : [content.bytes])
    for (const bytes of signed) {
      const verdict = await verifier.verify(key, scheme, info.signature, bytes)
      if (isUnusable(key) && verdict !== 'invalid') add('weak-key')
      else if (verdict === 'unsupported' && problems.length === 0) add('unsupported-algorithm')
      signatureValid = verdict === 'valid' || (verdict === 'invalid' ? false : undefined)
      if (verdict !== 'invalid') break
    }
    if (attributes === undefined && signatureValid === true) digestMatches = true
    if (signatureValid === false) add(attributes ? 'wrong-signature' : 'wrong-signature-or-document')
  }
  return {
    digestMatches,
    signatureValid,
    signingCertificateMatches: references.includes(false)
      ? false
      : references[0] && !references.includes(undefined),
    problems,
  }
}

/** Whether others could have signed under the key. One that cannot be read is not weak. */
function isUnusable(publicKeyInfo: Uint8Array): boolean {
  try {
    return isWeakKey(readPublicKey(publicKeyInfo))
  } catch {
    return false
  }
}

/**
 * Whether a document is a signer's SET of attributes. Its signature over them is also one over this "document" without
 * attributes (RFC 8933 and RFC 5652, 5.4 do not tell the two apart), and nobody meant to sign that.
 */
function areAttributes(document: Uint8Array): boolean {
  if (document[0] !== 0x31) return false
  try {
    const [set, ...more] = elementsIn(document)
    return set !== undefined && more.length === 0 && readSignedAttributes(set).messageDigest.length > 0
  } catch {
    return false
  }
}
