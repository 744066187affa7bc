/** Certificate paths: RFC 5280, clause 6.1, as far as names, dates, signatures, CA rights and lengths go. */
import { fromBER } from 'asn1js'
import { type BasicConstraints, Certificate, RSAPublicKey, RSASSAPSSParams } from 'pkijs'
import { type ByteSource, copyOf } from '@webtoki/apdu/bytes'
import { ecdsaNumbers, signatureOfCertificate } from './der.ts'
import { PathError } from './errors.ts'

export { PathError, type PathReason } from './errors.ts'

/** What a path is checked against. */
export interface PathOptions {
  /** Trusted certificates in DER: roots, or the issuing CAs that a site pins. */
  readonly anchors: readonly ByteSource[]
  /** Certificates that may stand between, in DER. */
  readonly intermediates?: readonly ByteSource[]
  /** The moment that counts. */
  readonly at: Date
}

const BASIC_CONSTRAINTS = '2.5.29.19'
const KEY_USAGE = '2.5.29.15'
/** Critical extensions that are looked at here or by whoever uses the certificate. */
const understood: ReadonlySet<string> = new Set([
  BASIC_CONSTRAINTS,
  KEY_USAGE,
  '2.5.29.37',
  '2.5.29.17',
  '2.5.29.32',
])
/** Longer ones are made by loops, or by somebody who wants us to work. */
const MAX_PATH = 8
/** More certificates, or more signatures to check, are sent by nobody who only wants to be believed. */
const MAX_INTERMEDIATES = 100
const MAX_SIGNATURE_CHECKS = 100
const MIN_RSA_BITS = 2048

const ECDSA = '1.2.840.10045.4.'
const RSA_PSS = '1.2.840.113549.1.1.10'
const SHA1 = '1.3.14.3.2.26'
/** MD2, MD5 and SHA-1 under RSA, SHA-1 under ECDSA: whoever can collide them chooses what was signed. */
const weak: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10045.4.1',
])

/** A certificate read once. */
export interface ReadCertificate {
  readonly der: Uint8Array
  readonly certificate: Certificate
}

