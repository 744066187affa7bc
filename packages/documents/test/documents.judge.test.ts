import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DocumentError, notChecked, signDetached, trustedBy, verifyDetached } from '@webtoki/documents'
import { type BaseBlock, Integer, Null, ObjectIdentifier, OctetString, Sequence } from 'asn1js'
import fc from 'fast-check'
import { Attribute, ContentInfo, Extension, RSASSAPSSParams, type SignerInfo } from 'pkijs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import {
  der,
  type Issued,
  type IssueOptions,
  issue,
  reissue,
  softwareSigner,
  text,
} from '../../trust/test/pki.ts'
import { closeSignedData, openSignedData, resign } from './resign.ts'

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
        expect(await verifyDetached(odd, letter, { trust })).toMatchObject({
          valid: false,
          signers: [{ indication: 'TOTAL-FAILED', subIndication: 'FORMAT_FAILURE' }],
        })
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

  it('has to have the certificate’s digest, by the hash that it names; without a time there is no CAdES-B-B', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const signature = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const withDigest = (...digest: readonly BaseBlock[]) =>
      resign(signature, person, (attributes) => {
        partsOf(attributes).splice(0, 1, ...digest)
        return attributes
      })
    const wrong = await withDigest(new OctetString({ valueHex: new Uint8Array(32).buffer }))
    expect(await verifyDetached(wrong, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ signatureValid: true, digestMatches: true, signingCertificateMatches: false }],
    })
    const sha512 = new Sequence({ value: [new ObjectIdentifier({ value: '2.16.840.1.101.3.4.2.3' })] })
    const digest = await crypto.subtle.digest('SHA-512', person.der.slice())
    const longer = await withDigest(sha512, new OctetString({ valueHex: digest }))
    verifyByOpenssl(longer, letter, '-cades')
    expect(await verifyDetached(longer, letter, { trust })).toMatchObject({ valid: true })
    const timeless = await resign(signature, person, (attributes) =>
      attributes.filter((each) => each.type !== '1.2.840.113549.1.9.5'),
    )
    expect(await verifyDetached(timeless, letter, { trust })).toMatchObject({
      valid: true,
      signers: [{ level: 'CMS', signingTime: undefined, signingCertificateMatches: true }],
    })
  })

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
    expect(found.signers[0]?.trustError).toMatchObject({ code: 'trust/expired' })
    expect(await verifyDetached(backdated, letter, { trust, at: within })).toMatchObject({ valid: true })
    const judged: Date[] = []
    await verifyDetached(backdated, letter, {
      trust: async (_certificate, _others, at) => judged.push(at) > 0,
    })
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
    await expect(verifyDetached(signature, letter, {})).rejects.toMatchObject({ reason: 'wrong-argument' })
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
    expect(await verifyDetached(changed, letter, { trust })).toMatchObject({
      valid: false,
      signers: [
        {
          indication: 'INDETERMINATE',
          signatureValid: undefined,
          problems: [{ reason: 'unsupported-algorithm' }],
        },
      ],
    })
  })

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

