/** Builds and validates certificate paths: RFC 5280, 6.1, without revocation. */
import {
  ExtensionId,
  readBasicConstraints,
  readCertificate,
  type ReadCertificate,
  readKeyUsage,
  readPolicies,
  readSignatureScheme,
  type SignatureScheme,
} from '@webtoki/crypto'
import { keyOf, type ByteSource, copyOf, viewOf } from '@webtoki/apdu/bytes'
import { requireDate, requireBytes, requireCertificates, requireOptions } from './arguments.ts'
import { PathError, TrustArgumentError, type UnusableCertificate } from './errors.ts'
import {
  areWithin,
  type ConstrainedNames,
  constrainedNames,
  type NameConstraints,
  readNameConstraints,
} from './name-constraints.ts'
import { policyExtensions, type PolicyOptions, requirePolicyOptions, validPolicies } from './policies.ts'
import { checkedPublicKey } from './public-key.ts'
import { type SignatureVerdict, SignatureVerifier } from './signature.ts'

export {
  type Indication,
  PathError,
  type PathErrorCode,
  type PathReason,
  type SubIndication,
  TrustArgumentError,
  type UnusableCertificate,
} from './errors.ts'
export type { PolicyOptions } from './policies.ts'

/** The inputs of `verifyPath` besides the leaf. */
export interface PathOptions {
  /**
   * Trusted certificates in DER: roots, or the issuing CAs that a site pins. As trust anchors (RFC 5280, 6.1.1 (d)),
   * their own signature, critical extensions and policies are not checked. Their dates, their right to issue
   * certificates, their path length and their name constraints are checked, as in OpenSSL.
   */
  readonly anchors: readonly ByteSource[]
  /** Certificates in DER that may connect the leaf with an anchor. */
  readonly intermediates?: readonly ByteSource[] | undefined
  /** The time for which the path has to be valid. */
  readonly at: Date
  /** Requirements on certificate policies; default: only those that the CAs of the path set. */
  readonly policies?: PolicyOptions | undefined
  /** A cache for several calls, so that each certificate is parsed once and each signature verified once. */
  readonly memory?: PathMemory | undefined
}

/** A valid path. */
export interface VerifiedPath {
  /** Certificates in DER, leaf first, anchor last. */
  readonly path: readonly Uint8Array[]
  /**
   * Object identifiers of the acceptable policies for which the path is valid, in the policy domain of the anchor;
   * '2.5.29.32.0' means all policies (user-constrained-policy-set).
   */
  readonly policies: readonly string[]
  /** The checks that were not made. */
  readonly notChecked: readonly ['revocation']
  /** Anchors that cannot be parsed and were ignored. */
  readonly unusableAnchors: readonly UnusableCertificate[]
  /** Intermediates that cannot be parsed and were ignored. */
  readonly unusableIntermediates: readonly UnusableCertificate[]
}

/** Critical extensions that are checked here or by the callers of `verifyPath`. */
const understoodExtensions: ReadonlySet<string> = /* @__PURE__ */ new Set([
  ExtensionId.basicConstraints,
  ExtensionId.keyUsage,
  ExtensionId.nameConstraints,
  ExtensionId.subjectAlternativeName,
  ExtensionId.extendedKeyUsage,
  // For the caller's revocation check.
  ExtensionId.cRLDistributionPoints,
  ...policyExtensions,
])
/** Policy qualifiers that are meant for people only: CPS pointer and user notice (RFC 5280, 4.2.1.4). */
const understoodQualifiers: ReadonlySet<string> = /* @__PURE__ */ new Set([
  '1.3.6.1.5.5.7.2.1',
  '1.3.6.1.5.5.7.2.2',
])
/** Certificates in a path. Longer paths come from loops or from attacks on the running time. */
const MAX_PATH = 8
/** Limits of the work of a single call, against inputs that are made to take long. Genuine paths need far less. */
const MAX_INTERMEDIATES = 200
const MAX_SIGNATURE_CHECKS = 100
const MAX_STEPS = 1000
const MAX_NAME_COMPARISONS = 100_000
/** Certificates in one `PathMemory`. */
const MAX_REMEMBERED = 500

/** A parsed certificate with values derived from it. `names` and `constraints` are computed on the first call. */
interface CachedCertificate {
  readonly read: ReadCertificate
  /** Throws PathError 'malformed'. */
  readonly names: () => ConstrainedNames
  /** Throws PathError 'malformed'. */
  readonly constraints: () => NameConstraints | undefined
  /**
   * Everything in the certificate that the checks of its issuers depend on. Two certificates of the same shape are
   * interchangeable in the lower part of a path. Empty if no such check depends on the certificate.
   */
  readonly shape: string
}

/**
 * A cache for several calls of `verifyPath`: each certificate is parsed once, each signature verified once and each key
 * imported once. Entries are found by their bytes. The cache is cleared when it holds 500 certificates.
 */
