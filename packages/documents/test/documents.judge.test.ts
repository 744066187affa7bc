import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DocumentError, notChecked, signDetached, trustedBy, verifyDetached } from '@webtoki/documents'
import { type BaseBlock, type Sequence } from 'asn1js'
import fc from 'fast-check'
import { Attribute, Extension } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { type Issued, type IssueOptions, issue, softwareSigner } from '../../trust/test/pki.ts'
import { openSignedData, resign } from './resign.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Documents are not judged: ${missing}.`)

let folder: string
let root: Issued
let ca: Issued
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-documents-'))
  root = await issue({ name: 'Root', isCa: true })
  ca = await issue({ name: 'Issuing CA', issuer: root, isCa: true })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const letter = new TextEncoder().encode('Dear reader,\nthis is to be signed.\n')
const file = (name: string): string => join(folder, name)

function writePem(name: string, label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  writeFileSync(file(name), `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`)
  return file(name)
}

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function verifyByOpenssl(signature: Uint8Array, content: Uint8Array, ...more: readonly string[]): string {
  writeFileSync(file('sig.p7s'), signature)
  writeFileSync(file('content'), content)
  const args = [
    'cms',
    '-verify',
    '-binary',
    '-inform',
    'DER',
    '-in',
    file('sig.p7s'),
    '-content',
    file('content'),
  ]
  const anchor = [
    '-CAfile',
    writePem('root.pem', 'CERTIFICATE', root.der),
    '-purpose',
    'any',
    '-out',
    file('out'),
  ]
  return openssl(...args, ...anchor, ...more)
}

const trust = (...heard: [Uint8Array, readonly Uint8Array[], Date]) => trustedBy([root.der])(...heard)

describe.skipIf(missing !== undefined).each(['ES256', 'ES384', 'RS256', 'PS256'] as const)(
  'a document signed by %s',
  (algorithm) => {
    it('is accepted by OpenSSL, its signing certificate too, and by ourselves', async () => {
      const person = await issue({ name: 'Ada Lovelace', issuer: ca, algorithm })
      const signer = softwareSigner(person, algorithm, [ca.der])
      const signingTime = new Date('2026-11-24T12:00:00Z')
      const signature = await signDetached(signer, letter, { signingTime })
      verifyByOpenssl(signature, letter)
      verifyByOpenssl(signature, letter, '-cades')
      expect(() => verifyByOpenssl(signature, letter.slice(1))).toThrow('Command failed')
      const found = await verifyDetached(signature, letter, { trust })
      expect(found).toMatchObject({
        valid: true,
        signers: [
          {
            subject: 'Ada Lovelace',
            signingTime,
            digestMatches: true,
            signatureValid: true,
            signingCertificateMatches: true,
            trust: 'trusted',
            use: 'fitting',
            level: 'CAdES-B-B',
          },
        ],
      })
    })

    it('that OpenSSL made is accepted by us', async () => {
      const person = await issue({ name: 'Grace Hopper', issuer: ca, algorithm })
      const pkcs8 = await crypto.subtle.exportKey('pkcs8', person.keys.privateKey as CryptoKey)
      writeFileSync(file('letter'), letter)
      const pss = algorithm.startsWith('PS')
        ? ['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:32']
        : []
      openssl(
        ...[
          'cms',
          '-sign',
          '-binary',
          '-cades',
          '-outform',
          'DER',
          '-md',
          `sha${algorithm.slice(2)}`,
          '-in',
          file('letter'),
        ],
        ...['-signer', writePem('person.pem', 'CERTIFICATE', person.der)],
        ...['-inkey', writePem('key.pem', 'PRIVATE KEY', new Uint8Array(pkcs8)), ...pss],
        ...['-certfile', writePem('ca.pem', 'CERTIFICATE', ca.der), '-out', file('theirs.p7s')],
      )
      const found = await verifyDetached(new Uint8Array(readFileSync(file('theirs.p7s'))), letter, { trust })
      expect(found).toMatchObject({
        valid: true,
        signers: [{ subject: 'Grace Hopper', signingCertificateMatches: true }],
      })
    })
  },
)

