/** What a certificate says of its holder, and what it may be used for: RFC 5280, 4.1.2.6, 4.2.1.3, 4.2.1.4, 4.2.1.12. */
import {
  type CertificateUse,
  certificateUse,
  issuerUse,
  type Name,
  objectIdentifier,
  type ReadCertificate,
  sequenceOf,
} from '@webtoki/crypto'
import { copyOf } from '@webtoki/apdu/bytes'
import { LoginError, type LoginReason } from './errors.ts'

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

const POLICIES = '2.5.29.32'

const reasons: Readonly<Record<Exclude<CertificateUse, 'fitting'>, LoginReason>> = {
  'wrong-key-usage': 'key-usage',
  'wrong-extended-key-usage': 'extended-key-usage',
  'wrong-qc-statements': 'extended-key-usage',
  unreadable: 'certificate-malformed',
}

function checkVerdict(use: CertificateUse): void {
  if (use !== 'fitting') throw new LoginError(reasons[use])
}

/** Throws LoginError 'key-usage', 'extended-key-usage', 'policy'. */
export function checkUse(certificate: ReadCertificate, disallowedPolicies: readonly string[]): void {
  checkVerdict(certificateUse(certificate.der, 'login'))
  const policies = certificate.extensions.get(POLICIES)
  if (policies === undefined) return
  if (policiesOf(policies.value).some((policy) => disallowedPolicies.includes(policy)))
    throw new LoginError('policy')
}

/** Policy identifiers of CertificatePolicies (RFC 5280, 4.2.1.4). Throws LoginError 'policy'. */
function policiesOf(der: Uint8Array): readonly string[] {
  try {
    const found = sequenceOf(der).map(({ der: information }) => {
      const [identifier] = sequenceOf(information)
      if (identifier === undefined) throw new RangeError('not PolicyInformation')
      return objectIdentifier(identifier)
    })
    if (found.length === 0) throw new RangeError('no policies')
    return found
  } catch (cause) {
    throw new LoginError('policy', { cause })
  }
}

/**
 * An issuer whose certificate names purposes issues for these (RFC 5280, 4.2.1.12): one for servers makes no client of
 * anybody. Throws LoginError 'extended-key-usage'.
 */
export function checkIssuerUse(issuer: Uint8Array): void {
  checkVerdict(issuerUse(issuer, 'login'))
}

/** To be called with a certificate that has been verified. */
export function identityOf(certificate: ReadCertificate, fingerprint: string): Identity {
  const of = ({ attributes }: Name, type: string): string | undefined =>
    attributes.findLast((each) => each.type === type)?.text
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
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', copyOf(der)))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