export class PathMemory {
  #certificates: Map<string, CachedCertificate>
  #signatures = new Map<string, Promise<SignatureVerdict>>()
  #verifier = new SignatureVerifier()

  /**
   * Starts with the certificates that `other` has parsed. Certificates that are added later are not added to `other`,
   * so a long-lived cache of CAs does not fill up with leaf certificates. Throws TrustArgumentError.
   */
  constructor(other?: PathMemory) {
    if (other !== undefined && !(other instanceof PathMemory))
      throw new TrustArgumentError('other', 'a PathMemory')
    this.#certificates = new Map(other === undefined ? [] : other.#certificates)
  }

  /** Parses a certificate in DER or returns it from the cache. Throws PathError 'malformed', TrustArgumentError. */
  read(der: ByteSource): ReadCertificate {
    requireBytes('der', der)
    return this.known(der).read
  }

  /** @internal */
  known(der: ByteSource): CachedCertificate {
    const key = keyOf(viewOf(der))
    const cached = this.#certificates.get(key)
    if (cached !== undefined) return cached
    if (this.#certificates.size >= MAX_REMEMBERED) {
      this.#certificates = new Map()
      this.#signatures = new Map()
      this.#verifier = new SignatureVerifier()
    }
    const known = cachedCertificate(orMalformed(() => readCertificate(der)))
    this.#certificates.set(key, known)
    return known
  }

  /** @internal `count` is called before a signature that is not in the cache is verified; it throws at the limit. */
  verify(
    child: ReadCertificate,
    scheme: SignatureScheme,
    issuer: ReadCertificate,
    count: () => void,
  ): Promise<SignatureVerdict> {
    const key = `${child.key} ${keyOf(issuer.publicKeyInfo)}`
    const cached = this.#signatures.get(key)
    if (cached !== undefined) return cached
    count()
    const verdict = this.#verifier.verify(issuer.publicKeyInfo, scheme, child.signature, child.signed)
    this.#signatures.set(key, verdict)
    return verdict
  }
}

function cachedCertificate(read: ReadCertificate): CachedCertificate {
  const valueOf = (id: string) => read.extensions.get(id)?.value
  let names: ConstrainedNames | undefined
  let constraints: { readonly of: NameConstraints | undefined } | undefined
  return {
    read,
    names: () =>
      (names ??= orMalformed(() =>
        constrainedNames(read.subject, valueOf(ExtensionId.subjectAlternativeName)),
      )),
    constraints: () => {
      const value = valueOf(ExtensionId.nameConstraints)
      constraints ??= { of: value && orMalformed(() => readNameConstraints(value)) }
      return constraints.of
    },
    shape: shapeOf(read),
  }
}

function shapeOf(read: ReadCertificate): string {
  const ids = isSelfIssued(read)
    ? policyExtensions
    : [ExtensionId.subjectAlternativeName, ...policyExtensions]
  const visible = ids.flatMap((id) => {
    const extension = read.extensions.get(id)
    return extension === undefined ? [] : [[id, keyOf(extension.value)]]
  })
  // Neither pathLenConstraint nor name constraints apply to a self-issued certificate.
  if (!isSelfIssued(read)) visible.push(['subject', read.subject.key])
  return visible.length === 0 ? '' : JSON.stringify(visible)
}

function orMalformed<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
}

/** A certificate that the search reached from the leaf, and the step before it. */
interface Step {
  readonly known: CachedCertificate
  readonly from: Step | undefined
  readonly length: number
  /** The number of intermediates so far that are not self-issued, which pathLenConstraint limits. */
  readonly counted: number
}

/**
 * Builds and validates a path from the leaf (a certificate in DER) to an anchor: RFC 5280, 6.1. It checks neither
 * revocation nor what the leaf's key may be used for. Rejects with PathError, whose reason is that of the longest path
 * that was tried, and with TrustArgumentError if an argument is invalid, for example an invalid Date as `at`.
 */
