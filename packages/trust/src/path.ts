/** Certificate paths: RFC 5280, clause 6.1, without revocation. */
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
import { moment, requireBytes, requireCertificates, requireOptions } from './arguments.ts'
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

/** What a path is checked against. */
export interface PathOptions {
  /**
   * Trusted certificates in DER: roots, or the issuing CAs that a site pins. They are an input (RFC 5280, 6.1.1 (d)): their
   * own signature, critical extensions and policies are not checked. As for OpenSSL, their dates, their right to issue
   * certificates, their path length and name constraints count.
   */
  readonly anchors: readonly ByteSource[]
  /** Certificates that may stand between, in DER. */
  readonly intermediates?: readonly ByteSource[] | undefined
  /** The moment that counts. */
  readonly at: Date
  /** What is asked of certificate policies; default: what the CAs of the path ask of each other. */
  readonly policies?: PolicyOptions | undefined
  /** Shared by several paths, so that what they have in common is read and verified once. */
  readonly memory?: PathMemory | undefined
}

/** A path that was checked. */
export interface VerifiedPath {
  /** Certificates in DER, leaf first, anchor last. */
  readonly path: readonly Uint8Array[]
  /**
   * Object identifiers of the acceptable policies for which the path is valid, as the anchor's domain names them;
   * '2.5.29.32.0' stands for all (user-constrained-policy-set).
   */
  readonly policies: readonly string[]
  /** What nobody has looked at. */
  readonly notChecked: readonly ['revocation']
  /** Anchors that cannot be read; they harm nothing else. */
  readonly unusableAnchors: readonly UnusableCertificate[]
  /** Intermediates that cannot be read; they harm nothing else. */
  readonly unusableIntermediates: readonly UnusableCertificate[]
}

/** Critical extensions that are looked at here or by whoever uses the certificate. */
const understood: ReadonlySet<string> = /* @__PURE__ */ new Set([
  ExtensionId.basicConstraints,
  ExtensionId.keyUsage,
  ExtensionId.nameConstraints,
  ExtensionId.subjectAlternativeName,
  ExtensionId.extendedKeyUsage,
  // Where revocation is told; who asks for it reads it.
  ExtensionId.cRLDistributionPoints,
  ...policyExtensions,
])
/** Qualifiers of policies that say nothing for a machine: a CPS pointer and a notice (RFC 5280, 4.2.1.4). */
const qualifiers: ReadonlySet<string> = /* @__PURE__ */ new Set(['1.3.6.1.5.5.7.2.1', '1.3.6.1.5.5.7.2.2'])
/** Certificates in a path. Longer ones come from loops, or are made to cost time. */
const MAX_PATH = 8
/** Limits of the work for one path. An honest file needs far less; a larger one is made to cost time. */
const MAX_INTERMEDIATES = 200
const MAX_SIGNATURE_CHECKS = 100
const MAX_STEPS = 1000
const MAX_NAME_COMPARISONS = 100_000
/** Of one memory. */
const MAX_REMEMBERED = 500

/** What is known of a certificate beyond its fields; each is worked out when it is first asked for. */
interface Known {
  readonly read: ReadCertificate
  /** Throws PathError 'malformed'. */
  readonly names: () => ConstrainedNames
  /** Throws PathError 'malformed'. */
  readonly constraints: () => NameConstraints | undefined
  /** What the checks of issuers above see of it: the same for certificates that differ in nothing else, empty for nothing. */
  readonly shape: string
}

/**
 * What was read and verified, for several paths: each certificate is read once, each signature verified once and each key
 * imported once. Everything is found by its bytes. It forgets all after 500 certificates.
 */
export class PathMemory {
  #certificates: Map<string, Known>
  #signatures = new Map<string, Promise<SignatureVerdict>>()
  #verifier = new SignatureVerifier()

  /** Knows the certificates that `other` has read, and tells it of no further ones: those of people are soon forgotten. Throws TrustArgumentError. */
  constructor(other?: PathMemory) {
    if (other !== undefined && !(other instanceof PathMemory))
      throw new TrustArgumentError('other', 'a PathMemory')
    this.#certificates = new Map(other === undefined ? [] : other.#certificates)
  }

  /** Reads a certificate in DER, or remembers it. Throws PathError 'malformed', TrustArgumentError. */
  read(der: ByteSource): ReadCertificate {
    requireBytes('der', der)
    return this.known(der).read
  }

  /** @internal */
  known(der: ByteSource): Known {
    const key = keyOf(viewOf(der))
    const before = this.#certificates.get(key)
    if (before !== undefined) return before
    if (this.#certificates.size >= MAX_REMEMBERED) {
      this.#certificates = new Map()
      this.#signatures = new Map()
      this.#verifier = new SignatureVerifier()
    }
    const known = knownOf(orMalformed(() => readCertificate(der)))
    this.#certificates.set(key, known)
    return known
  }