describe('a signature file', () => {
  const signedBy = async (
    options: Partial<IssueOptions> = {},
    document: Uint8Array = letter,
  ): Promise<readonly [file: Uint8Array, person: Issued]> => {
    const person = await issue({ name: 'Ada', issuer: ca, ...options })
    return [
      await signDetached(softwareSigner(person, options.algorithm ?? 'ES256', [ca.der]), document),
      person,
    ]
  }
  const changed = (signature: Uint8Array, change: (info: SignerInfo) => void): Uint8Array => {
    const signed = openSignedData(signature)
    for (const info of signed.signerInfos) change(info)
    return closeSignedData(signed)
  }

  it('without a signer, without the signer’s certificate, or of another kind is refused, each with its word', async () => {
    const [signature, { certificate }] = await signedBy()
    const nobody = openSignedData(signature)
    nobody.signerInfos = []
    const nameless = openSignedData(signature)
    nameless.certificates = nameless.certificates?.slice(1) ?? []
    const data = new ContentInfo({ contentType: '1.2.840.113549.1.7.1', content: new OctetString() })
    expect(await verifyDetached(closeSignedData(nameless), letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ subIndication: 'NO_SIGNING_CERTIFICATE_FOUND', digestMatches: undefined }],
    })
    const cases = [
      ['no-signer', closeSignedData(nobody)],
      ['not-signed-data', new Uint8Array(data.toSchema().toBER())],
      ['malformed', new Uint8Array(certificate.toSchema().toBER())],
      ['malformed', signature.slice(0, -1)],
    ] as const
    for (const [reason, odd] of cases)
      await expect(verifyDetached(odd, letter, { trust })).rejects.toMatchObject({ reason })
  })

  it('of two signers, each with a hash of its own, is valid only where both are', async () => {
    const both = async (first: Uint8Array, second: Uint8Array) => {
      const signed = openSignedData((await signedBy({}, first))[0])
      const added = openSignedData((await signedBy({ name: 'Bob', algorithm: 'ES384' }, second))[0])
      signed.signerInfos.push(...added.signerInfos)
      signed.certificates = [...(added.certificates ?? []), ...(signed.certificates ?? [])]
      return verifyDetached(closeSignedData(signed), letter, { trust })
    }
    expect(await both(letter, letter)).toMatchObject({
      valid: true,
      signers: [{ subject: 'Ada' }, { subject: 'Bob' }],
    })
    expect(await both(letter, letter.slice(1))).toMatchObject({
      valid: false,
      signers: [{ digestMatches: true }, { digestMatches: false }],
    })
    expect(await both(letter.slice(1), letter)).toMatchObject({ valid: false })
  })

  it('whose signed attribute names another type of content is not valid', async () => {
    const [signature, person] = await signedBy()
    const type = '1.2.840.113549.1.9.3'
    const odd = await resign(signature, person, (attributes) =>
      attributes.map((each) =>
        each.type === type
          ? new Attribute({ type, values: [new ObjectIdentifier({ value: '1.2.840.113549.1.7.2' })] })
          : each,
      ),
    )
    expect(await verifyDetached(odd, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ subIndication: 'FORMAT_FAILURE', digestMatches: true, signatureValid: true }],
    })
  })

  it('whose signature names another hash than the digest is refused, as OpenSSL does', async () => {
    const [signature, person] = await signedBy()
    const attributes = openSignedData(signature).signerInfos[0]?.signedAttrs
    const set = new Uint8Array(attributes?.encodedValue.slice(0) ?? [])
    set[0] = 0x31
    const made = await crypto.subtle.sign(
      { name: 'ECDSA', hash: 'SHA-384' },
      person.keys.privateKey as CryptoKey,
      set,
    )
    const numbers = [new Uint8Array(made, 0, 32), new Uint8Array(made, 32)].map((bytes) =>
      Integer.fromBigInt(`0x${Buffer.from(bytes).toString('hex')}`),
    )
    const odd = changed(signature, (info) => {
      info.signatureAlgorithm.algorithmId = '1.2.840.10045.4.3.3'
      info.signature = new OctetString({ valueHex: new Sequence({ value: numbers }).toBER() })
    })
    expect(() => verifyByOpenssl(odd, letter, '-cades')).toThrow('Command failed')
    expect(await verifyDetached(odd, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ algorithm: 'ECDSA with SHA-384', problems: [{ reason: 'contradicting-algorithms' }] }],
    })
  })

  it('by RSA-PSS is verified with the salt that it names, or with the 20 bytes of one that names none', async () => {
    const [signature, person] = await signedBy({ algorithm: 'PS256' })
    const set = new Uint8Array(openSignedData(signature).signerInfos[0]?.signedAttrs?.encodedValue ?? [])
    const attributes = Uint8Array.of(0x31, ...set.subarray(1))
    for (const saltLength of [64, 20]) {
      const parameters = { name: 'RSA-PSS', saltLength }
      const made = await crypto.subtle.sign(parameters, person.keys.privateKey as CryptoKey, attributes)
      const odd = changed(signature, (info) => {
        const named = new RSASSAPSSParams({ schema: info.signatureAlgorithm.algorithmParams })
        named.saltLength = saltLength
        info.signatureAlgorithm.algorithmParams = named.toSchema()
        info.signature = new OctetString({ valueHex: made })
      })
      verifyByOpenssl(odd, letter)
      expect(await verifyDetached(odd, letter, { trust })).toMatchObject({ valid: true })
    }
  })

  it('of an unknown algorithm, or of RSA-PSS with another mask or ending, is told as that', async () => {
    const [signature] = await signedBy({ algorithm: 'PS256' })
    const withParameters = (change: (named: RSASSAPSSParams) => void) =>
      changed(signature, ({ signatureAlgorithm }) => {
        const named = new RSASSAPSSParams({ schema: signatureAlgorithm.algorithmParams })
        change(named)
        signatureAlgorithm.algorithmParams = named.toSchema()
      })
    expect(
      await verifyDetached(
        withParameters(() => {}),
        letter,
        { trust },
      ),
    ).toMatchObject({ valid: true })
    const odd = [
      withParameters((named) => (named.maskGenAlgorithm.algorithmId = '1.2.3.4')),
      withParameters((named) => (named.trailerField = 2)),
      changed(signature, ({ signatureAlgorithm }) => (signatureAlgorithm.algorithmId = '1.2.3.4')),
    ]
    for (const each of odd)
      expect(await verifyDetached(each, letter, { trust })).toMatchObject({
        valid: false,
        signers: [
          {
            indication: 'INDETERMINATE',
            signatureValid: undefined,
            problems: [{ reason: 'unsupported-algorithm' }],
          },
        ],
      })
    const other = changed(signature, ({ digestAlgorithm }) => (digestAlgorithm.algorithmId = '1.3.14.3.2.26'))
    expect(() => verifyByOpenssl(other, letter)).toThrow('erif')
    const problems = expect.arrayContaining([
      expect.objectContaining({ reason: 'contradicting-algorithms' }),
    ]) as unknown
    expect(await verifyDetached(other, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ indication: 'TOTAL-FAILED', problems }],
    })
  })

  it('that names its signer by the key’s identifier is verified by that certificate', async () => {
    const identifiedBy = (id: number) => ({
      extensions: [new Extension({ extnID: '2.5.29.14', extnValue: Uint8Array.of(4, 1, id).buffer })],
    })
    const person = await issue({ name: 'Ada', issuer: ca, ...identifiedBy(7) })
    const other = await issue({ name: 'Bob', issuer: ca, ...identifiedBy(8) })
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', person.keys.privateKey as CryptoKey)
    writeFileSync(file('letter'), letter)
    openssl(
      ...['cms', '-sign', '-binary', '-keyid', '-outform', 'DER', '-md', 'sha256', '-in', file('letter')],
      ...['-signer', writePem('keyid.pem', 'CERTIFICATE', person.der), '-out', file('keyid.p7s')],
      ...['-inkey', writePem('keyid-key.pem', 'PRIVATE KEY', new Uint8Array(pkcs8))],
      ...['-certfile', writePem('ca.pem', 'CERTIFICATE', ca.der)],
    )
    const signed = openSignedData(new Uint8Array(readFileSync(file('keyid.p7s'))))
    signed.certificates = [other.certificate, ...(signed.certificates ?? [])]
    expect(await verifyDetached(closeSignedData(signed), letter, { trust })).toMatchObject({
      valid: true,
      signers: [{ subject: 'Ada' }],
    })
  })
})