export async function verifyPath(leaf: ByteSource, options: PathOptions): Promise<VerifiedPath> {
  requireBytes('leaf', leaf)
  requireOptions('options', options)
  const { memory = new PathMemory(), policies = {}, intermediates = [] } = options
  requireCertificates('anchors', options.anchors)
  requireCertificates('intermediates', intermediates)
  const at = requireDate('at', options.at)
  requirePolicyOptions('policies', policies)
  requireMemory('memory', memory)
  const start = memory.known(leaf)
  const { known: anchors, unusable: unusableAnchors } = readCertificates(options.anchors, memory)
  const anchorKeys = new Set(anchors.map(({ read }) => read.key))
  if (intermediates.length > MAX_INTERMEDIATES) throw new PathError('too-complex')
  const { known: knownIntermediates, unusable: unusableIntermediates } = readCertificates(
    intermediates,
    memory,
  )
  const issuers = bySubject([...anchors, ...knownIntermediates])
  /** Throws PathError 'policy'. Returns copies, so that callers cannot change cached certificates. */
  const verified = (path: readonly CachedCertificate[]): VerifiedPath => {
    const below = path.slice(0, -1).map(({ read }) => read)
    const valid = orMalformed(() => validPolicies(below.toReversed(), policies))
    if (valid === undefined) throw new PathError('policy')
    return {
      path: path.map(({ read }) => copyOf(read.der)),
      policies: valid,
      notChecked: ['revocation'],
      unusableAnchors,
      unusableIntermediates,
    }
  }
  checkCertificate(start.read, at, anchorKeys)
  if (anchorKeys.has(start.read.key)) return verified([start])
  const countSignature = callLimit(MAX_SIGNATURE_CHECKS)
  const countStep = callLimit(MAX_STEPS)
  const countName = callLimit(MAX_NAME_COMPARISONS)
  let furthest: { readonly error: PathError; readonly length: number } | undefined
  // Breadth first. An issuer is not tried twice above certificates of the same shapes: otherwise n CAs with one name would
  // cost n! steps.
  const shapes = new Map<string, number>()
  const reached = new Set<string>()
  const steps: Step[] = [{ known: start, from: undefined, length: 1, counted: 0 }]
  for (const step of steps) {
    const { known: last, length } = step
    const stepsBelow = stepsTo(step)
    const keysOnPath = new Set(stepsBelow.map(({ known }) => known.read.key))
    // The leaf is the same in every path.
    const shapesBelow = stepsBelow
      .slice(1)
      .map(({ known }) => known.shape)
      .filter((shape) => shape !== '')
      .map((shape) => numberOf(shape, shapes))
      .join()
    for (const issuer of issuers.get(last.read.issuer.key) ?? []) {
      if (keysOnPath.has(issuer.read.key)) continue
      try {
        if (length >= MAX_PATH) throw new PathError('too-complex')
        const state = `${numberOf(issuer.read.key, shapes)} over ${shapesBelow}`
        if (reached.has(state)) continue
        countStep()
        const counted = step.counted + (length === 1 || isSelfIssued(last.read) ? 0 : 1)
        checkIssuer(issuer.read, at, counted, anchorKeys)
        checkNames(issuer, stepsBelow, countName)
        const scheme = schemeOf(last.read)
        const verdict = await memory.verify(last.read, scheme, issuer.read, countSignature)
        if (verdict === 'unsupported') throw new PathError('unsupported-algorithm')
        // `checkCertificate` has refused weak keys, so the hash is weak.
        if (verdict === 'weak') throw new PathError('weak-hash')
        if (verdict !== 'valid') throw new PathError('bad-signature')
        if (anchorKeys.has(issuer.read.key))
          return verified([...stepsBelow.map(({ known }) => known), issuer])
        reached.add(state)
        steps.push({ known: issuer, from: step, length: length + 1, counted })
      } catch (error) {
        if (!(error instanceof PathError)) throw error
        if (error.reason === 'too-complex' && length < MAX_PATH) throw error
        if (furthest === undefined || length > furthest.length) furthest = { error, length }
      }
    }
  }
  const error = furthest?.error ?? new PathError('untrusted')
  error.unusableAnchors = unusableAnchors
  error.unusableIntermediates = unusableIntermediates
  throw error
}

/** Throws TrustArgumentError. It checks no class, because the memory may come from another copy of this package. */
function requireMemory(argument: string, memory: PathMemory | null): void {
  if (typeof memory?.known !== 'function' || typeof memory.verify !== 'function')
    throw new TrustArgumentError(argument, 'a PathMemory')
}

/** Returns a number for each distinct text, so that keys built from several long texts stay short. */
function numberOf(text: string, numbers: Map<string, number>): number {
  const number = numbers.get(text) ?? numbers.size
  numbers.set(text, number)
  return number
}

/** Parses certificates; one that cannot be parsed is reported in `unusable` and does not affect the others. */
function readCertificates(
  ders: readonly ByteSource[],
  memory: PathMemory,
): { readonly known: readonly CachedCertificate[]; readonly unusable: readonly UnusableCertificate[] } {
  const unusable: UnusableCertificate[] = []
  const known = ders.flatMap((der, index) => {
    try {
      return [memory.known(der)]
    } catch (error) {
      if (!(error instanceof PathError)) throw error
      unusable.push({ index, error })
      return []
    }
  })
  return { known, unusable }
}

