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
if (missing !== undefined) console.warn(`Documents are not compared with OpenSSL: ${missing}.`)

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

function verifyWithOpenssl(signature: Uint8Array, content: Uint8Array, ...more: readonly string[]): string {
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

const trust = (...args: [Uint8Array, readonly Uint8Array[], Date]) => trustedBy([root.der])(...args)

describe.skipIf(missing !== undefined).each(['ES256', 'ES384', 'RS256', 'PS256'] as const)(
  'a document signed with %s',
  (algorithm) => {
    it('by Webtoki is accepted by OpenSSL, also as CAdES, and by Webtoki', async () => {
      const person = await issue({ name: 'Ada Lovelace', issuer: ca, algorithm })
      const signer = softwareSigner(person, algorithm, [ca.der])
      const signingTime = new Date('2026-11-24T12:00:00Z')
      const signature = await signDetached(signer, letter, { signingTime })
      verifyWithOpenssl(signature, letter)
      verifyWithOpenssl(signature, letter, '-cades')
      expect(() => verifyWithOpenssl(signature, letter.slice(1))).toThrow('Command failed')
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

    it('by OpenSSL is accepted by Webtoki', async () => {
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

  it('of another document has a wrong digest, and one of an unknown issuer is untrusted', async () => {
    const another = await verifyDetached(signature, letter.slice(1), { trust: notChecked })
    expect(another).toMatchObject({ valid: false, signers: [{ digestMatches: false, signatureValid: true }] })
    const elsewhere = await issue({ name: 'Elsewhere', isCa: true })
    const found = await verifyDetached(signature, letter, { trust: trustedBy([elsewhere.der]) })
    expect(found).toMatchObject({ valid: false, signers: [{ signatureValid: true, trust: 'untrusted' }] })
  })

  it('with any byte changed is refused or invalid, or has the same signer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(signature.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (position, mask) => {
          const changed = signature.slice()
          changed[position] = (changed[position] ?? 0) ^ mask
          try {
            const { valid, signers } = await verifyDetached(changed, letter, { trust })
            // Unsigned parts may change: the version, the list of digest algorithms, the order of certificates.
            if (valid) expect(signers[0]?.certificate).toEqual(person.der)
          } catch (error) {
            expect(error).toBeInstanceOf(DocumentError)
          }
        },
      ),
      { numRuns: 400 },
    )
  })

  it('of arbitrary bytes is refused with DocumentError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        await expect(verifyDetached(bytes, letter, { trust: notChecked })).rejects.toBeInstanceOf(
          DocumentError,
        )
      }),
    )
  })
})

describe.skipIf(missing !== undefined)('a signature with a duplicate signed attribute', () => {
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
    'that states %s twice, in two attributes or in one, is malformed, as in OpenSSL',
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
      verifyWithOpenssl(same, letter, '-cades')
      for (const odd of [twice, both]) {
        expect(() => verifyWithOpenssl(odd, letter, '-cades')).toThrow('attribute error')
        expect(await verifyDetached(odd, letter, { trust })).toMatchObject({
          valid: false,
          signers: [{ indication: 'TOTAL-FAILED', subIndication: 'FORMAT_FAILURE' }],
        })
      }
    },
  )
})

describe.skipIf(missing !== undefined)('the signing-certificate attribute', () => {
  const type = '1.2.840.113549.1.9.16.2.47'
  /** The fields of ESSCertIDv2 in the attribute SigningCertificateV2. */
  const partsOf = (attributes: readonly Attribute[]): BaseBlock[] => {
    const attribute = attributes.find((each) => each.type === type) as Attribute
    const [certs] = (attribute.values[0] as Sequence).valueBlock.value
    const [first] = (certs as Sequence).valueBlock.value
    return (first as Sequence).valueBlock.value
  }

  it('has to match the certificate’s digest by its hash; without a signing time the level is CMS', async () => {
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
    verifyWithOpenssl(longer, letter, '-cades')
    expect(await verifyDetached(longer, letter, { trust })).toMatchObject({ valid: true })
    const timeless = await resign(signature, person, (attributes) =>
      attributes.filter((each) => each.type !== '1.2.840.113549.1.9.5'),
    )
    expect(await verifyDetached(timeless, letter, { trust })).toMatchObject({
      valid: true,
      signers: [{ level: 'CMS', signingTime: undefined, signingCertificateMatches: true }],
    })
  })

  it('has to match issuer and serial number if it has them, as in OpenSSL', async () => {
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
    verifyWithOpenssl(without, letter, '-cades')
    expect(await verifyDetached(without, letter, { trust })).toMatchObject({ valid: true })
    const ofAnother = [
      await issue({ name: 'Bob', issuer: ca }),
      await issue({ name: 'Ada', issuer: elsewhere }),
    ]
    for (const other of ofAnother) {
      const wrong = await withNames(other)
      expect(() => verifyWithOpenssl(wrong, letter, '-cades')).toThrow('ess cert id not found')
      expect(await verifyDetached(wrong, letter, { trust })).toMatchObject({
        valid: false,
        signers: [{ signatureValid: true, digestMatches: true, signingCertificateMatches: false }],
      })
    }
  })
})