describe('a document’s signature, before the card is asked,', () => {
  const signerOf = async () => {
    const signer = softwareSigner(await issue({ name: 'Ada', issuer: ca }), 'ES256', [ca.der])
    return { signer, sign: vi.spyOn(signer, 'sign') }
  }

  it('is refused where a certificate of the card or of its chain cannot be read', async () => {
    const { signer, sign } = await signerOf()
    const broken = Uint8Array.of(0x30, 1, 0)
    for (const each of [
      { ...signer, certificate: broken },
      { ...signer, chain: [ca.der, broken] },
    ])
      await expect(signDetached(each, letter)).rejects.toMatchObject({ reason: 'certificate-missing' })
    expect(sign).not.toHaveBeenCalled()
  })

  it('hands its signal on, so that who waits for the card can leave', async () => {
    const { signer, sign } = await signerOf()
    const { signal } = new AbortController()
    await signDetached(signer, letter, { signal })
    expect(sign.mock.calls[0]?.[1]?.signal).toBe(signal)
  })
})

describe('a signature as it is written', () => {
  const written = async (algorithm: 'ES256' | 'RS256', options: Parameters<typeof signDetached>[2] = {}) => {
    // Long enough for every signing time below.
    const validity = der(0x30, der(0x18, text('19000101000000Z')), der(0x18, text('21000101000000Z')))
    const person = await reissue(await issue({ name: 'Ada', issuer: ca, algorithm }), ca, { validity })
    const signer = softwareSigner(person, algorithm)
    return { signer, bytes: await signDetached(signer, letter, options) }
  }

  it('has its time in whole seconds: UTCTime until 2049, GeneralizedTime from 2050 (RFC 5652, 11.3)', async () => {
    for (const [time, text] of [
      ['2049-12-31T23:59:59.999Z', '170d3439313233313233353935395a'],
      ['2050-01-01T00:00:00.001Z', '180f32303530303130313030303030305a'],
      ['1949-12-31T23:59:59.999Z', '180f31393439313233313233353935395a'],
    ] as const) {
      const { bytes } = await written('ES256', { signingTime: new Date(time) })
      expect(Buffer.from(bytes).toString('hex')).toContain(text)
    }
  })

  it('has its attributes in the order of DER, in which others encode them again (X.690, 11.6)', async () => {
    const [info] = openSignedData((await written('ES256')).bytes).signerInfos
    const encoded = info?.signedAttrs?.attributes.map((each) => Buffer.from(each.toSchema().toBER())) ?? []
    expect(encoded).toHaveLength(4)
    expect(encoded).toEqual(encoded.toSorted((a, b) => a.compare(b)))
  })

  it('names RSA with NULL parameters (RFC 4055, 5)', async () => {
    const [info] = openSignedData((await written('RS256')).bytes).signerInfos
    expect(info?.signatureAlgorithm.algorithmParams).toBeInstanceOf(Null)
  })

  it('writes the numbers of an ECDSA signature without zeros that are not needed', async () => {
    const { signer } = await written('ES256')
    const raw = new Uint8Array(64)
    raw.set([1], 31)
    raw.set([0x80], 63)
    const bytes = await signDetached({ ...signer, sign: async () => raw }, letter)
    expect(Buffer.from(bytes).toString('hex')).toMatch(/0409300702010102020080$/)
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
    await expect(signDetached(signer, letter, { signingTime: new Date('soon') })).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringContaining('`signingTime`') as string,
    })
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
