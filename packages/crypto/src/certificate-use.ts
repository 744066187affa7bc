/**
 * What a certificate may be used for. One table, which all ask: who offers a certificate, who signs with it, who
 * verifies. RFC 5280, 4.2.1.3 (key usage) and 4.2.1.12 (extended key usage); ETSI EN 319 412-5, 4.2 (QcStatements).
 * It reads DER by itself, so that a page that logs people in loads no ASN.1 library for it.
 */
import { type ByteSource, viewOf } from '@webtoki/apdu/bytes'
import { type CertificatePurpose, type CertificateUse, CertificateUseError } from './errors.ts'
import { objectIdentifier, sequenceOf } from './der.ts'
import { type Extensions, extensionsOf, readKeyUsage } from './extensions.ts'

interface Rule {
  /** Bits of KeyUsage's first byte, one of which has to be set. */
  readonly keyUsage: number
  /** Whether a certificate without KeyUsage fits. */
  readonly withoutKeyUsage: boolean
  /** Purposes of ExtendedKeyUsage, one of which has to be named if there are any. */
  readonly purposes: readonly string[]
}

const ANY_PURPOSE = '2.5.29.37.0'
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'
const EMAIL_PROTECTION = '1.3.6.1.5.5.7.3.4'
const DIGITAL_SIGNATURE = 0x80
const NON_REPUDIATION = 0x40

const rules: Readonly<Record<CertificatePurpose, Rule>> = {
  // As Web eID's validators have it: digitalSignature has to be there, and clientAuth has to be named if anything is.
  login: {
    keyUsage: DIGITAL_SIGNATURE,
    withoutKeyUsage: false,
    purposes: [CLIENT_AUTHENTICATION],
  },
  // Acrobat also takes codeSigning, which is not for what people read; DSS looks at no purpose unless it is told to.
  signing: {
    keyUsage: DIGITAL_SIGNATURE | NON_REPUDIATION,
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

/** For messages: the bits of KeyUsage's first byte. */
const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
] as const

/** For messages: what cards' certificates are for, as a rule. Others are named by their identifier. */
const names: Readonly<Record<string, string>> = {
  [CLIENT_AUTHENTICATION]: 'clientAuth',
  [EMAIL_PROTECTION]: 'emailProtection',
  '1.3.6.1.4.1.311.20.2.2': 'smartcard logon',
  '2.16.840.1.101.3.6.8': 'PIV card authentication',
}

const KEY_USAGE = '2.5.29.15'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const QC_STATEMENTS = '1.3.6.1.5.5.7.1.3'
const QC_COMPLIANCE = '0.4.0.1862.1.1'
const QC_TYPE = '0.4.0.1862.1.6'
const QC_ESIGN = '0.4.0.1862.1.6.1'
const QC_ESEAL = '0.4.0.1862.1.6.2'

/** Whether a person's certificate (DER) may be used so. */
export function certificateUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  return useOf(readExtensions(der), purpose)
}

/**
 * Whether a CA's certificate (DER) may issue certificates that are used so: the purposes that it names are those of what
 * it issues (RFC 5280, 4.2.1.12, as Web browsers, mail programs and OpenSSL read it).
 */
export function issuerUse(der: ByteSource, purpose: CertificatePurpose): CertificateUse {
  const extensions = readExtensions(der)
  if (extensions === undefined) return 'unreadable'
  return purposesFit(extensions, [...rules[purpose].purposes, ANY_PURPOSE])
    ? 'fitting'
    : 'wrong-extended-key-usage'
}

/** Throws CertificateUseError if a person's certificate may not be used so: to be called before anybody is asked. */
export function requireCertificateUse(der: ByteSource, purpose: CertificatePurpose): void {
  const extensions = readExtensions(der)
  const use = useOf(extensions, purpose)
  if (use !== 'fitting') throw new CertificateUseError(purpose, use, meantFor(use, extensions))
}

function useOf(extensions: Extensions | undefined, purpose: CertificatePurpose): CertificateUse {
  if (extensions === undefined) return 'unreadable'
  const rule = rules[purpose]
  const keyUsage = extensions.get(KEY_USAGE)?.value
  if (keyUsage === undefined ? !rule.withoutKeyUsage : (keyUsageOf(keyUsage) & rule.keyUsage) === 0)
    return 'wrong-key-usage'
  const qcTypes = purpose === 'signing' ? qcTypesOf(extensions) : undefined
  // An issuer that says what a qualified certificate is for has said it, whatever the purposes beside it are.
  if (qcTypes !== undefined)
    return qcTypes.includes(QC_ESIGN) || qcTypes.includes(QC_ESEAL) ? 'fitting' : 'wrong-qc-statements'
  return purposesFit(extensions, rule.purposes) ? 'fitting' : 'wrong-extended-key-usage'
}

function meantFor(use: CertificateUse, extensions: Extensions | undefined): string {
  switch (use) {
    case 'wrong-key-usage': {
      const usage = extensions?.get(KEY_USAGE)?.value
      if (usage === undefined) return 'it has no key usage, which has to name digitalSignature'
      const named = keyUsages.filter((_, bit) => (keyUsageOf(usage) & (0x80 >> bit)) !== 0)
      return `its key usage is ${named.join(', ') || 'empty'}`
    }
    case 'wrong-extended-key-usage': {
      const purposes = purposesIn(extensions?.get(EXTENDED_KEY_USAGE)?.value ?? new Uint8Array())
      return `its extended key usage is ${purposes.map((each) => names[each] ?? each).join(', ') || 'empty'}`
    }
    case 'wrong-qc-statements':
      return 'its QcStatements name another type than electronic signatures and seals'
    default:
      return 'it cannot be read'
  }
}

/** Undefined if the certificate cannot be read. */
function readExtensions(der: ByteSource): Extensions | undefined {
  return readable<Extensions | undefined>(() => {
    const [signed] = sequenceOf(viewOf(der))
    if (signed === undefined) throw new RangeError('an empty certificate')
    return extensionsOf(sequenceOf(signed.der))
  }, undefined)
}

/** The first byte of bits; 0 if the extension cannot be read. */
function keyUsageOf(value: Uint8Array): number {
  return readable(() => readKeyUsage(value), 0)
}

function purposesFit(extensions: Extensions, fitting: readonly string[]): boolean {
  const value = extensions.get(EXTENDED_KEY_USAGE)?.value
  return value === undefined || purposesIn(value).some((purpose) => fitting.includes(purpose))
}

/** None if they cannot be read. */
function purposesIn(value: Uint8Array): readonly string[] {
  return readable(() => sequenceOf(value).map(objectIdentifier), [])
}

/**
 * Of what types a qualified certificate is; undefined if it says nothing of it. Certificates for seals and for web sites
 * have to name their type (EN 319 412-5, 4.2.3), so QcCompliance alone is one for electronic signatures, as DSS has it.
 */
function qcTypesOf(extensions: Extensions): readonly string[] | undefined {
  const value = extensions.get(QC_STATEMENTS)?.value
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

function readable<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}