describe('a signature', () => {
  let signature: Uint8Array
  let person: Issued
  beforeAll(async () => {
    person = await issue({ name: 'Ada Lovelace', issuer: ca })
    signature = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
  })

  it('of another document, or of an unknown issuer, is told apart', async () => {
    const another = await verifyDetached(signature, letter.slice(1), { trust: notChecked })
    expect(another).toMatchObject({ valid: false, signers: [{ digestMatches: false, signatureValid: true }] })
    const elsewhere = await issue({ name: 'Elsewhere', isCa: true })
    const found = await verifyDetached(signature, letter, { trust: trustedBy([elsewhere.der]) })
    expect(found).toMatchObject({ valid: false, signers: [{ signatureValid: true, trust: 'untrusted' }] })
  })

  it('with any byte changed is refused, or found not valid, or says the same', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(signature.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (position, mask) => {
          const changed = signature.slice()
          changed[position] = (changed[position] ?? 0) ^ mask
          try {
            const { valid, signers } = await verifyDetached(changed, letter, { trust })
            // What is not signed may change: the version, the digest's list, the order of certificates.
            if (valid) expect(signers[0]?.certificate).toEqual(person.der)
          } catch (error) {
            expect(error).toBeInstanceOf(DocumentError)
          }
        },
      ),
      { numRuns: 400 },
    )
  })

  it('any bytes are refused with a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        await expect(verifyDetached(bytes, letter, { trust: notChecked })).rejects.toBeInstanceOf(
          DocumentError,
        )
      }),
    )
  })
})

describe.skipIf(missing !== undefined)('a signature that two verifiers could read in two ways', () => {
  let person: Issued
  let signature: Uint8Array
  beforeAll(async () => {
    person = await issue({ name: 'Ada', issuer: ca })
    signature = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
  })
  const attributesOf = async (...signed: Parameters<typeof signDetached>) =>
    openSignedData(await signDetached(...signed)).signerInfos[0]?.signedAttrs?.attributes ?? []

  it.each([
    ['the digest', '1.2.840.113549.1.9.4'],
    ['the time', '1.2.840.113549.1.9.5'],
    ['the type of content', '1.2.840.113549.1.9.3'],
    ['the certificate', '1.2.840.113549.1.9.16.2.47'],
  ])(
    'where %s stands twice is refused, in two attributes and in one, as OpenSSL does',
    async (_what, type) => {
      const signer = softwareSigner(await issue({ name: 'Bob', issuer: ca }), 'ES256')
      const signingTime = new Date('2026-01-01T00:00:00Z')
      const others = await attributesOf(signer, new Uint8Array(1), { signingTime })
      const second = others.find((each) => each.type === type) as Attribute
      const twice = await resign(signature, person, (attributes) => [second, ...attributes])
      const both = await resign(signature, person, (attributes) =>
        attributes.map((each) =>
          each.type === type ? new Attribute({ type, values: [...second.values, ...each.values] }) : each,
        ),
      )
      const same = await resign(signature, person, (attributes) => attributes)
      expect(await verifyDetached(same, letter, { trust })).toMatchObject({ valid: true })
      verifyByOpenssl(same, letter, '-cades')
      for (const odd of [twice, both]) {
        expect(() => verifyByOpenssl(odd, letter, '-cades')).toThrow('attribute error')
        await expect(verifyDetached(odd, letter, { trust })).rejects.toMatchObject({ reason: 'malformed' })
      }
    },
  )
})

describe.skipIf(missing !== undefined)('the signed attribute that names the certificate', () => {
  const type = '1.2.840.113549.1.9.16.2.47'
  /** ESSCertIDv2 within SigningCertificateV2 within its attribute. */
  const partsOf = (attributes: readonly Attribute[]): BaseBlock[] => {
    const attribute = attributes.find((each) => each.type === type) as Attribute
    const [certs] = (attribute.values[0] as Sequence).valueBlock.value
    const [first] = (certs as Sequence).valueBlock.value
    return (first as Sequence).valueBlock.value
  }

  it('has to name its issuer and serial number too, if it names any, as OpenSSL has it', async () => {
    const elsewhere = await issue({ name: 'Elsewhere', isCa: true })
    const person = await issue({ name: 'Ada', issuer: ca })
    const signature = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const withNames = async (other: Issued | undefined) => {
      const theirs = other && openSignedData(await signDetached(softwareSigner(other, 'ES256'), letter))
      const [, name] = theirs ? partsOf(theirs.signerInfos[0]?.signedAttrs?.attributes ?? []) : []
      return resign(signature, person, (attributes) => {
        partsOf(attributes).splice(1, 1, ...(name === undefined ? [] : [name]))
        return attributes
      })
    }
    const without = await withNames(undefined)
    verifyByOpenssl(without, letter, '-cades')
    expect(await verifyDetached(without, letter, { trust })).toMatchObject({ valid: true })
    const ofAnother = [
      await issue({ name: 'Bob', issuer: ca }),
      await issue({ name: 'Ada', issuer: elsewhere }),
    ]
    for (const other of ofAnother) {
      const wrong = await withNames(other)
      expect(() => verifyByOpenssl(wrong, letter, '-cades')).toThrow('ess cert id not found')
      expect(await verifyDetached(wrong, letter, { trust })).toMatchObject({
        valid: false,
        signers: [{ signatureValid: true, digestMatches: true, signingCertificateMatches: false }],
      })
    }
  })
})

