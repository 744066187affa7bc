/**
 * Decides what a certificate may be used for: RFC 5280, 4.2.1.3 (key usage) and 4.2.1.12 (extended key usage); ETSI EN 319
 * 412-5, 4.2 (QcStatements). Offering, signing and verifying all use this one table. It needs no ASN.1 library, so that a
 * login page need not load one.
 */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { type CertificateView, readable, viewCertificate } from './certificate.ts'
import { objectIdentifier, sequenceOf } from './der.ts'
import { type CertificatePurpose, type CertificateUse, CertificateUseError } from './errors.ts'
import type { KeyUsage } from './extensions.ts'

interface Rule {
  /** KeyUsage must contain at least one of these. */
  readonly keyUsage: readonly KeyUsage[]
  /** True if a certificate without KeyUsage fits. */
  readonly withoutKeyUsage: boolean
  /** ExtendedKeyUsage must contain at least one of these purposes if it is present. */
  readonly purposes: readonly string[]
}

const ANY_PURPOSE = '2.5.29.37.0'
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'
const EMAIL_PROTECTION = '1.3.6.1.5.5.7.3.4'

const rules: Readonly<Record<CertificatePurpose, Rule>> = {
  // The rule of Web eID's validators: digitalSignature is required, and clientAuth if there is an extended key usage.
  login: {
    keyUsage: ['digitalSignature'],
    withoutKeyUsage: false,
    purposes: [CLIENT_AUTHENTICATION],
  },
  // Acrobat also accepts codeSigning, which is not meant for documents. DSS ignores the purposes by default.
  signing: {
    keyUsage: ['digitalSignature', 'nonRepudiation'],
    withoutKeyUsage: true,
    purposes: [
      // emailProtection (RFC 5280), for written statements of a person.
      EMAIL_PROTECTION,
      // documentSigning (RFC 9336).
      '1.3.6.1.5.5.7.3.36',
      // Document signing (Microsoft).
      '1.3.6.1.4.1.311.10.3.12',
      // Authentic documents (Adobe).
      '1.2.840.113583.1.1.5',
      // anyExtendedKeyUsage (RFC 5280). PIV signature certificates have it, and Acrobat accepts it.
      ANY_PURPOSE,
    ],
  },
}

/** Names for messages of purposes that are common on cards. Others are shown by their object identifier. */
const names: Readonly<Record<string, string>> = {
  [CLIENT_AUTHENTICATION]: 'clientAuth',
  [EMAIL_PROTECTION]: 'emailProtection',
  '1.3.6.1.4.1.311.20.2.2': 'smartcard logon',
  '2.16.840.1.101.3.6.8': 'PIV card authentication',
}

const QC_STATEMENTS = '1.3.6.1.5.5.7.1.3'
const QC_COMPLIANCE = '0.4.0.1862.1.1'
const QC_TYPE = '0.4.0.1862.1.6'
const QC_ESIGN = '0.4.0.1862.1.6.1'
const QC_ESEAL = '0.4.0.1862.1.6.2'

/** Decides whether a person's certificate (DER) may be used for the purpose. Returns 'fitting' or the reason against it. */
export function certificateUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  return useOf(readableView(der), purpose)
}

/**
 * Decides whether a CA's certificate (DER) may issue certificates for the purpose. Its extended key usage restricts that of
 * the certificates it issues (RFC 5280, 4.2.1.12, as web browsers, mail programs and OpenSSL interpret it).
 */
export function issuerUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  const view = readableView(der)
  if (view === undefined) return 'unreadable'
  return purposesFit(view, [...rules[purpose].purposes, ANY_PURPOSE]) ? 'fitting' : 'wrong-extended-key-usage'
}

/**
 * Throws CertificateUseError if a person's certificate may not be used for the purpose. Call it before a PIN is
 * requested.
 */
export function requireCertificateUse(der: ByteSource, purpose: CertificatePurpose): void {
  const view = readableView(der)
  const use = useOf(view, purpose)
  if (use !== 'fitting') throw new CertificateUseError(purpose, use, explanation(use, view))
}

function useOf(view: CertificateView | undefined, purpose: CertificatePurpose): CertificateUse {
  if (view?.isAuthority === undefined) return 'unreadable'
  if (view.isAuthority) return 'authority'
  const rule = rules[purpose]
  const { keyUsage } = view
  if (keyUsage === undefined ? !rule.withoutKeyUsage : !keyUsage.some((each) => rule.keyUsage.includes(each)))
    return 'wrong-key-usage'
  const qcTypes = purpose === 'signing' ? qcTypesOf(view) : undefined
  // QcType of a qualified certificate takes precedence over its extended key usage.
  if (qcTypes !== undefined)
    return qcTypes.includes(QC_ESIGN) || qcTypes.includes(QC_ESEAL) ? 'fitting' : 'wrong-qc-statements'
  return purposesFit(view, rule.purposes) ? 'fitting' : 'wrong-extended-key-usage'
}

/** Returns the reason against a use, for the message of CertificateUseError. */
function explanation(use: CertificateUse, view: CertificateView | undefined): string {
  switch (use) {
    case 'wrong-key-usage': {
      const usage = view?.keyUsage
      if (usage === undefined) return 'it has no key usage, but digitalSignature is required'
      return `its key usage is ${usage.join(', ') || 'empty'}`
    }
    case 'wrong-extended-key-usage': {
      const purposes = view?.extendedKeyUsage ?? []
      return `its extended key usage is ${purposes.map((each) => names[each] ?? each).join(', ') || 'empty'}`
    }
    case 'authority':
      return 'it belongs to a certificate authority'
    case 'wrong-qc-statements':
      return 'its QcStatements allow neither electronic signatures nor seals'
    default:
      return 'it cannot be read'
  }
}

/** Returns undefined if the certificate or the list of its extensions cannot be decoded. */
function readableView(der: ByteSource): CertificateView | undefined {
  const view = viewCertificate(der)
  return view?.extensions && view
}

function purposesFit({ extendedKeyUsage }: CertificateView, fitting: readonly string[]): boolean {
  return extendedKeyUsage === undefined || extendedKeyUsage.some((purpose) => fitting.includes(purpose))
}

/**
 * Returns the types of a qualified certificate, or undefined if it states none. Certificates for seals and web sites must
 * state their type (EN 319 412-5, 4.2.3), so QcCompliance without QcType means electronic signatures, as in DSS.
 */
function qcTypesOf({ extensions }: CertificateView): readonly string[] | undefined {
  const value = extensions?.get(QC_STATEMENTS)?.value
  if (value === undefined) return undefined
  return readable<readonly string[] | undefined>(() => {
    const statements = new Map(
      sequenceOf(value).map(({ der }) => {
        const [id, information] = sequenceOf(der)
        if (id === undefined) throw new RangeError('a statement without an identifier')
        return [objectIdentifier(id), information]
      }),
    )
    if (!statements.has(QC_TYPE)) return statements.has(QC_COMPLIANCE) ? [QC_ESIGN] : undefined
    const list = statements.get(QC_TYPE)
    return list === undefined ? [] : sequenceOf(list.der).map(objectIdentifier)
  }, [])
}
