/** Inputs: signatures in DER, PEM and base64, additional certificates, and values of a wrong type. */
import { type CertificateData, signDetached, notChecked, trustedBy, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { type Issued, issue, issueChain, softwareSigner } from '../../trust/test/pki.ts'
import { OpenSsl } from './openssl.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Inputs are not compared with OpenSSL: ${missing}.`)

const openssl = new OpenSsl()
afterAll(() => openssl.remove())

const letter = new TextEncoder().encode('Dear reader,\n')
type Signature = Parameters<typeof verifyDetached>[0]
const verify = (file: Signature, document: unknown = letter) =>
  verifyDetached(file, document as Uint8Array, { trust: notChecked })

describe.skipIf(missing !== undefined)('a signature by OpenSSL', () => {
  let file: Uint8Array
  let pem: Uint8Array
  let base64: string
  beforeAll(() => {
    openssl.person('Ada')
    file = openssl.sign('Ada', letter, '-md', 'sha256')
    pem = openssl.sign('Ada', letter, '-md', 'sha256', '-outform', 'PEM')
    base64 = Buffer.from(file).toString('base64')
  })

  const forms: readonly (readonly [what: string, make: () => Signature])[] = [
    ['PEM', () => pem],
    ['PEM as a string', () => new TextDecoder().decode(pem)],
    ['PEM among other lines', () => `Signed by Ada:\n${new TextDecoder().decode(pem)}\nBye.\n`],
    ['PEM of PKCS7', () => new TextDecoder().decode(pem).replaceAll('CMS', 'PKCS7')],
    ['PEM with CRLF line ends', () => new TextDecoder().decode(pem).replaceAll('\n', '\r\n')],
    ['base64', () => new TextEncoder().encode(base64)],
    ['base64 in lines, as a string', () => base64.replaceAll(/.{76}/g, '$&\r\n')],
    ['base64 after a byte order mark', () => new TextEncoder().encode(`\ufeff${base64}`)],
    ['an ArrayBuffer', () => file.slice().buffer],
    ['a DataView', () => new DataView(file.slice().buffer)],
    ['a Blob of DER', () => new Blob([file.slice()])],
    ['a File of PEM', () => new File([pem.slice()], 'letter.p7s')],
  ]

  it.each(forms)('is read as %s', async (_what, make) => {
    expect(await verify(make())).toMatchObject({ valid: true })
  })

  it.each([
    ['an ArrayBuffer', () => letter.slice().buffer],
    ['a DataView', () => new DataView(letter.slice().buffer)],
    ['a File', () => new File([letter.slice()], 'letter.txt')],
  ])('is verified over a document that is %s', async (_what, make) => {
    expect(await verify(file, make())).toMatchObject({ valid: true })
  })

  it.each(['letter', 7, null, undefined, {}, [1, 2], { length: 3 }])(
    'is refused with wrong-argument for the document %j',
    async (document) => {
      await expect(verify(file, document === undefined ? Symbol('none') : document)).rejects.toMatchObject({
        code: 'documents/wrong-argument',
        message: expect.stringContaining('document') as string,
      })
      const signer = softwareSigner(await issue({ name: 'Bob' }), 'ES256')
      await expect(signDetached(signer, document as unknown as Uint8Array)).rejects.toMatchObject({
        code: 'documents/wrong-argument',
      })
    },
  )

  it.each([7, null, {}, [1, 2]])('is refused with an error that names `signature` for %j', async (wrong) => {
    await expect(verify(wrong as unknown as Uint8Array)).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringContaining('`signature`') as string,
    })
  })

  it.each(['', 'Dear reader', 'MIIB', '-----BEGIN CMS-----\nM\n-----END CMS-----'])(
    'is malformed as the text %j',
    async (text) => {
      await expect(verify(text)).rejects.toMatchObject({ code: 'documents/malformed' })
    },
  )

  it.each([
    ['more', 100],
    ['less', 1_000_000],
  ])('is unreadable if a Blob yields %s bytes than its size', async (_, size) => {
    const lying = { size, stream: () => new Blob([file.slice()]).stream(), slice: () => new Blob() }
    const outcome = await verifyDetached(lying, letter, { trust: notChecked }).catch(
      (error: unknown) => error,
    )
    expect(outcome).toMatchObject({ code: 'documents/unreadable' })
  })

  it('is too complex if a Blob has more than 16 MiB, which is not read', async () => {
    const long = { size: 2 ** 40, slice: () => expect.fail('The Blob must not be read.') }
    await expect(verify(long)).rejects.toMatchObject({ code: 'documents/too-complex', limit: '16 MiB' })
  })
})