  /** @internal `count` is called before a signature is verified that was not verified before. */
  verify(
    child: ReadCertificate,
    scheme: SignatureScheme,
    issuer: ReadCertificate,
    count: () => void,
  ): Promise<SignatureVerdict> {
    const key = `${child.key} ${keyOf(issuer.publicKeyInfo)}`
    const before = this.#signatures.get(key)
    if (before !== undefined) return before
    count()
    const answer = this.#verifier.verify(issuer.publicKeyInfo, scheme, child.signature, child.signed)
    this.#signatures.set(key, answer)
    return answer
  }
}

function knownOf(read: ReadCertificate): Known {
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
  const shown = ids.flatMap((id) => {
    const extension = read.extensions.get(id)
    return extension === undefined ? [] : [[id, keyOf(extension.value)]]
  })
  // A self-issued one is not counted, and its names are not constrained.
  if (!isSelfIssued(read)) shown.push(['subject', read.subject.key])
  return shown.length === 0 ? '' : JSON.stringify(shown)
}

function orMalformed<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
}

/** A certificate that was reached from the leaf, and how. */
interface Step {
  readonly known: Known
  readonly from: Step | undefined
  readonly length: number
  /** Intermediates up to here that are not self-issued: what pathLenConstraint counts. */
  readonly counted: number
}

/**
 * Builds and checks a path from the leaf to an anchor. Rejects with PathError, which tells the reason of the path that came
 * furthest, and with TrustArgumentError if an argument is of a wrong kind (an `at` that is an invalid Date, say).
 * Says nothing of revocation and of what the key may be used for.
 */