describe('whom a signature is of', () => {
  const notAfter = new Date('2026-06-01T00:00:00Z')
  const within = new Date('2026-05-01T00:00:00Z')
  const signedBy = async (options: Partial<IssueOptions>, signingTime = new Date()) => {
    const person = await issue({ name: 'Ada', issuer: ca, ...options })
    return signDetached(softwareSigner(person, 'ES256', [ca.der]), letter, { signingTime })
  }

  it('is judged now, or when the caller says, and never at the time that the signer claims', async () => {
    const backdated = await signedBy({ notAfter }, within)
    const now = new Date('2026-11-24T12:00:00Z')
    const found = await verifyDetached(backdated, letter, { trust, at: now })
    expect(found).toMatchObject({
      valid: false,
      signers: [{ signatureValid: true, signingTime: within, trust: 'untrusted' }],
    })
    expect(found.signers[0]?.trustError).toMatchObject({ code: 'trust/path', reason: 'expired' })
    expect(await verifyDetached(backdated, letter, { trust, at: within })).toMatchObject({ valid: true })
    const judged: Date[] = []
    await verifyDetached(backdated, letter, { trust: async (_certificate, _others, at) => judged.push(at) })
    expect(Math.abs((judged[0]?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
  })

  it('is not trusted where the answer is false, or an error; unchecked only where that is said', async () => {
    const signature = await signedBy({})
    expect(await verifyDetached(signature, letter, { trust: async () => false })).toMatchObject({
      valid: false,
      signers: [{ trust: 'untrusted', trustError: { reason: 'untrusted' } }],
    })
    const thrown = new Error('no list')
    const throwing = () => {
      throw thrown
    }
    expect(await verifyDetached(signature, letter, { trust: throwing })).toMatchObject({
      valid: false,
      signers: [{ trust: 'untrusted', trustError: thrown }],
    })
    expect(await verifyDetached(signature, letter, { trust: notChecked })).toMatchObject({
      valid: true,
      signers: [{ trust: 'not-checked' }],
    })
    // @ts-expect-error Trust cannot be forgotten.
    expect(await verifyDetached(signature, letter, {})).toMatchObject({ valid: false })
  })

  it.each([
    ['for digital signatures', 'fitting', { keyUsage: 0x80 }],
    ['that binds', 'fitting', { keyUsage: 0x40 }],
    ['without a key usage', 'fitting', { keyUsage: null }],
    ['for encryption', 'wrong-key-usage', { keyUsage: 0x20 }],
    ['for mail', 'fitting', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] }],
    ['for servers', 'wrong-extended-key-usage', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }],
    ['for OCSP', 'wrong-extended-key-usage', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'] }],
    ['for a login', 'wrong-extended-key-usage', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] }],
    ['for a login and for mail', 'fitting', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.4'] }],
    [
      'for what cannot be read',
      'wrong-extended-key-usage',
      { extensions: [new Extension({ extnID: '2.5.29.37', extnValue: Uint8Array.of(2, 1, 1).buffer })] },
    ],
  ] as const)('with a certificate %s: %s', async (_what, use, options) => {
    const found = await verifyDetached(await signedBy(options), letter, { trust })
    expect(found).toMatchObject({ valid: use === 'fitting', signers: [{ use, signatureValid: true }] })
  })

  it('is not told of an RSA-PSS signature whose file names another mask than it was made with', async () => {
    const person = await issue({ name: 'Ada', issuer: ca, algorithm: 'PS256' })
    const made = Buffer.from(await signDetached(softwareSigner(person, 'PS256', [ca.der]), letter))
    // MGF1 over SHA-256, and over SHA-512.
    const mask = Buffer.from('06092a864886f70d010108300b0609608648016503040201', 'hex')
    const at = made.indexOf(mask) + mask.length - 1
    const changed = new Uint8Array(made)
    expect([changed[at], changed[at + 1]]).toEqual([0x01, 0xa2])
    changed[at] = 0x03
    expect(() => verifyByOpenssl(changed, letter)).toThrow('Command failed')
    await expect(verifyDetached(changed, letter, { trust })).rejects.toMatchObject({
      reason: 'unsupported-algorithm',
    })
  })

  it.each([
    ['servers', '1.3.6.1.5.5.7.3.1', 'untrusted'],
    ['mail', '1.3.6.1.5.5.7.3.4', 'trusted'],
  ] as const)(
    'with a certificate of a CA for %s (%s) is %s, by OpenSSL and by us',
    async (_what, purpose, expected) => {
      const between = await issue({ name: 'Between', issuer: root, isCa: true, extendedKeyUsage: [purpose] })
      const person = await issue({ name: 'Ada', issuer: between })
      const signature = await signDetached(softwareSigner(person, 'ES256', [between.der]), letter)
      const found = await verifyDetached(signature, letter, { trust })
      expect(found).toMatchObject({
        valid: expected === 'trusted',
        signers: [{ trust: expected, use: 'fitting' }],
      })
      const judged = () => verifyByOpenssl(signature, letter, '-purpose', 'smimesign')
      if (expected === 'trusted') judged()
      else expect(judged).toThrow('certificate purpose')
    },
  )

  it('is told as plain CMS where no attribute names the certificate', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', person.keys.privateKey as CryptoKey)
    writeFileSync(file('letter'), letter)
    openssl(
      ...['cms', '-sign', '-binary', '-outform', 'DER', '-md', 'sha256', '-in', file('letter')],
      ...['-signer', writePem('plain.pem', 'CERTIFICATE', person.der), '-out', file('plain.p7s')],
      ...['-inkey', writePem('plain-key.pem', 'PRIVATE KEY', new Uint8Array(pkcs8))],
      ...['-certfile', writePem('ca.pem', 'CERTIFICATE', ca.der)],
    )
    const found = await verifyDetached(new Uint8Array(readFileSync(file('plain.p7s'))), letter, { trust })
    expect(found).toMatchObject({
      valid: true,
      signers: [{ level: 'CMS', signingCertificateMatches: undefined }],
    })
  })

  it('without signed attributes is not valid, and no document is told to be the signed one', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', person.keys.privateKey as CryptoKey)
    writeFileSync(file('letter'), letter)
    openssl(
      ...['cms', '-sign', '-binary', '-noattr', '-outform', 'DER', '-md', 'sha256', '-in', file('letter')],
      ...['-signer', writePem('plain.pem', 'CERTIFICATE', person.der), '-out', file('plain.p7s')],
      ...['-inkey', writePem('plain-key.pem', 'PRIVATE KEY', new Uint8Array(pkcs8))],
      ...['-certfile', writePem('ca.pem', 'CERTIFICATE', ca.der)],
    )
    const plain = new Uint8Array(readFileSync(file('plain.p7s')))
    for (const document of [letter, letter.slice(1)]) {
      expect(await verifyDetached(plain, document, { trust })).toMatchObject({
        valid: false,
        signers: [{ digestMatches: false, signatureValid: false }],
      })
    }
  })

  it('is not taken from an ECDSA signature that is no strict DER', async () => {
    const signature = await signedBy({})
    // The last thing in the file: OCTET STRING { SEQUENCE { INTEGER, INTEGER } }.
    const at = signature.findLastIndex((byte, place) => {
      const length = signature.length - place
      return byte === 0x30 && signature[place + 1] === length - 2 && signature[place - 1] === length
    })
    expect([signature[at - 2], signature[at + 2]]).toEqual([0x04, 0x02])
    for (const position of [at, at + 2]) {
      const changed = signature.slice()
      changed[position] = (changed[position] ?? 0) ^ 0x20
      expect(await verifyDetached(changed, letter, { trust })).toMatchObject({
        valid: false,
        signers: [{ signatureValid: false }],
      })
    }
  })
})

