/** Certificate paths: RFC 5280, clause 6.1, as far as names, dates, signatures, CA rights and lengths go. */
import { fromBER } from 'asn1js'
import { type BasicConstraints, Certificate } from 'pkijs'
import { PathError } from './errors.ts'

export { PathError, type PathReason } from './errors.ts'

/** What a path is checked against. */
export interface PathOptions {
  /** Trusted certificates in DER: roots, or the issuing CAs that a site pins. */
  readonly anchors: readonly Uint8Array[]
  /** Certificates that may stand between, in DER. */
  readonly intermediates?: readonly Uint8Array[]
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

/** A certificate read once. */
export interface ReadCertificate {
  readonly der: Uint8Array
  readonly certificate: Certificate
}

/** Reads DER. Throws PathError 'malformed'. */
export function readCertificate(der: Uint8Array): ReadCertificate {
  try {
    const parsed = fromBER(der.slice().buffer)
    // Certificates are DER: written again, they are the same bytes. A length that lies is not.
    if (!same(new Uint8Array(parsed.result.toBER()), der)) throw new RangeError('no DER')
    const certificate = new Certificate({ schema: parsed.result })
    // A signature is whole bytes, and its algorithm is named twice alike (RFC 5280, 4.1.1.2).
    if (certificate.signatureValue.valueBlock.unusedBits !== 0) throw new RangeError('bits in the signature')
    if (!certificate.signatureAlgorithm.isEqual(certificate.signature)) throw new RangeError('two algorithms')
    return { der, certificate }
  } catch (cause) {
    throw new PathError('malformed', { cause })
  }
}

/**
 * Builds and checks a path from the leaf to an anchor; resolves to its certificates, leaf first, anchor last. Tells the
 * reason of the path that came furthest. Says nothing of revocation and of what the key may be used for.
 */
export async function verifyPath(leaf: Uint8Array, options: PathOptions): Promise<readonly Uint8Array[]> {
  const { at } = options
  const start = readCertificate(leaf)
  const anchors = options.anchors.map(readCertificate)
  // One that cannot be read leads nowhere, and harms nothing.
  const intermediates = (options.intermediates ?? []).flatMap((der) => {
    try {
      return [readCertificate(der)]
    } catch {
      return []
    }
  })
  checkOwn(start, at)
  let furthest: PathError | undefined
  const walk = async (path: readonly ReadCertificate[]): Promise<readonly ReadCertificate[] | undefined> => {
    const last = path.at(-1) as ReadCertificate
    const anchored = anchors.find(({ der }) => same(der, last.der))
    if (anchored !== undefined) return path
    if (path.length >= MAX_PATH) return undefined
    for (const [candidates, isAnchor] of [
      [anchors, true],
      [intermediates, false],
    ] as const) {
      for (const issuer of candidates) {
        if (!last.certificate.issuer.isEqual(issuer.certificate.subject)) continue
        if (path.some(({ der }) => same(der, issuer.der))) continue
        try {
          checkOwn(issuer, at)
          checkIssuer(issuer, path.length - 1)
          if (!(await isSignedBy(last, issuer))) throw new PathError('bad-signature')
        } catch (error) {
          if (!(error instanceof PathError)) throw error
          furthest ??= error
          continue
        }
        if (isAnchor) return [...path, issuer]
        const found = await walk([...path, issuer])
        if (found !== undefined) return found
      }
    }
    return undefined
  }
  const path = await walk([start])
  if (path === undefined) throw furthest ?? new PathError('untrusted')
  return path.map(({ der }) => der)
}

function checkOwn({ certificate }: ReadCertificate, at: Date): void {
  if (certificate.notBefore.value.getTime() > at.getTime()) throw new PathError('not-yet-valid')
  if (certificate.notAfter.value.getTime() < at.getTime()) throw new PathError('expired')
  const unknown = certificate.extensions?.some(({ critical, extnID }) => critical && !understood.has(extnID))
  if (unknown) throw new PathError('unknown-critical-extension')
}

/** RFC 5280, 4.2.1.9 and 4.2.1.3; `below` counts the intermediates under this one. */
function checkIssuer({ certificate }: ReadCertificate, below: number): void {
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
