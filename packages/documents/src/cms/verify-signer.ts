/** Verifies one signature over the digest of its content: RFC 5652, 5.4 and 5.6. */
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

/** The content to verify signatures against. */
export interface SignedContent {
  /** eContentType of the SignedData. */
  readonly type: string
  /** Digests of the content by all hashes that the signers state. */
  readonly digests: Readonly<Partial<Record<HashName, Uint8Array>>>
  /** The content itself, for signatures without signed attributes; undefined if it was not kept in memory. */
  readonly bytes: Uint8Array | undefined
}

/** The algorithms that a signer states. 'weak' means MD2 or MD5, undefined means unknown. */
export interface SignerAlgorithms {
  /** The hash of the content. */
  readonly hash: HashName | 'weak' | undefined
  readonly scheme: SignatureScheme | 'weak' | undefined
}

/** Parses the algorithms of a SignerInfo. Throws RangeError. */
export function algorithmsOf({ digestAlgorithm, signatureAlgorithm }: SignerInfo): SignerAlgorithms {
  const hash = readHash(digestAlgorithm)
  const [id] = sequenceOf(digestAlgorithm)
  if (id !== undefined && olderThanSha1.includes(objectIdentifier(id)))
    return { hash: 'weak', scheme: 'weak' }
  return { hash, scheme: readSignatureScheme(signatureAlgorithm, hash) }
}

/** Returns whether the hash is so weak that the signature could have been forged. */
function isForgeable({ hash, scheme }: SignerAlgorithms): boolean {
  if (hash === 'weak' || scheme === 'weak') return true
  return [hash, scheme?.hash].some((each) => each !== undefined && hashes[each].isWeak)
}

/** MD2 and MD5, which are not implemented. */
const olderThanSha1 = ['1.2.840.113549.2.2', '1.2.840.113549.2.5']

/**
 * The findings about a signature over its content. Undefined means that it could not be checked, or that the result
 * proves nothing.
 */
export interface SignatureFindings {
  /** True if the content is what was signed. */
  readonly digestMatches: boolean | undefined
  /** True if the signature was made with the key of the certificate. */
  readonly signatureValid: boolean | undefined
  /** True if the signed attributes identify this certificate; undefined also if they identify none. */
  readonly signingCertificateMatches: boolean | undefined
  readonly problems: readonly SignatureProblem[]
}

/**
 * Verifies the signature with the key of the certificate. It checks neither trust in the certificate nor its key usage.
 */
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
    // RFC 5652, 5.3: signed attributes may be absent only for the content type id-data.
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

/** Returns whether the key is weak. A key that cannot be parsed is not; it leads to 'unsupported-algorithm'. */
function isUnusable(publicKeyInfo: Uint8Array): boolean {
  try {
    return isWeakKey(readPublicKey(publicKeyInfo))
  } catch {
    return false
  }
}

/**
 * Returns whether a document is a SET of signed attributes. A signature over them is also a valid signature, without
 * signed attributes, over them as a document, which the signer did not intend. RFC 5652, 5.4 and RFC 8933 do not
 * distinguish the two.
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
