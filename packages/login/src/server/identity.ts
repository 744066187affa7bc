/** What a certificate says of its holder, and what it may be used for: RFC 5280, 4.1.2.6, 4.2.1.3, 4.2.1.4, 4.2.1.12. */
import {
  attributeOf,
  AttributeType,
  type CertificateUse,
  certificateUse,
  ExtensionId,
  holderOf,
  issuerUse,
  type ReadCertificate,
  readPolicies,
  type ReadPolicy,
} from '@webtoki/crypto'
import { copyOf } from '@webtoki/apdu/bytes'
import { LoginError, type LoginReason } from './errors.ts'

/** Read from the verified certificate's subject. Control characters and bytes that are not text are escaped: `\\00`. */
export interface Identity {
  readonly commonName?: string | undefined
  readonly givenName?: string | undefined
  readonly surname?: string | undefined
  /** The person's number in the issuer's register (2.5.4.5), where the certificate has one. */
  readonly serialNumber?: string | undefined
  readonly organization?: string | undefined
  readonly country?: string | undefined
  /** The issuer's common name, or what else the certificate calls it. */
  readonly issuer: string
  /**
   * SHA-256 of the certificate in hex. It names a certificate, and is no identifier of a person or an account: people
   * get new cards, and whoever holds an ECDSA certificate can write its signature as (r, n−s), which is as valid and has
   * another fingerprint.
   */
  readonly fingerprint: string
}

const reasons: Readonly<Record<Exclude<CertificateUse, 'fitting'>, LoginReason>> = {
  'wrong-key-usage': 'key-usage',
  'wrong-extended-key-usage': 'extended-key-usage',
  'wrong-qc-statements': 'extended-key-usage',
  authority: 'key-usage',
  unreadable: 'certificate-malformed',
}

function checkVerdict(use: CertificateUse): void {
  if (use !== 'fitting') throw new LoginError(reasons[use])
}

/** Throws LoginError 'key-usage', 'extended-key-usage', 'policy'. */
export function checkUse(certificate: ReadCertificate, disallowedPolicies: readonly string[]): void {
  checkVerdict(certificateUse(certificate.der, 'login'))
  const policies = certificate.extensions.get(ExtensionId.certificatePolicies)
  if (policies !== undefined && policiesOf(policies.value).some(({ id }) => disallowedPolicies.includes(id)))
    throw new LoginError('policy')
}

/** Throws LoginError 'policy'. */
function policiesOf(der: Uint8Array): readonly ReadPolicy[] {
  try {
    return readPolicies(der)
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
  const of = (type: string): string | undefined => attributeOf(certificate.subject, type)
  return {
    commonName: of(AttributeType.commonName),
    givenName: of(AttributeType.givenName),
    surname: of(AttributeType.surname),
    serialNumber: of(AttributeType.serialNumber),
    organization: of(AttributeType.organization),
    country: of(AttributeType.country),
    issuer: holderOf({ subject: certificate.issuer, extensions: undefined }),
    fingerprint,
  }
}

/** SHA-256 in hex. */
export async function fingerprintOf(der: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', copyOf(der)))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
