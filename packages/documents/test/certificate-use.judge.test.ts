/**
 * Which certificates may sign documents, and which issuers may issue them: the same verdict for signing and verifying.
 */
import { CertificateUseError } from '@webtoki/crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SigningUse, notChecked, signDetached, trustedBy, verifyDetached } from '@webtoki/documents'
import fc from 'fast-check'
import { Extension } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { type Issued, type IssueOptions, issue, softwareSigner } from '../../trust/test/pki.ts'
import { qcStatements, qcTypes } from '../../trust/test/qc-statements.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined)
  console.warn(`Certificates for signing documents are not compared with OpenSSL: ${missing}.`)

const letter = new TextEncoder().encode('Dear reader,\nthis is to be signed.\n')
let folder: string
let root: Issued
let ca: Issued
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-use-'))
  root = await issue({ name: 'Root', isCa: true })
  ca = await issue({ name: 'Issuing CA', issuer: root, isCa: true })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const trust = (...args: [Uint8Array, readonly Uint8Array[], Date]) => trustedBy([root.der])(...args)

function write(name: string, bytes: Uint8Array, label?: string): string {
  const path = join(folder, name)
  const base64 = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n')
  writeFileSync(path, label ? `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n` : bytes)
  return path
}

const openssl = (...args: readonly string[]): string =>
  execFileSync('openssl', ['cms', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

/** Signs with OpenSSL, which accepts any certificate. */
async function signWithOpenssl(person: Issued, issuer: Issued): Promise<Uint8Array> {
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', person.keys.privateKey as CryptoKey)
  openssl(
    ...['-sign', '-binary', '-cades', '-outform', 'DER', '-md', 'sha256', '-in', write('letter', letter)],
    ...['-signer', write('person.pem', person.der, 'CERTIFICATE')],
    ...['-inkey', write('key.pem', new Uint8Array(pkcs8), 'PRIVATE KEY')],
    ...['-certfile', write('ca.pem', issuer.der, 'CERTIFICATE'), '-out', join(folder, 'made.p7s')],
  )
  return new Uint8Array(readFileSync(join(folder, 'made.p7s')))
}

/** Whether OpenSSL accepts the signature for the purpose S/MIME signing. */
function opensslAcceptsAsMail(signature: Uint8Array): boolean {
  const args = ['-verify', '-binary', '-inform', 'DER', '-in', write('made.p7s', signature)]
  const anchor = ['-CAfile', write('root.pem', root.der, 'CERTIFICATE'), '-out', join(folder, 'out')]
  try {
    openssl(...args, '-content', write('letter', letter), ...anchor, '-purpose', 'smimesign')
    return true
  } catch (error) {
    expect((error as { stderr: string }).stderr).toMatch(/certificate purpose|invalid certificate/)
    return false
  }
}

const kp = (arc: number): string => `1.3.6.1.5.5.7.3.${arc}`
const clients = kp(2)

describe.skipIf(missing !== undefined)('a certificate', () => {
  const OK = 'fitting'
  const KU = 'wrong-key-usage'
  const EKU = 'wrong-extended-key-usage'
  const cases: readonly (readonly [string, SigningUse, Partial<IssueOptions>, mail?: boolean])[] = [
    ['for digital signatures', OK, { keyUsage: 0x80 }],
    ['with nonRepudiation', OK, { keyUsage: 0x40 }],
    ['without a key usage', OK, { keyUsage: null }],
    ['for encryption', KU, { keyUsage: 0x20 }],
    ['for mail', OK, { extendedKeyUsage: [kp(4)] }],
    ['for documents (RFC 9336)', OK, { extendedKeyUsage: [kp(36)] }, false],
    ['for documents, Microsoft’s', OK, { extendedKeyUsage: ['1.3.6.1.4.1.311.10.3.12'] }, false],
    ['for documents, Adobe’s', OK, { extendedKeyUsage: ['1.2.840.113583.1.1.5'] }, false],
    ['for any purpose', OK, { extendedKeyUsage: ['2.5.29.37.0'] }, false],
    ['for a login', EKU, { extendedKeyUsage: [clients] }],
    ['for a login and servers', EKU, { extendedKeyUsage: [clients, kp(1)] }],
    ['for a login and for mail', OK, { extendedKeyUsage: [clients, kp(4)] }],
    ['for code', EKU, { extendedKeyUsage: [kp(3)] }],
    ['for time-stamps', EKU, { extendedKeyUsage: [kp(8)] }],
    ['for OCSP', EKU, { extendedKeyUsage: [kp(9)] }],
    ['for IPsec and IKE', EKU, { extendedKeyUsage: [5, 6, 7, 17].map(kp) }],
    ['for logon by smartcard', EKU, { extendedKeyUsage: ['1.3.6.1.4.1.311.20.2.2'] }],
    ['for the authentication of PIV cards', EKU, { extendedKeyUsage: ['2.16.840.1.101.3.6.8'] }],
    ['for a private purpose of its issuer', EKU, { extendedKeyUsage: ['1.3.6.1.4.1.99999.1'] }],
    [
      'for a login, of QcType esign',
      OK,
      { extendedKeyUsage: [clients], extensions: [qcStatements({ compliance: true, types: ['esign'] })] },
      false,
    ],
    ['of QcType web', 'wrong-qc-statements', { extensions: [qcStatements({ types: ['web'] })] }, true],
    [
      'with an extended key usage that cannot be parsed',
      EKU,
      { extensions: [new Extension({ extnID: '2.5.29.37', extnValue: Uint8Array.of(2, 1, 1).buffer })] },
    ],
  ]

  it.each(cases.map(([what, use, options, mail]) => [what, use, options, mail] as const))(
    '%s: %s, both for signing and for verifying',
    async (_what, use, options, mail) => {
      const person = await issue({ name: 'Ada', issuer: ca, ...options })
      const byOpenssl = await signWithOpenssl(person, ca)
      expect(await verifyDetached(byOpenssl, letter, { trust })).toMatchObject({
        valid: use === OK,
        signers: [{ use, signatureValid: true, trust: 'trusted' }],
      })
      // OpenSSL has no purpose for documents; its purpose for mail requires emailProtection.
      expect(opensslAcceptsAsMail(byOpenssl)).toBe(mail ?? use === OK)
      let signatures = 0
      const signer = softwareSigner(person, 'ES256', [ca.der])
      const counting = { ...signer, sign: (bytes: Uint8Array) => (signatures++, signer.sign(bytes)) }
      if (use === OK) {
        expect(await verifyDetached(await signDetached(counting, letter), letter, { trust })).toMatchObject({
          valid: true,
        })
        return
      }
      const unread = { size: 12, slice: () => expect.fail('The document must not be read.') }
      const refused = signDetached(counting, unread)
      await expect(refused).rejects.toBeInstanceOf(CertificateUseError)
      await expect(refused).rejects.toMatchObject({ purpose: 'signing', reason: use })
      expect(signatures).toBe(0)
    },
  )
})

describe('signDetached and verifyDetached', () => {
  const purposes = [1, 2, 3, 4, 8, 9, 36].map(kp)
  const others = [
    '2.5.29.37.0',
    '1.3.6.1.4.1.311.10.3.12',
    '1.2.840.113583.1.1.5',
    '2.16.840.1.101.3.6.8',
    '2.25.1',
  ]
  const anyOptions: fc.Arbitrary<Partial<IssueOptions>> = fc.record(
    {
      keyUsage: fc.option(fc.nat(255)),
      extendedKeyUsage: fc.uniqueArray(fc.constantFrom(...purposes, ...others), {
        minLength: 1,
        maxLength: 3,
      }),
      extensions: fc
        .record({
          compliance: fc.boolean(),
          types: fc.option(
            fc.uniqueArray(fc.constantFrom(...(Object.keys(qcTypes) as (keyof typeof qcTypes)[]))),
          ),
        })
        .map(({ compliance, types }) => [
          qcStatements(types === null ? { compliance } : { compliance, types }),
        ]),
    },
    { requiredKeys: [] },
  )

  it('agree on every generated certificate: one that signs is fitting when verified', async () => {
    const [counts, fine] = [{ signed: 0, refused: 0 }, await issue({ name: 'Ada', issuer: ca })]
    await fc.assert(
      fc.asyncProperty(anyOptions, async (options) => {
        const person = await issue({ name: 'Ada', issuer: ca, keys: fine.keys, ...options })
        const signature = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter).catch(
          (error: unknown) => error,
        )
        if (signature instanceof Uint8Array) {
          counts.signed++
          const { valid, signers } = await verifyDetached(signature, letter, { trust: notChecked })
          expect({ valid, use: signers[0]?.use }).toEqual({ valid: true, use: 'fitting' })
        } else {
          counts.refused++
          expect(signature).toMatchObject({ code: 'certificate/wrong-use', purpose: 'signing' })
        }
      }),
      { numRuns: 200 },
    )
    expect(Math.min(counts.signed, counts.refused)).toBeGreaterThan(10)
  })
})

describe.skipIf(missing !== undefined)('an intermediate CA', () => {
  it.each([
    ['servers', [kp(1)], 'untrusted', false],
    ['clients', [clients], 'untrusted', false],
    ['code', [kp(3)], 'untrusted', false],
    ['a private purpose', ['1.3.6.1.4.1.99999.1'], 'untrusted', false],
    ['mail', [kp(4)], 'trusted', true],
    ['OCSP, clients and mail', [kp(9), clients, kp(4)], 'trusted', true],
    ['documents', [kp(36)], 'trusted', false],
    ['any purpose', ['2.5.29.37.0'], 'trusted', false],
  ] as const)(
    'for %s (%j) makes a signer %s, and accepted for mail by OpenSSL: %s',
    async (_what, extendedKeyUsage, expected, mail) => {
      const between = await issue({ name: 'Between', issuer: root, isCa: true, extendedKeyUsage })
      const person = await issue({ name: 'Ada', issuer: between })
      const signature = await signDetached(softwareSigner(person, 'ES256', [between.der]), letter)
      expect(await verifyDetached(signature, letter, { trust })).toMatchObject({
        valid: expected === 'trusted',
        signers: [{ trust: expected, use: 'fitting' }],
      })
      expect(opensslAcceptsAsMail(signature)).toBe(mail)
    },
  )
})