describe('a signature by a card', () => {
  it('that keeps its certificate with bytes behind it names the certificate that is in the file', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const signer = softwareSigner(person, 'ES256', [ca.der])
    const padded = { ...signer, certificate: Uint8Array.of(...person.der, 0, 0) }
    const signature = await signDetached(padded, letter)
    verifyByOpenssl(signature, letter, '-cades')
    expect(await verifyDetached(signature, letter, { trust })).toMatchObject({ valid: true })
  })

  it('at a time that is none is refused before the card is asked', async () => {
    const signer = softwareSigner(await issue({ name: 'Ada', issuer: ca }), 'ES256')
    const sign = vi.spyOn(signer, 'sign')
    await expect(signDetached(signer, letter, { signingTime: new Date('soon') })).rejects.toThrow(RangeError)
    expect(sign).not.toHaveBeenCalled()
  })
})

describe('a document of any shape', () => {
  it('empty, in odd pieces, as a stream, as a file: the same digest', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const signer = softwareSigner(person, 'ES256', [ca.der])
    const long = new Uint8Array(5_000_001).map((_, at) => at * 31)
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < long.length; ) {
        const bytes = 1 + ((at * 7919) % 700_000)
        yield long.subarray(at, at + bytes)
        at += bytes
      }
    }
    for (const data of [long, new Blob([long]), pieces(), new Blob([long]).stream()]) {
      const seen: number[] = []
      const signature = await signDetached(signer, data, { onProgress: ({ bytes }) => seen.push(bytes) })
      expect(seen.at(-1)).toBe(long.length)
      expect((await verifyDetached(signature, long, { trust })).valid).toBe(true)
    }
    const empty = await signDetached(signer, new Uint8Array(0))
    verifyByOpenssl(empty, new Uint8Array(0))
  })
})
