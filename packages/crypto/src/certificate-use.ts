/**
 * What a certificate may be used for. One table, which all ask: who offers a certificate, who signs with it, who
 * verifies. RFC 5280, 4.2.1.3 (key usage) and 4.2.1.12 (extended key usage); ETSI EN 319 412-5, 4.2 (QcStatements).
 * It reads DER by itself, so that a page that logs people in loads no ASN.1 library for it.
 */
import type { ByteSource } from '@webtoki/apdu/bytes'
import { type CertificateView, readable, viewCertificate } from './certificate.ts'
import { objectIdentifier, sequenceOf } from './der.ts'
import { type CertificatePurpose, type CertificateUse, CertificateUseError } from './errors.ts'
import type { KeyUsage } from './extensions.ts'

interface Rule {
  /** One of them has to be in KeyUsage. */
  readonly keyUsage: readonly KeyUsage[]
  /** Whether a certificate without KeyUsage fits. */
  readonly withoutKeyUsage: boolean
  /** Purposes of ExtendedKeyUsage, one of which has to be named if there are any. */
  readonly purposes: readonly string[]
}

const ANY_PURPOSE = '2.5.29.37.0'
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'
const EMAIL_PROTECTION = '1.3.6.1.5.5.7.3.4'

const rules: Readonly<Record<CertificatePurpose, Rule>> = {
  // As Web eID's validators have it: digitalSignature has to be there, and clientAuth has to be named if anything is.
  login: {
    keyUsage: ['digitalSignature'],
    withoutKeyUsage: false,
    purposes: [CLIENT_AUTHENTICATION],
  },
  // Acrobat also takes codeSigning, which is not for what people read; DSS looks at no purpose unless it is told to.
  signing: {
    keyUsage: ['digitalSignature', 'nonRepudiation'],
    withoutKeyUsage: true,
    purposes: [
      // emailProtection (RFC 5280): what a person says in writing.
      EMAIL_PROTECTION,
      // documentSigning (RFC 9336).
      '1.3.6.1.5.5.7.3.36',
      // Document signing, Microsoft's.
      '1.3.6.1.4.1.311.10.3.12',
      // Authentic documents, Adobe's.
      '1.2.840.113583.1.1.5',
      // Every purpose (RFC 5280); PIV's signature certificates have it, and Acrobat takes it.
      ANY_PURPOSE,
    ],
  },
}

/** For messages: what cards' certificates are for, as a rule. Others are named by their identifier. */
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

/** Whether a person's certificate (DER) may be used so. */
export function certificateUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  return useOf(viewOf(der), purpose)
}

/**
 * Whether a CA's certificate (DER) may issue certificates that are used so: the purposes that it names are those of what
 * it issues (RFC 5280, 4.2.1.12, as Web browsers, mail programs and OpenSSL read it).
 */
export function issuerUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  const view = viewOf(der)
  if (view === undefined) return 'unreadable'
  return purposesFit(view, [...rules[purpose].purposes, ANY_PURPOSE]) ? 'fitting' : 'wrong-extended-key-usage'
}

/** Throws CertificateUseError if a person's certificate may not be used so: to be called before anybody is asked. */
export function requireCertificateUse(der: ByteSource, purpose: CertificatePurpose): void {
  const view = viewOf(der)
  const use = useOf(view, purpose)
  if (use !== 'fitting') throw new CertificateUseError(purpose, use, meantFor(use, view))
}

function useOf(view: CertificateView | undefined, purpose: CertificatePurpose): CertificateUse {
  if (view?.isAuthority === undefined) return 'unreadable'
  if (view.isAuthority) return 'authority'
  const rule = rules[purpose]
  const { keyUsage } = view
  if (keyUsage === undefined ? !rule.withoutKeyUsage : !keyUsage.some((each) => rule.keyUsage.includes(each)))
    return 'wrong-key-usage'
  const qcTypes = purpose === 'signing' ? qcTypesOf(view) : undefined
  // An issuer that says what a qualified certificate is for has said it, whatever the purposes beside it are.
  if (qcTypes !== undefined)
    return qcTypes.includes(QC_ESIGN) || qcTypes.includes(QC_ESEAL) ? 'fitting' : 'wrong-qc-statements'
  return purposesFit(view, rule.purposes) ? 'fitting' : 'wrong-extended-key-usage'
}

function meantFor(use: CertificateUse, view: CertificateView | undefined): string {
  switch (use) {
    case 'wrong-key-usage': {
      const usage = view?.keyUsage
      if (usage === undefined) return 'it has no key usage, which has to name digitalSignature'
      return `its key usage is ${usage.join(', ') || 'empty'}`
    }
    case 'wrong-extended-key-usage': {
      const purposes = view?.extendedKeyUsage ?? []
      return `its extended key usage is ${purposes.map((each) => names[each] ?? each).join(', ') || 'empty'}`
    }
    case 'authority':
      return 'it is that of a certificate authority'
    case 'wrong-qc-statements':
      return 'its QcStatements name another type than electronic signatures and seals'
    default:
      return 'it cannot be read'
  }
}

/** Undefined if the certificate or the list of its extensions cannot be read. */
function viewOf(der: ByteSource): CertificateView | undefined {
  const view = viewCertificate(der)
  return view?.extensions && view
}

function purposesFit({ extendedKeyUsage }: CertificateView, fitting: readonly string[]): boolean {
  return extendedKeyUsage === undefined || extendedKeyUsage.some((purpose) => fitting.includes(purpose))
}

/**
 * Of what types a qualified certificate is; undefined if it says nothing of it. Certificates for seals and for web sites
 * have to name their type (EN 319 412-5, 4.2.3), so QcCompliance alone is one for electronic signatures, as DSS has it.
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