/** Reads DER. Throws PathError 'malformed'. */
export function readCertificate(source: ByteSource): ReadCertificate {
  try {
    const der = copyOf(source)
    const parsed = fromBER(der)
    // Certificates are DER: written again, they are the same bytes. A length that lies is not.
    if (!same(new Uint8Array(parsed.result.toBER()), der)) throw new RangeError('no DER')
    const certificate = new Certificate({ schema: parsed.result })
    // Platforms take an ECDSA signature in loose BER; then one certificate would have many texts.
    const signature = signatureOfCertificate(der)
    if (certificate.signatureAlgorithm.algorithmId.startsWith(ECDSA)) ecdsaNumbers(signature)
    // RFC 5280, 4.2: one of each. Of two, every verifier would take another.
    const ids = certificate.extensions?.map(({ extnID }) => extnID) ?? []
    if (new Set(ids).size < ids.length) throw new RangeError('an extension twice')
    return { der, certificate }
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
}

/** A certificate that was reached from the leaf, and how. */
interface Step {
  readonly read: ReadCertificate
  readonly from: Step | undefined
  readonly length: number
  /** Intermediates up to here that are not self-issued: what pathLenConstraint counts. */
  readonly counted: number
}

/**
 * Builds and checks a path from the leaf to an anchor; resolves to its certificates, leaf first, anchor last. Tells the
 * reason of the path that came furthest. Says nothing of revocation and of what the key may be used for. Rejects with
 * RangeError where `at` is an invalid Date.
 */
export async function verifyPath(leaf: ByteSource, options: PathOptions): Promise<readonly Uint8Array[]> {
  const { at } = options
  // Compared with it, nothing has expired.
  if (Number.isNaN(at.getTime())) throw new RangeError('The moment that counts (`at`) is an invalid Date.')
  const start = readCertificate(leaf)
  const anchors = options.anchors.map(readCertificate)
  if ((options.intermediates?.length ?? 0) > MAX_INTERMEDIATES) throw new PathError('too-complex')
  // One that cannot be read leads nowhere, and harms nothing.
  const intermediates = (options.intermediates ?? []).flatMap((der) => {
    try {
      return [readCertificate(der)]
    } catch {
      return []
    }
  })
  checkOwn(start, at)
  const isSigned = rememberedChecks()
  let furthest: { readonly error: PathError; readonly length: number } | undefined
  // Breadth first, and no certificate again unless fewer were counted below it: what an issuer may do hangs on nothing
  // else that lies below, so the shortest way to it is as good as any, and CAs of one name cost no factorial.
  const reached = new Map<ReadCertificate, number>()
  const steps: Step[] = [{ read: start, from: undefined, length: 1, counted: 0 }]
  for (const step of steps) {
    const { read: last, length } = step
    if (anchors.some(({ der }) => same(der, last.der))) return pathTo(step)
    for (const issuer of [...anchors, ...intermediates]) {
      if (!last.certificate.issuer.isEqual(issuer.certificate.subject) || isOn(step, issuer)) continue
      try {
        if (length >= MAX_PATH) throw new PathError('too-complex')
        const counted = step.counted + (length === 1 || isSelfIssued(last) ? 0 : 1)
        if ((reached.get(issuer) ?? Infinity) <= counted) continue
        checkIssuer(issuer, at, counted)
        checkHash(last)
        if (!(await isSigned(last, issuer))) throw new PathError('bad-signature')
        const next = { read: issuer, from: step, length: length + 1, counted }
        if (anchors.includes(issuer)) return pathTo(next)
        reached.set(issuer, counted)
        steps.push(next)
      } catch (error) {
        if (!(error instanceof PathError)) throw error
        if (error.reason === 'too-complex' && length < MAX_PATH) throw error
        if (furthest === undefined || length > furthest.length) furthest = { error, length }
      }
    }
  }
  throw furthest?.error ?? new PathError('untrusted')
}

function pathTo(last: Step): readonly Uint8Array[] {
  const path: Uint8Array[] = []
  for (let step: Step | undefined = last; step !== undefined; step = step.from) path.unshift(step.read.der)
  return path
}

function isOn(last: Step, { der }: ReadCertificate): boolean {
  return pathTo(last).some((each) => same(each, der))
}

/** RFC 5280, 3.2: a CA's new key under its old one, say. */
function isSelfIssued({ certificate }: ReadCertificate): boolean {
  return certificate.subject.isEqual(certificate.issuer)
}

function checkOwn({ certificate }: ReadCertificate, at: Date): void {
  if (certificate.notBefore.value.getTime() > at.getTime()) throw new PathError('not-yet-valid')
  if (certificate.notAfter.value.getTime() < at.getTime()) throw new PathError('expired')
  const unknown = certificate.extensions?.some(({ critical, extnID }) => critical && !understood.has(extnID))
  if (unknown) throw new PathError('unknown-critical-extension')
  const key = publicKeyOf(certificate)
  if (key instanceof RSAPublicKey) {
    const modulus = key.modulus.valueBlock.valueHexView
    const first = modulus.findIndex((byte) => byte !== 0)
    const bits = first < 0 ? 0 : (modulus.length - first) * 8 - Math.clz32(modulus[first] as number) + 24
    if (bits < MIN_RSA_BITS) throw new PathError('weak-key')
  }
}

function publicKeyOf({
  subjectPublicKeyInfo,
}: Certificate): Certificate['subjectPublicKeyInfo']['parsedKey'] {
  try {
    // Read when it is first asked for.
    return subjectPublicKeyInfo.parsedKey
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
}

/** Of what an issuer signed; an anchor's own signature proves nothing and is not looked at. */
function checkHash({ certificate: { signatureAlgorithm } }: ReadCertificate): void {
  const { algorithmId, algorithmParams } = signatureAlgorithm
  if (weak.has(algorithmId)) throw new PathError('weak-hash')
  if (algorithmId !== RSA_PSS) return
  try {
    // SHA-1 where nothing is said (RFC 4055, 3.1).
    const { hashAlgorithm } = new RSASSAPSSParams({ schema: algorithmParams })
    if (hashAlgorithm.algorithmId === SHA1) throw new PathError('weak-hash')
  } catch (error) {
    throw error instanceof PathError ? error : new PathError('malformed', { cause: error })
  }
}

/** Each pair of certificate and issuer's key is checked once. Rejects with PathError 'too-complex' at the limit. */
function rememberedChecks(): (child: ReadCertificate, issuer: ReadCertificate) => Promise<boolean> {
  const answers = new Map<ReadCertificate, Map<string, boolean>>()
  let checks = 0
  return async (child, issuer) => {
    const known = answers.get(child) ?? new Map<string, boolean>()
    answers.set(child, known)
    const key = new Uint8Array(issuer.certificate.subjectPublicKeyInfo.toSchema().toBER()).join()
    const before = known.get(key)
    if (before !== undefined) return before
    if (++checks > MAX_SIGNATURE_CHECKS) throw new PathError('too-complex')
    const answer = await isSignedBy(child, issuer)
    known.set(key, answer)
    return answer
  }
}

/** RFC 5280, 4.2.1.9 and 4.2.1.3; `below` counts the intermediates under this one. */
function checkIssuer(issuer: ReadCertificate, at: Date, below: number): void {
  const { certificate } = issuer
  try {
    checkOwn(issuer, at)
  } catch (error) {
    // The person's own certificate is still good, and is not to be told as the one whose time is up.
    if (!(error instanceof PathError)) throw error
    const { reason } = error
    if (reason === 'expired' || reason === 'not-yet-valid') throw new PathError(`issuer-${reason}`)
    throw error
  }
  const constraints = certificate.extensions?.find(({ extnID }) => extnID === BASIC_CONSTRAINTS)
    ?.parsedValue as BasicConstraints | undefined
  if (constraints?.cA !== true) throw new PathError('not-a-ca')
  const { pathLenConstraint } = constraints
  if (typeof pathLenConstraint === 'number' && below > pathLenConstraint) throw new PathError('path-too-long')
  const usage = certificate.extensions?.find(({ extnID }) => extnID === KEY_USAGE)
  // keyCertSign is bit 5, counted from the most significant of the first byte.
  const bits = usage?.parsedValue as { valueBlock?: { valueHexView?: Uint8Array } } | undefined
  const first = bits?.valueBlock?.valueHexView?.[0]
  if (usage !== undefined && (first === undefined || (first & 0x04) === 0)) throw new PathError('not-a-ca')
}

async function isSignedBy(certificate: ReadCertificate, issuer: ReadCertificate): Promise<boolean> {
  try {
    return await certificate.certificate.verify(issuer.certificate)
  } catch {
    // An algorithm that the platform does not know proves nothing.
    return false
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at])
}
