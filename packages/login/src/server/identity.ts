/** What a certificate says of its holder, and what it may be used for: RFC 5280, 4.1.2.6, 4.2.1.3, 4.2.1.4, 4.2.1.12. */
import type { Certificate } from 'pkijs'
import { copyOf } from '@webtoki/apdu/bytes'
import { LoginError } from './errors.ts'

/** Read from the verified certificate's subject. */
export interface Identity {
  readonly commonName?: string
  readonly givenName?: string
  readonly surname?: string
  /** The person's number in the issuer's register (2.5.4.5), where the certificate has one. */
  readonly serialNumber?: string
  readonly organization?: string
  readonly country?: string
  /** The issuer's common name, else its organization; empty where it has neither. */
  readonly issuer: string
  /**
   * SHA-256 of the certificate in hex. It names a certificate, and is no identifier of a person or an account: people
   * get new cards, and whoever holds an ECDSA certificate can write its signature as (r, n−s), which is as valid and has
   * another fingerprint.
   */
  readonly fingerprint: string
}

const KEY_USAGE = '2.5.29.15'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const POLICIES = '2.5.29.32'
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'
const ANY_PURPOSE = '2.5.29.37.0'

/** Throws LoginError 'key-usage', 'extended-key-usage', 'policy'. */
export function checkUse(certificate: Certificate, disallowedPolicies: readonly string[]): void {
  const found = (extension: string) => certificate.extensions?.find(({ extnID }) => extnID === extension)
  const parsed = (extension: string): unknown => found(extension)?.parsedValue
  // digitalSignature is the first bit.
  const usage = parsed(KEY_USAGE) as { valueBlock?: { valueHexView?: Uint8Array } } | undefined
  const bits = usage?.valueBlock?.valueHexView?.[0]
  if (bits === undefined || (bits & 0x80) === 0) throw new LoginError('key-usage')
  const purposes = parsed(EXTENDED_KEY_USAGE) as { keyPurposes?: readonly string[] } | undefined
  // One that is there and cannot be read limits the certificate in a way that we do not know.
  const allows =
    found(EXTENDED_KEY_USAGE) === undefined || purposes?.keyPurposes?.includes(CLIENT_AUTHENTICATION)
  if (allows !== true) throw new LoginError('extended-key-usage')
  const policies = parsed(POLICIES) as
    | { certificatePolicies?: readonly { policyIdentifier: string }[] }
    | undefined
  const identifiers = policies?.certificatePolicies
  if (found(POLICIES) !== undefined && (identifiers === undefined || identifiers.length === 0))
    throw new LoginError('policy')
  if (identifiers?.some(({ policyIdentifier }) => disallowedPolicies.includes(policyIdentifier)))
    throw new LoginError('policy')
}

/**
 * An issuer whose certificate names purposes issues for these (RFC 5280, 4.2.1.12): one for servers makes no client of
 * anybody. Throws LoginError 'extended-key-usage'.
 */
export function checkIssuerUse(issuer: Certificate): void {
  const extension = issuer.extensions?.find(({ extnID }) => extnID === EXTENDED_KEY_USAGE)
  if (extension === undefined) return
  const { keyPurposes = [] } = (extension.parsedValue ?? {}) as { keyPurposes?: readonly string[] }
  if (!keyPurposes.some((purpose) => purpose === CLIENT_AUTHENTICATION || purpose === ANY_PURPOSE))
    throw new LoginError('extended-key-usage')
}

/** To be called with a certificate that has been verified. */
export function identityOf(certificate: Certificate, fingerprint: string): Identity {
  const of = (name: Certificate['subject'], type: string): string | undefined => {
    const value: unknown = name.typesAndValues.findLast((each) => each.type === type)?.value.valueBlock.value
    return typeof value === 'string' ? value : undefined
  }
  const subject = {
    commonName: of(certificate.subject, '2.5.4.3'),
    givenName: of(certificate.subject, '2.5.4.42'),
    surname: of(certificate.subject, '2.5.4.4'),
    serialNumber: of(certificate.subject, '2.5.4.5'),
    organization: of(certificate.subject, '2.5.4.10'),
    country: of(certificate.subject, '2.5.4.6'),
  }
  const known = Object.fromEntries(Object.entries(subject).filter(([, value]) => value !== undefined))
  const issuer = of(certificate.issuer, '2.5.4.3') ?? of(certificate.issuer, '2.5.4.10') ?? ''
  return { ...known, issuer, fingerprint }
}

/** SHA-256 in hex. */
export async function fingerprintOf(der: Uint8Array): Promise<string> {
  const { subtle } = (
    globalThis as unknown as {
      crypto: { subtle: { digest(name: string, data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> } }
    }
  ).crypto
  const digest = new Uint8Array(await subtle.digest('SHA-256', copyOf(der)))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
