import {
  type CertificatePurpose,
  certificateUse,
  type CertificateUse,
  CertificateUseError,
  issuerUse,
  requireCertificateUse,
} from '@webtoki/crypto'
import { execFileSync } from 'node:child_process'
import { Integer } from 'asn1js'
import fc from 'fast-check'
import { Extension } from 'pkijs'
import { describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { type IssueOptions, issue } from './pki.ts'
import { qcStatements } from './qc-statements.ts'
import publishedCertificates from './vectors/certificates-in-use.json' with { type: 'json' }

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Certificate uses are not compared with OpenSSL: ${missing}.`)

const kp = (arc: number): string => `1.3.6.1.5.5.7.3.${arc}`
const purposes = {
  servers: kp(1),
  clients: kp(2),
  code: kp(3),
  mail: kp(4),
  timeStamps: kp(8),
  ocsp: kp(9),
  documents: kp(36),
  documentsByMicrosoft: '1.3.6.1.4.1.311.10.3.12',
  documentsByAdobe: '1.2.840.113583.1.1.5',
  logon: '1.3.6.1.4.1.311.20.2.2',
  pivCard: '2.16.840.1.101.3.6.8',
  any: '2.5.29.37.0',
  private: '1.3.6.1.4.1.99999.1',
} as const
const forPurposes = (...names: readonly (keyof typeof purposes)[]): Partial<IssueOptions> => ({
  extendedKeyUsage: names.map((name) => purposes[name]),
})
const unreadable = (extnID: string): Extension =>
  new Extension({ extnID, extnValue: new Integer({ value: 1 }).toBER() })

/** What `openssl x509 -purpose` allows: TLS client and S/MIME signing. */
function opensslPurposes(der: Uint8Array): { readonly client: boolean; readonly mail: boolean } {
  const output = execFileSync('openssl', ['x509', '-inform', 'DER', '-noout', '-purpose'], {
    input: der,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  return { client: /^SSL client : Yes/m.test(output), mail: /^S\/MIME signing : Yes/m.test(output) }
}

const OK = 'fitting'
const KU = 'wrong-key-usage'
const EKU = 'wrong-extended-key-usage'
const QC = 'wrong-qc-statements'

type Case = readonly [
  what: string,
  login: CertificateUse,
  signing: CertificateUse,
  options: Partial<IssueOptions>,
  /** Why OpenSSL's result for signing mail differs from Webtoki's for signing documents, if it does. */
  otherwise?: string,
]
const cases: readonly Case[] = [
  ['for digital signatures', OK, OK, { keyUsage: 0x80 }],
  ['with nonRepudiation only', KU, OK, { keyUsage: 0x40 }],
  ['without a key usage', KU, OK, { keyUsage: null }],
  ['of a CA', 'authority', 'authority', { isCa: true, keyUsage: 0x86 }, 'OpenSSL lets a CA sign mail'],
  ['for encryption', KU, KU, { keyUsage: 0x20 }],
  ['for key agreement', KU, KU, { keyUsage: 0x08 }],
  ['for clients', OK, EKU, forPurposes('clients')],
  ['for clients and servers', OK, EKU, forPurposes('clients', 'servers')],
  ['for clients and logon by smartcard', OK, EKU, forPurposes('clients', 'logon')],
  ['for clients and mail', OK, OK, forPurposes('clients', 'mail')],
  ['for mail', EKU, OK, forPurposes('mail')],
  ['for servers', EKU, EKU, forPurposes('servers')],
  ['for code', EKU, EKU, forPurposes('code')],
  ['for time-stamps', EKU, EKU, forPurposes('timeStamps')],
  ['for OCSP', EKU, EKU, forPurposes('ocsp')],
  ['for logon by smartcard', EKU, EKU, forPurposes('logon')],
  ['for the authentication of PIV cards', EKU, EKU, forPurposes('pivCard')],
  ['for a private purpose of its issuer', EKU, EKU, forPurposes('private')],
  ['for IPsec', EKU, EKU, { extendedKeyUsage: [5, 6, 7, 17].map(kp) }],
  ['for documents', EKU, OK, forPurposes('documents'), 'mail is another purpose'],
  ['for documents, Microsoft’s', EKU, OK, forPurposes('documentsByMicrosoft'), 'mail is another purpose'],
  ['for documents, Adobe’s', EKU, OK, forPurposes('documentsByAdobe'), 'mail is another purpose'],
  ['for any purpose', EKU, OK, forPurposes('any'), 'OpenSSL requires emailProtection, RFC 5280 does not'],
  ['for PIV cards and mail', EKU, OK, forPurposes('pivCard', 'mail')],
  [
    'for clients, and of QcType esign',
    OK,
    OK,
    { ...forPurposes('clients'), extensions: [qcStatements({ compliance: true, types: ['esign'] })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'for clients, and of QcType eseal',
    OK,
    OK,
    { ...forPurposes('clients'), extensions: [qcStatements({ types: ['eseal'] })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'for clients, with QcCompliance only',
    OK,
    OK,
    { ...forPurposes('clients'), extensions: [qcStatements({ compliance: true })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'for clients, with QcStatements without QcType and QcCompliance',
    OK,
    EKU,
    { ...forPurposes('clients'), extensions: [qcStatements({})] },
  ],
  [
    'of QcType web',
    OK,
    QC,
    { extensions: [qcStatements({ compliance: true, types: ['web'] })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'for mail, and of a QcType that EN 319 412-5 does not define',
    EKU,
    QC,
    { ...forPurposes('mail'), extensions: [qcStatements({ types: ['other'] })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'with an empty list of QcTypes',
    OK,
    QC,
    { extensions: [qcStatements({ compliance: true, types: [] })] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'for encryption, and of QcType esign',
    KU,
    KU,
    { keyUsage: 0x20, extensions: [qcStatements({ types: ['esign'] })] },
  ],
  [
    'with an extended key usage that cannot be parsed',
    EKU,
    EKU,
    { extensions: [unreadable('2.5.29.37')] },
    'OpenSSL ignores an extension that it cannot parse',
  ],
  [
    'with a key usage that cannot be parsed',
    KU,
    KU,
    { keyUsage: null, extensions: [unreadable('2.5.29.15')] },
    'OpenSSL ignores an extension that it cannot parse',
  ],
  [
    'with QcStatements that cannot be parsed',
    OK,
    QC,
    { extensions: [unreadable('1.3.6.1.5.5.7.1.3')] },
    'OpenSSL knows no QcStatements',
  ],
  [
    'with an extension twice',
    'unreadable',
    'unreadable',
    { ...forPurposes('mail'), extensions: [unreadable('2.5.29.37')] },
    'OpenSSL uses the first',
  ],
]

describe('a certificate', () => {
  const all = cases.map(
    ([what, login, signing, options, otherwise]) => [what, login, signing, options, otherwise] as const,
  )

  it.each(all)('%s: %s for a login, %s for signing', async (_what, login, signing, options) => {
    const { der } = await issue({ name: 'Ada', ...options })
    expect([certificateUse(der, 'login'), certificateUse(der, 'signing')]).toEqual([login, signing])
  })

  it.each(publishedCertificates.map((each) => [each.name, each] as const))(
    'from a published card has the uses that its issuer intended: %s',
    (_name, each) => {
      const der = new Uint8Array(Buffer.from(each.derBase64, 'base64'))
      expect({ login: certificateUse(der, 'login'), signing: certificateUse(der, 'signing') }).toEqual({
        login: each.login,
        signing: each.signing,
      })
    },
  )

  it.skipIf(missing !== undefined).each(all)(
    '%s: OpenSSL agrees for mail, or the deviation is explained',
    async (_what, login, signing, options, otherwise) => {
      const { der } = await issue({ name: 'Ada', ...options })
      const { client, mail } = opensslPurposes(der)
      expect(mail === (signing === OK)).toBe(otherwise === undefined)
      // OpenSSL is more permissive (key agreement, no key usage), so it has to accept whatever Webtoki accepts.
      if (login === OK) expect(client).toBe(true)
    },
  )

  it.skipIf(missing !== undefined)(
    'from a published card signs documents exactly if OpenSSL lets it sign mail, except for any purpose',
    () => {
      const differing = publishedCertificates.filter(({ derBase64 }) => {
        const der = new Uint8Array(Buffer.from(derBase64, 'base64'))
        return (certificateUse(der, 'signing') === OK) !== opensslPurposes(der).mail
      })
      // OpenSSL requires emailProtection by name.
      expect(differing.map(({ name }) => name)).toEqual([
        'PIV card 1, 9A (clientAuth, smartcard logon, any purpose)',
      ])
    },
  )

  it('is refused with an error that states its key usages', async () => {
    const meant = async (options: Partial<IssueOptions>, purpose: CertificatePurpose) => {
      const { der } = await issue({ name: 'Ada', ...options })
      try {
        requireCertificateUse(der, purpose)
        return undefined
      } catch (error) {
        expect(error).toBeInstanceOf(CertificateUseError)
        return error
      }
    }
    expect(await meant(forPurposes('pivCard'), 'signing')).toMatchObject({
      name: 'CertificateUseError',
      code: 'certificate/wrong-use',
      purpose: 'signing',
      reason: EKU,
      message: expect.stringMatching(
        /signing documents: its extended key usage is PIV card authentication/,
      ) as string,
    })
    expect(await meant(forPurposes('mail', 'private'), 'login')).toMatchObject({
      purpose: 'login',
      reason: EKU,
      message: expect.stringMatching(
        /logins: its extended key usage is emailProtection, 1\.3\.6\.1\.4\.1\.99999\.1/,
      ) as string,
    })
    expect(await meant({ keyUsage: 0x28 }, 'signing')).toMatchObject({
      reason: KU,
      message: expect.stringContaining('its key usage is keyEncipherment, keyAgreement') as string,
    })
    expect(await meant({ keyUsage: null }, 'login')).toMatchObject({
      message: expect.stringContaining('it has no key usage') as string,
    })
    expect(await meant({ extensions: [qcStatements({ types: ['web'] })] }, 'signing')).toMatchObject({
      reason: QC,
    })
    expect(await meant(forPurposes('mail'), 'signing')).toBeUndefined()
    expect(() => requireCertificateUse(new Uint8Array(3), 'signing')).toThrow('it cannot be read')
  })

  it('of arbitrary bytes gives a verdict without throwing, and fits no use if it cannot be parsed', async () => {
    const { der } = await issue({ name: 'Ada', extensions: [qcStatements({ types: ['esign'] })] })
    const verdicts = new Set<CertificateUse>([OK, KU, EKU, QC, 'unreadable'])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(certificateUse(bytes, 'signing')).not.toBe(OK)
        expect(certificateUse(bytes, 'login')).not.toBe(OK)
        expect(issuerUse(bytes, 'signing')).not.toBe(OK)
      }),
    )
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = der.slice()
        changed[at] = (changed[at] ?? 0) ^ mask
        for (const purpose of ['login', 'signing'] as const)
          expect(verdicts).toContain(certificateUse(changed, purpose))
      }),
    )
  })
})

describe('an issuer', () => {
  const issuers: readonly (readonly [string, boolean, boolean, Partial<IssueOptions>])[] = [
    ['without an extended key usage', true, true, {}],
    ['for any purpose', true, true, forPurposes('any')],
    ['for clients', true, false, forPurposes('clients')],
    ['for mail', false, true, forPurposes('mail')],
    ['for documents', false, true, forPurposes('documents')],
    ['for clients, mail and OCSP, as Estonia’s', true, true, forPurposes('clients', 'mail', 'ocsp')],
    ['for servers', false, false, forPurposes('servers')],
    ['for code and time-stamps', false, false, forPurposes('code', 'timeStamps')],
    ['for a private purpose', false, false, forPurposes('private')],
    [
      'with an extended key usage that cannot be parsed',
      false,
      false,
      { extensions: [unreadable('2.5.29.37')] },
    ],
  ]
  it.each(issuers)('%s may issue for logins: %s, for signing: %s', async (_what, login, signing, options) => {
    const { der } = await issue({ name: 'CA', isCa: true, ...options })
    const fits = (purpose: CertificatePurpose) => issuerUse(der, purpose) === OK
    expect([fits('login'), fits('signing')]).toEqual([login, signing])
  })
})