export async function verifyPath(leaf: ByteSource, options: PathOptions): Promise<VerifiedPath> {
  requireBytes('leaf', leaf)
  requireOptions('options', options)
  const { memory = new PathMemory(), policies = {}, intermediates = [] } = options
  requireCertificates('anchors', options.anchors)
  requireCertificates('intermediates', intermediates)
  const at = moment('at', options.at)
  requirePolicyOptions('policies', policies)
  requireMemory('memory', memory)
  const start = memory.known(leaf)
  const { known: anchors, unusable: unusableAnchors } = readable(options.anchors, memory)
  const anchorKeys = new Set(anchors.map(({ read }) => read.key))
  if (intermediates.length > MAX_INTERMEDIATES) throw new PathError('too-complex')
  const { known: between, unusable: unusableIntermediates } = readable(intermediates, memory)
  const issuers = bySubject([...anchors, ...between])
  /** Throws PathError 'policy'. Copies: what is remembered stays. */
  const verified = (path: readonly Known[]): VerifiedPath => {
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
  checkOwn(start.read, at, anchorKeys)
  if (anchorKeys.has(start.read.key)) return verified([start])
  const countSignature = limit(MAX_SIGNATURE_CHECKS)
  const countStep = limit(MAX_STEPS)
  const countName = limit(MAX_NAME_COMPARISONS)
  let furthest: { readonly error: PathError; readonly length: number } | undefined
  // Breadth first, and no certificate again over others that look the same from above: CAs of one name cost no factorial.
  const shapes = new Map<string, number>()
  const reached = new Set<string>()
  const steps: Step[] = [{ known: start, from: undefined, length: 1, counted: 0 }]
  for (const step of steps) {
    const { known: last, length } = step
    const under = upTo(step)
    const on = new Set(under.map(({ known }) => known.read.key))
    // The leaf is the same on every way.
    const look = under
      .slice(1)
      .map(({ known }) => known.shape)
      .filter((shape) => shape !== '')
      .map((shape) => numberOf(shape, shapes))
      .join()
    for (const issuer of issuers.get(last.read.issuer.key) ?? []) {
      if (on.has(issuer.read.key)) continue
      try {
        if (length >= MAX_PATH) throw new PathError('too-complex')
        const state = `${numberOf(issuer.read.key, shapes)} over ${look}`
        if (reached.has(state)) continue
        countStep()
        const counted = step.counted + (length === 1 || isSelfIssued(last.read) ? 0 : 1)
        checkIssuer(issuer.read, at, counted, anchorKeys)
        checkNames(issuer, under, countName)
        const scheme = schemeOf(last.read)
        const verdict = await memory.verify(last.read, scheme, issuer.read, countSignature)
        if (verdict === 'unsupported') throw new PathError('unsupported-algorithm')
        // Keys that are weak are refused before.
        if (verdict === 'weak') throw new PathError('weak-hash')
        if (verdict !== 'valid') throw new PathError('bad-signature')
        if (anchorKeys.has(issuer.read.key)) return verified([...under.map(({ known }) => known), issuer])
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

/** Throws TrustArgumentError. A memory of another copy of this package is one too. */
function requireMemory(argument: string, memory: PathMemory | null): void {
  if (typeof memory?.known !== 'function' || typeof memory.verify !== 'function')
    throw new TrustArgumentError(argument, 'a PathMemory')
}

/** A number for each text: long texts are compared once. */
function numberOf(text: string, numbers: Map<string, number>): number {
  const number = numbers.get(text) ?? numbers.size
  numbers.set(text, number)
  return number
}

/** One that cannot be read leads nowhere, and harms nothing. */
function readable(
  ders: readonly ByteSource[],
  memory: PathMemory,
): { readonly known: readonly Known[]; readonly unusable: readonly UnusableCertificate[] } {
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

/** Each certificate once. */
function bySubject(all: readonly Known[]): ReadonlyMap<string, readonly Known[]> {
  const found = new Map<string, Known[]>()
  for (const known of new Map(all.map((each) => [each.read.key, each])).values()) {
    const { key } = known.read.subject
    const namesakes = found.get(key)
    if (namesakes === undefined) found.set(key, [known])
    else namesakes.push(known)
  }
  return found
}

/** Throws PathError 'too-complex' when it is called more often. */
function limit(times: number): () => void {
  let left = times
  return () => {
    if (--left < 0) throw new PathError('too-complex')
  }
}

/** The steps to this one, the leaf's first. */
function upTo(last: Step): readonly Step[] {
  const found: Step[] = []
  for (let step: Step | undefined = last; step !== undefined; step = step.from) found.unshift(step)
  return found
}

/** RFC 5280, 3.2: a CA's new key under its old one, say. */
function isSelfIssued({ subject, issuer }: ReadCertificate): boolean {
  return subject.key === issuer.key
}

function checkOwn(certificate: ReadCertificate, at: Date, anchorKeys: ReadonlySet<string>): void {
  const { notBefore, notAfter, publicKeyInfo, key } = certificate
  if (notBefore.getTime() > at.getTime()) throw new PathError('not-yet-valid')
  if (notAfter.getTime() < at.getTime()) throw new PathError('expired')
  if (!anchorKeys.has(key)) checkCritical(certificate)
  checkedPublicKey(publicKeyInfo)
}

/** RFC 5280, 4.2: what is critical has to be understood, the qualifiers of policies included (4.2.1.4). */
function checkCritical({ extensions }: ReadCertificate): void {
  for (const { critical, id, value } of extensions.values()) {
    if (!critical) continue
    const isUnderstood =
      understood.has(id) &&
      (id !== ExtensionId.certificatePolicies ||
        orMalformed(() => readPolicies(value)).every((policy) =>
          policy.qualifiers.every((each) => qualifiers.has(each)),
        ))
    if (!isUnderstood) throw new PathError('unknown-critical-extension')
  }
}

/** What a certificate was signed with; an anchor's own signature proves nothing and is not looked at. Throws PathError. */
function schemeOf({ signatureAlgorithm }: ReadCertificate): SignatureScheme {
  const scheme = orMalformed(() => readSignatureScheme(signatureAlgorithm))
  if (scheme === 'weak') throw new PathError('weak-hash')
  if (scheme === undefined) throw new PathError('unsupported-algorithm')
  return scheme
}

/** RFC 5280, 4.2.1.9 and 4.2.1.3; `below` counts the intermediates under this one. */
function checkIssuer(
  issuer: ReadCertificate,
  at: Date,
  below: number,
  anchorKeys: ReadonlySet<string>,
): void {
  try {
    checkOwn(issuer, at, anchorKeys)
  } catch (error) {
    // The person's own certificate is still good, and is not to be told as the one whose time is up.
    if (!(error instanceof PathError)) throw error
    const { reason } = error
    if (reason === 'expired' || reason === 'not-yet-valid') throw new PathError(`issuer-${reason}`)
    throw error
  }
  // A root older than X.509 version 3 says nothing of its rights.
  if (issuer.extensions.size === 0 && isSelfIssued(issuer) && anchorKeys.has(issuer.key)) return
  const constraints = issuer.extensions.get(ExtensionId.basicConstraints)
  const usage = issuer.extensions.get(ExtensionId.keyUsage)
  if (constraints === undefined) throw new PathError('not-a-ca')
  const { isCa, pathLength } = orNoCa(() => readBasicConstraints(constraints.value))
  const mayIssue = usage === undefined || orNoCa(() => readKeyUsage(usage.value)).includes('keyCertSign')
  if (!isCa || !mayIssue) throw new PathError('not-a-ca')
  if (below > pathLength) throw new PathError('path-too-long')
}

/** What cannot be read gives no right. */
function orNoCa<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new PathError('not-a-ca', { cause })
  }
}

/**
 * RFC 5280, 6.1.3 (b) and (c): to lie within every issuer's subtrees one by one is to lie within what 6.1.4 (g) makes of
 * them. An anchor's constraints count as well, which is stricter than RFC 5280 and what OpenSSL does.
 */
function checkNames(issuer: Known, under: readonly Step[], count: () => void): void {
  const constraints = issuer.constraints()
  if (constraints === undefined) return
  for (const { known, from } of under) {
    // A CA's new key under its old one; the leaf counts whoever issued it.
    if (from !== undefined && isSelfIssued(known.read)) continue
    if (!areWithin(known.names(), constraints, count)) throw new PathError('name-constraints')
  }
}