describe.skipIf(missing !== undefined)('the option `certificates`', () => {
  it('makes a signature without certificates verifiable', async () => {
    const certificate = openssl.person('Outside')
    const file = openssl.sign('Outside', letter, '-md', 'sha256', '-nocerts')
    const found = await verifyDetached(file, letter, { trust: notChecked, certificates: [certificate] })
    expect(found).toMatchObject({ valid: true, signers: [{ subject: 'Outside' }] })
  })

  it('completes the path to the root but does not make a certificate trusted', async () => {
    const root = await issue({ name: 'Root', isCa: true })
    const ca = await issue({ name: 'Issuing CA', issuer: root, isCa: true })
    const file = await signDetached(softwareSigner(await issue({ name: 'Ada', issuer: ca }), 'ES256'), letter)
    const trust = trustedBy([root.der])
    expect(await verifyDetached(file, letter, { trust })).toMatchObject({ valid: false })
    const certificates = [ca.der]
    expect(await verifyDetached(file, letter, { trust, certificates })).toMatchObject({ valid: true })
    const unrelated = await issue({ name: 'Unrelated', isCa: true })
    const untrusted = await verifyDetached(file, letter, { trust: trustedBy([unrelated.der]), certificates })
    expect(untrusted).toMatchObject({ valid: false })
  })
})

describe('certificates passed as options', () => {
  const block = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`
  const key = '-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n'
  const damaged = '-----BEGIN CERTIFICATE-----\nMII*\n-----END CERTIFICATE-----\n'
  let root: Issued
  let ca: Issued
  let person: Issued
  let file: Uint8Array
  beforeAll(async () => {
    ;({ root, ca, person } = await issueChain())
    file = await signDetached(softwareSigner(person, 'ES256'), letter)
  })
  const verified = (anchor: CertificateData, more: readonly CertificateData[]) =>
    verifyDetached(file, letter, { trust: trustedBy([anchor]), certificates: more })

  it('may be PEM as text or bytes, also a bundle with a private key and other text', async () => {
    const bundle = `The CAs:\n${key}${block(root.der)}${block(ca.der)}`
    expect(await verified(block(root.der), [bundle])).toMatchObject({
      valid: true,
      unreadableCertificates: [],
    })
    const bytes = new TextEncoder().encode(bundle)
    expect(await verified(bytes, [bytes])).toMatchObject({ valid: true })
  })

  it.each([
    [
      'whose second block is damaged',
      block(Uint8Array.of(0x30, 0)) + damaged,
      /in entry 0, block 2 of 2 is not base64/,
    ],
    [
      'without an END line',
      block(Uint8Array.of(0x30, 0)).slice(0, 40),
      /in entry 0, no PEM block is a complete CERTIFICATE/,
    ],
    ['of a private key only', key, /in entry 0, no PEM block is a complete CERTIFICATE/],
  ])('are refused as PEM %s, with an error that names entry and block', async (_what, pem, message) => {
    expect(() => trustedBy([pem])).toThrow(message)
    await expect(verified(root.der, [pem])).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringMatching(/`certificates/),
    })
  })

  it('that cannot be parsed are reported with a reason and do not make a signature invalid', async () => {
    const cut = ca.der.slice(0, -1)
    const found = await verified(root.der, [ca.der, block(cut), Uint8Array.of(1, 2)])
    expect(found).toMatchObject({
      valid: true,
      unreadableCertificates: [
        { from: 'options', index: 1 },
        { from: 'options', index: 2 },
      ],
    })
    for (const { reason } of found.unreadableCertificates) expect(reason).not.toBe('')
  })

  it('are used with those of the file, of which one that cannot be parsed is reported', async () => {
    const odd = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    // After the four bytes of the header, make TBSCertificate a SET instead of a SEQUENCE.
    odd[Buffer.from(odd).indexOf(ca.der) + 4] = 0x31
    const found = await verifyDetached(odd, letter, { trust: trustedBy([root.der]), certificates: [ca.der] })
    expect(found).toMatchObject({ valid: true, unreadableCertificates: [{ from: 'file', index: 1 }] })
  })
})

describe('the option `chain`', () => {
  let root: Issued
  let ca: Issued
  let person: Issued
  beforeAll(async () => {
    ;({ root, ca, person } = await issueChain())
  })

  it('adds a certificate to the file once, even if the signer’s chain has it too', async () => {
    const trust = trustedBy([root.der])
    const [without, own] = [softwareSigner(person, 'ES256'), softwareSigner(person, 'ES256', [ca.der])]
    const lengths: number[] = []
    for (const [signer, chain] of [
      [without, [ca.der]],
      [own, []],
      [own, [ca.der]],
    ] as const) {
      const file = await signDetached(signer, letter, { chain })
      expect(await verifyDetached(file, letter, { trust })).toMatchObject({ valid: true })
      const certificates = file.length - (file.at(-1) ?? 0)
      lengths.push(certificates)
    }
    // The size of an ECDSA signature varies by a few bytes; a certificate has hundreds.
    expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThan(300)
  })

  it('with a certificate that cannot be parsed is refused before the key is used', async () => {
    const signer = softwareSigner(person, 'ES256')
    const sign = () => expect.fail('The key is not used.')
    const refused = signDetached({ ...signer, sign }, letter, { chain: [Uint8Array.of(0x30, 0)] })
    await expect(refused).rejects.toMatchObject({ reason: 'certificate-missing' })
  })
})