/** Groups certificates by subject, without duplicates. */
function bySubject(all: readonly CachedCertificate[]): ReadonlyMap<string, readonly CachedCertificate[]> {
  const found = new Map<string, CachedCertificate[]>()
  for (const known of new Map(all.map((each) => [each.read.key, each])).values()) {
    const { key } = known.read.subject
    const namesakes = found.get(key)
    if (namesakes === undefined) found.set(key, [known])
    else namesakes.push(known)
  }
  return found
}

/** Returns a function that throws PathError 'too-complex' after `times` calls. */
function callLimit(times: number): () => void {
  let left = times
  return () => {
    if (--left < 0) throw new PathError('too-complex')
  }
}

/** Returns the steps from the leaf to `last`. */
function stepsTo(last: Step): readonly Step[] {
  const found: Step[] = []
  for (let step: Step | undefined = last; step !== undefined; step = step.from) found.unshift(step)
  return found
}

/** RFC 5280, 3.2: for example a certificate of a CA's new key, signed with its old key. */
function isSelfIssued({ subject, issuer }: ReadCertificate): boolean {
  return subject.key === issuer.key
}

function checkCertificate(certificate: ReadCertificate, at: Date, anchorKeys: ReadonlySet<string>): void {
  const { notBefore, notAfter, publicKeyInfo, key } = certificate
  if (notBefore.getTime() > at.getTime()) throw new PathError('not-yet-valid')
  if (notAfter.getTime() < at.getTime()) throw new PathError('expired')
  if (!anchorKeys.has(key)) checkCritical(certificate)
  checkedPublicKey(publicKeyInfo)
}

/** RFC 5280, 4.2: every critical extension has to be supported, including the policy qualifiers in it (4.2.1.4). */
function checkCritical({ extensions }: ReadCertificate): void {
  for (const { critical, id, value } of extensions.values()) {
    if (!critical) continue
    const isUnderstood =
      understoodExtensions.has(id) &&
      (id !== ExtensionId.certificatePolicies ||
        orMalformed(() => readPolicies(value)).every((policy) =>
          policy.qualifiers.every((each) => understoodQualifiers.has(each)),
        ))
    if (!isUnderstood) throw new PathError('unknown-critical-extension')
  }
}

/** Parses the signature algorithm of a certificate. Throws PathError. */
function schemeOf({ signatureAlgorithm }: ReadCertificate): SignatureScheme {
  const scheme = orMalformed(() => readSignatureScheme(signatureAlgorithm))
  if (scheme === 'weak') throw new PathError('weak-hash')
  if (scheme === undefined) throw new PathError('unsupported-algorithm')
  return scheme
}

/**
 * RFC 5280, 4.2.1.9 and 4.2.1.3. `below` is the number of intermediates below the issuer that pathLenConstraint counts.
 */
function checkIssuer(
  issuer: ReadCertificate,
  at: Date,
  below: number,
  anchorKeys: ReadonlySet<string>,
): void {
  try {
    checkCertificate(issuer, at, anchorKeys)
  } catch (error) {
    // A separate reason, so that users are not told that their own certificate has expired.
    if (!(error instanceof PathError)) throw error
    const { reason } = error
    if (reason === 'expired' || reason === 'not-yet-valid') throw new PathError(`issuer-${reason}`)
    throw error
  }
  // A root of X.509 version 1 has no extensions and so cannot state that it is a CA.
  if (issuer.extensions.size === 0 && isSelfIssued(issuer) && anchorKeys.has(issuer.key)) return
  const constraints = issuer.extensions.get(ExtensionId.basicConstraints)
  const usage = issuer.extensions.get(ExtensionId.keyUsage)
  if (constraints === undefined) throw new PathError('not-a-ca')
  const { isCa, pathLength } = orNotCa(() => readBasicConstraints(constraints.value))
  const mayIssue = usage === undefined || orNotCa(() => readKeyUsage(usage.value)).includes('keyCertSign')
  if (!isCa || !mayIssue) throw new PathError('not-a-ca')
  if (below > pathLength) throw new PathError('path-too-long')
}

/** An extension that cannot be parsed grants no right to issue certificates. */
function orNotCa<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new PathError('not-a-ca', { cause })
  }
}

/**
 * RFC 5280, 6.1.3 (b) and (c). Checking names against each issuer's subtrees separately is equivalent to checking them
 * against the intersection that 6.1.4 (g) computes. Constraints of an anchor apply too, which is stricter than RFC 5280
 * and the same as in OpenSSL.
 */
function checkNames(issuer: CachedCertificate, stepsBelow: readonly Step[], count: () => void): void {
  const constraints = issuer.constraints()
  if (constraints === undefined) return
  for (const { known, from } of stepsBelow) {
    // RFC 5280, 6.1.3: constraints do not apply to self-issued certificates, except to the leaf.
    if (from !== undefined && isSelfIssued(known.read)) continue
    if (!areWithin(known.names(), constraints, count)) throw new PathError('name-constraints')
  }
}
