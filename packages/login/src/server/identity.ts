/** The holder named in a certificate, and its permitted uses: RFC 5280, 4.1.2.6, 4.2.1.3, 4.2.1.4, 4.2.1.12. */
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

/**
 * The holder, from the subject of the verified certificate. Control characters and bytes that are not text are escaped:
 * `\\00`.
 */
export interface Identity {
  readonly commonName?: string | undefined
  readonly givenName?: string | undefined
  readonly surname?: string | undefined
  /** The serialNumber attribute (2.5.4.5): the person's number in the issuer's register, if the certificate has one. */
  readonly serialNumber?: string | undefined
  readonly organization?: string | undefined
  readonly country?: string | undefined
  /** The common name of the issuer, or another attribute of its name. */
  readonly issuer: string
  /**
   * SHA-256 of the certificate in hex. Do not use it to identify a person or an account: people get new cards, and an
   * ECDSA signature (r, s) of a certificate can be replaced by (r, n−s), which is also valid and gives another
   * fingerprint.
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

/** Throws LoginError 'key-usage', 'extended-key-usage', 'policy' or 'certificate-malformed'. */
export function checkUse(certificate: ReadCertificate, disallowedPolicies: readonly string[]): void {
  checkVerdict(certificateUse(certificate.der, 'login'))
  const policies = certificate.extensions.get(ExtensionId.certificatePolicies)
  if (policies !== undefined && policiesOf(policies.value).some(({ id }) => disallowedPolicies.includes(id)))
    throw new LoginError('policy')
}

/** Throws LoginError 'policy' if the extension cannot be parsed. */
function policiesOf(der: Uint8Array): readonly ReadPolicy[] {
  try {
    return readPolicies(der)
  } catch (cause) {
    throw new LoginError('policy', { cause })
  }
}

/**
 * Checks that an issuer may issue certificates for client authentication: an extended key usage of a CA restricts the
 * certificates below it (RFC 5280, 4.2.1.12). Throws LoginError 'extended-key-usage' or 'certificate-malformed'.
 */
export function checkIssuerUse(issuer: Uint8Array): void {
  checkVerdict(issuerUse(issuer, 'login'))
}

/** Returns the holder of a certificate. The caller has to verify the certificate first. */
export function identityOf(certificate: ReadCertificate, fingerprint: string): Identity {
  const attribute = (type: string): string | undefined => attributeOf(certificate.subject, type)
  return {
    commonName: attribute(AttributeType.commonName),
    givenName: attribute(AttributeType.givenName),
    surname: attribute(AttributeType.surname),
    serialNumber: attribute(AttributeType.serialNumber),
    organization: attribute(AttributeType.organization),
    country: attribute(AttributeType.country),
    issuer: holderOf({ subject: certificate.issuer, extensions: undefined }),
    fingerprint,
  }
}

/** Returns SHA-256 in hex. */
export async function fingerprintOf(der: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', copyOf(der)))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