describe('the signer of a signature', () => {
  const notAfter = new Date('2026-06-01T00:00:00Z')
  const within = new Date('2026-05-01T00:00:00Z')
  const signedBy = async (options: Partial<IssueOptions>, signingTime = new Date()) => {
    const person = await issue({ name: 'Ada', issuer: ca, ...options })
    return signDetached(softwareSigner(person, 'ES256', [ca.der]), letter, { signingTime })
  }

  it('is verified for the current time or the option `at`, never for the claimed signing time', async () => {
    const backdated = await signedBy({ notAfter }, within)
    const now = new Date('2026-11-24T12:00:00Z')
    const found = await verifyDetached(backdated, letter, { trust, at: now })
    expect(found).toMatchObject({
      valid: false,
      signers: [{ signatureValid: true, signingTime: within, trust: 'untrusted' }],
    })
    expect(found.signers[0]?.trustError).toMatchObject({ code: 'trust/expired' })
    expect(await verifyDetached(backdated, letter, { trust, at: within })).toMatchObject({ valid: true })
    const times: Date[] = []
    await verifyDetached(backdated, letter, {
      trust: async (_certificate, _others, at) => times.push(at) > 0,
    })
    expect(Math.abs((times[0]?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
  })

  it('is untrusted if trust resolves to false or throws, and not checked only with notChecked', async () => {
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
    // @ts-expect-error The option `trust` is required.
    await expect(verifyDetached(signature, letter, {})).rejects.toMatchObject({ reason: 'wrong-argument' })
  })

  it('is undecided if RSA-PSS parameters name another mask hash than the signature has', async () => {
    const person = await issue({ name: 'Ada', issuer: ca, algorithm: 'PS256' })
    const made = Buffer.from(await signDetached(softwareSigner(person, 'PS256', [ca.der]), letter))
    // MGF1 over SHA-256, and over SHA-512.
    const mask = Buffer.from('06092a864886f70d010108300b0609608648016503040201', 'hex')
    const at = made.indexOf(mask) + mask.length - 1
    const changed = new Uint8Array(made)
    expect([changed[at], changed[at + 1]]).toEqual([0x01, 0xa2])
    changed[at] = 0x03
    expect(() => verifyWithOpenssl(changed, letter)).toThrow('Command failed')
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

  it('has the level CMS if no attribute identifies the certificate', async () => {
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

  it('has an invalid signature if the ECDSA signature is not strict DER', async () => {
    const signature = await signedBy({})
    // The last element of the file: OCTET STRING { SEQUENCE { INTEGER, INTEGER } }.
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

  it('without a signer or certificate, of another type, or damaged is refused with its own reason', async () => {
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

  it('of two signers with different hashes is valid only if both signatures are', async () => {
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

  it('whose signed attribute states another content type is invalid', async () => {
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

  it('whose signature algorithm contradicts the digest algorithm is invalid, as in OpenSSL', async () => {
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
    expect(() => verifyWithOpenssl(odd, letter, '-cades')).toThrow('Command failed')
    expect(await verifyDetached(odd, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ algorithm: 'ECDSA with SHA-384', problems: [{ reason: 'contradicting-algorithms' }] }],
    })
  })

  it('with RSA-PSS is verified with its salt length, or with the default of 20 bytes', async () => {
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
      verifyWithOpenssl(odd, letter)
      expect(await verifyDetached(odd, letter, { trust })).toMatchObject({ valid: true })
    }
  })

  it('of an unknown algorithm, or of RSA-PSS with an unknown mask or trailer, is unsupported', async () => {
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
    expect(() => verifyWithOpenssl(other, letter)).toThrow('erif')
    const problems = expect.arrayContaining([
      expect.objectContaining({ reason: 'contradicting-algorithms' }),
    ]) as unknown
    expect(await verifyDetached(other, letter, { trust })).toMatchObject({
      valid: false,
      signers: [{ indication: 'TOTAL-FAILED', problems }],
    })
  })

  it('that identifies its signer by subjectKeyIdentifier is verified with that certificate', async () => {
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

describe('signDetached', () => {
  const signerOf = async () => {
    const signer = softwareSigner(await issue({ name: 'Ada', issuer: ca }), 'ES256', [ca.der])
    return { signer, sign: vi.spyOn(signer, 'sign') }
  }

  it('rejects before signing if a certificate of the card or its chain cannot be parsed', async () => {
    const { signer, sign } = await signerOf()
    const broken = Uint8Array.of(0x30, 1, 0)
    for (const each of [
      { ...signer, certificate: broken },
      { ...signer, chain: [ca.der, broken] },
    ])
      await expect(signDetached(each, letter)).rejects.toMatchObject({ reason: 'certificate-missing' })
    expect(sign).not.toHaveBeenCalled()
  })

  it('passes its abort signal on to the signer', async () => {
    const { signer, sign } = await signerOf()
    const { signal } = new AbortController()
    await signDetached(signer, letter, { signal })
    expect(sign.mock.calls[0]?.[1]?.signal).toBe(signal)
  })
})

describe('the encoding of a signature', () => {
  const written = async (algorithm: 'ES256' | 'RS256', options: Parameters<typeof signDetached>[2] = {}) => {
    // A validity that includes every signing time below.
    const validity = der(0x30, der(0x18, text('19000101000000Z')), der(0x18, text('21000101000000Z')))
    const person = await reissue(await issue({ name: 'Ada', issuer: ca, algorithm }), ca, { validity })
    const signer = softwareSigner(person, algorithm)
    return { signer, bytes: await signDetached(signer, letter, options) }
  }

  it('has UTCTime until 2049 and GeneralizedTime from 2050, in whole seconds (RFC 5652, 11.3)', async () => {
    for (const [time, text] of [
      ['2049-12-31T23:59:59.999Z', '170d3439313233313233353935395a'],
      ['2050-01-01T00:00:00.001Z', '180f32303530303130313030303030305a'],
      ['1949-12-31T23:59:59.999Z', '180f31393439313233313233353935395a'],
    ] as const) {
      const { bytes } = await written('ES256', { signingTime: new Date(time) })
      expect(Buffer.from(bytes).toString('hex')).toContain(text)
    }
  })

  it('has signed attributes in DER order, in which verifiers encode them again (X.690, 11.6)', async () => {
    const [info] = openSignedData((await written('ES256')).bytes).signerInfos
    const encoded = info?.signedAttrs?.attributes.map((each) => Buffer.from(each.toSchema().toBER())) ?? []
    expect(encoded).toHaveLength(4)
    expect(encoded).toEqual(encoded.toSorted((a, b) => a.compare(b)))
  })

  it('has NULL parameters for RSA (RFC 4055, 5)', async () => {
    const [info] = openSignedData((await written('RS256')).bytes).signerInfos
    expect(info?.signatureAlgorithm.algorithmParams).toBeInstanceOf(Null)
  })

  it('has the integers of an ECDSA signature without superfluous leading zeros', async () => {
    const { signer } = await written('ES256')
    const raw = new Uint8Array(64)
    raw.set([1], 31)
    raw.set([0x80], 63)
    const bytes = await signDetached({ ...signer, sign: async () => raw }, letter)
    expect(Buffer.from(bytes).toString('hex')).toMatch(/0409300702010102020080$/)
  })
})

describe('a signature by a card', () => {
  it('whose certificate object has padding refers to the certificate without it', async () => {
    const person = await issue({ name: 'Ada', issuer: ca })
    const signer = softwareSigner(person, 'ES256', [ca.der])
    const padded = { ...signer, certificate: Uint8Array.of(...person.der, 0, 0) }
    const signature = await signDetached(padded, letter)
    verifyWithOpenssl(signature, letter, '-cades')
    expect(await verifyDetached(signature, letter, { trust })).toMatchObject({ valid: true })
  })

  it('with an invalid signing time is refused before the card is used', async () => {
    const signer = softwareSigner(await issue({ name: 'Ada', issuer: ca }), 'ES256')
    const sign = vi.spyOn(signer, 'sign')
    await expect(signDetached(signer, letter, { signingTime: new Date('soon') })).rejects.toMatchObject({
      code: 'documents/wrong-argument',
      message: expect.stringContaining('`signingTime`') as string,
    })
    expect(sign).not.toHaveBeenCalled()
  })
})

describe('a document from any source', () => {
  it('has the same digest as an array, Blob, iterable of uneven pieces or stream', async () => {
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
    verifyWithOpenssl(empty, new Uint8Array(0))
  })
})
