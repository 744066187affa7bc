/** The result of each signature: passed, failed or indeterminate. */
import {
  signDetached,
  notChecked,
  type SignatureProblemReason,
  trustedBy,
  verifyDetached,
} from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { type Issued, issue, issueChain, softwareSigner } from '../../trust/test/pki.ts'
import { attribute, forge, oid, usualAttributes } from './forge.ts'
import { OpenSsl } from './openssl.ts'
import { closeSignedData, openSignedData, resign } from './resign.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Results are not compared with OpenSSL: ${missing}.`)

const openssl = new OpenSsl()
afterAll(() => openssl.remove())

const letter = new TextEncoder().encode('Dear reader,\n')
const other = new TextEncoder().encode('Dear other,\n')
const verify = (file: Uint8Array, document: Parameters<typeof verifyDetached>[1] = letter) =>
  verifyDetached(file, document, { trust: notChecked })

/** Merges several files into one. */
function merged(...files: readonly Uint8Array[]): Uint8Array {
  const [first, ...more] = files.map(openSignedData)
  if (first === undefined) throw new Error('There is no file.')
  for (const each of more) {
    first.signerInfos.push(...each.signerInfos)
    first.digestAlgorithms.push(...each.digestAlgorithms)
    first.certificates = [...(first.certificates ?? []), ...(each.certificates ?? [])]
  }
  return closeSignedData(first)
}

describe.skipIf(missing !== undefined)('a signature without signed attributes', () => {
  const keys = [
    ['RSA', ['-newkey', 'rsa:2048']],
    ['ECDSA', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
  ] as const

  it.each(keys)('with %s passes for its document and fails for another, as in OpenSSL', async (name, key) => {
    openssl.person(name, key)
    const file = openssl.sign(name, letter, '-md', 'sha256', '-noattr')
    const sources = [letter, new Blob([letter]), new Blob([letter]).stream()]
    for (const source of sources) {
      expect(await verify(file, source)).toMatchObject({
        valid: true,
        signers: [{ indication: 'TOTAL-PASSED', digestMatches: true, signatureValid: true, level: 'CMS' }],
      })
    }
    expect([openssl.accepts(file, letter), openssl.accepts(file, other)]).toEqual([true, false])
    expect(await verify(file, other)).toMatchObject({
      valid: false,
      signers: [{ indication: 'TOTAL-FAILED', subIndication: 'SIG_CRYPTO_FAILURE', signatureValid: false }],
    })
  })

  it('for an empty document passes', async () => {
    const empty = new Uint8Array(0)
    openssl.person('empty')
    const file = openssl.sign('empty', empty, '-md', 'sha256', '-noattr')
    expect(await verify(file, new Blob([]))).toMatchObject({ valid: true })
  })

  it('for a document of more than 64 MiB is INDETERMINATE', async () => {
    openssl.person('long')
    const file = openssl.sign('long', letter, '-md', 'sha256', '-noattr')
    const piece = new Uint8Array(1024 * 1024)
    async function* long(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 65; count++) yield piece
    }
    expect(await verify(file, long())).toMatchObject({
      valid: false,
      signers: [{ indication: 'INDETERMINATE', problems: [{ reason: 'document-too-large' }] }],
    })
  })
})

describe.skipIf(missing !== undefined)(
  'a valid signature with an unsupported algorithm or content is not TOTAL-FAILED:',
  () => {
    const curve = (name: string) => ['-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${name}`]
    const pss = ['-newkey', 'rsa-pss', '-pkeyopt', 'rsa_keygen_bits:2048']
    const cases: readonly (readonly [what: string, key: readonly string[], options: readonly string[]])[] = [
      ['the curve brainpoolP256r1', curve('brainpoolP256r1'), ['-md', 'sha256']],
      ['the curve brainpoolP512r1', curve('brainpoolP512r1'), ['-md', 'sha512']],
      ['the curve secp256k1', curve('secp256k1'), ['-md', 'sha256']],
      ['a key of id-RSASSA-PSS', pss, ['-md', 'sha256', '-keyopt', 'rsa_pss_saltlen:32']],
      ['the hash SHA3-256', ['-newkey', 'rsa:2048'], ['-md', 'sha3-256']],
      ['another type of content', ['-newkey', 'rsa:2048'], ['-md', 'sha256', '-econtent_type', '1.2.3.4']],
    ]

    it.each(cases)('%s', async (what, key, options) => {
      openssl.person(what, key, '/CN=Ada')
      const file = openssl.sign(what, letter, ...options)
      expect(openssl.accepts(file, letter)).toBe(true)
      const [signer] = (await verify(file)).signers
      expect(signer?.indication).not.toBe('TOTAL-FAILED')
      expect(signer?.signatureValid).not.toBe(false)
      expect(signer?.digestMatches).not.toBe(false)
      expect(signer?.subject).toBe('Ada')
      if (signer?.indication === 'INDETERMINATE')
        expect(signer.problems.map(({ reason }) => reason)).toEqual([
          options.includes('-econtent_type') ? 'other-content-type' : 'unsupported-algorithm',
        ])
    })

    it.each([
      ['SHA-1', ['-newkey', 'rsa:2048'], 'sha1', 'weak-algorithm'],
      ['MD5', ['-newkey', 'rsa:2048'], 'md5', 'weak-algorithm'],
      ['an RSA key of 1024 bits', ['-newkey', 'rsa:1024'], 'sha256', 'weak-key'],
    ] as const)(
      '%s is reported as weak: INDETERMINATE with signatureValid undefined',
      async (name, key, md, reason) => {
        openssl.person(name, key)
        const file = openssl.sign(name, letter, '-md', md)
        expect(openssl.accepts(file, letter)).toBe(true)
        expect(await verify(file)).toMatchObject({
          valid: false,
          signers: [
            {
              indication: 'INDETERMINATE',
              subIndication: 'CRYPTO_CONSTRAINTS_FAILURE',
              problems: [{ reason }],
              signatureValid: undefined,
            },
          ],
        })
      },
    )
  },
)

describe.skipIf(missing !== undefined)(
  'a wrong signature with a weak key or hash, or a rare hash, is TOTAL-FAILED:',
  () => {
    const rsa = ['-newkey', 'rsa:2048']
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    const pss = ['-keyopt', 'rsa_padding_mode:pss']
    type Case = readonly [string, readonly string[], readonly string[], SignatureProblemReason?]
    const cases: readonly Case[] = [
      ['RSA over SHA-1', rsa, ['-md', 'sha1'], 'weak-algorithm'],
      ['RSA-PSS over SHA-1', rsa, ['-md', 'sha1', ...pss], 'weak-algorithm'],
      ['ECDSA over SHA-1', ec, ['-md', 'sha1'], 'weak-algorithm'],
      ['RSA of 1024 bits', ['-newkey', 'rsa:1024'], ['-md', 'sha256'], 'weak-key'],
      ['ECDSA over SHA-224', ec, ['-md', 'sha224']],
    ]

    it.each(cases)('%s', async (...row) => {
      const [name, key, options, reason] = row as unknown as Case
      openssl.person(name, key)
      const file = openssl.sign(name, letter, ...options)
      const [signer] = (await verify(file)).signers
      expect(signer?.problems.map((each) => each.reason)).toEqual(reason === undefined ? [] : [reason])
      const proves = reason === undefined ? true : undefined
      expect(signer?.signatureValid).toBe(proves)
      expect(await verify(file, other)).toMatchObject({
        signers: [{ indication: 'TOTAL-FAILED', subIndication: 'HASH_FAILURE', digestMatches: false }],
      })
      const broken = file.slice()
      broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1
      expect(openssl.accepts(broken, letter)).toBe(false)
      expect(await verify(broken)).toMatchObject({
        signers: [{ indication: 'TOTAL-FAILED', subIndication: 'SIG_CRYPTO_FAILURE', signatureValid: false }],
      })
    })

    it.each(['sha3-224', 'sha3-256', 'sha3-384', 'sha3-512', 'sha224'])(
      'for a wrong digest by %s, though the signature cannot be verified',
      async (md) => {
        openssl.person(md, rsa)
        const file = openssl.sign(md, letter, '-md', md)
        expect(await verify(file)).toMatchObject({
          signers: [{ indication: 'INDETERMINATE', digestMatches: true, signatureValid: undefined }],
        })
        expect(openssl.accepts(file, other)).toBe(false)
        expect(await verify(file, other)).toMatchObject({
          signers: [{ indication: 'TOTAL-FAILED', subIndication: 'HASH_FAILURE' }],
        })
      },
    )

    it('with the option `digest`, which is not called for SHA-3', async () => {
      openssl.person('rare', rsa)
      const file = openssl.sign('rare', letter, '-md', 'sha3-256')
      const digest = () => expect.fail('The function must not be called for SHA-3.')
      const found = await verifyDetached(file, other, { trust: notChecked, digest })
      expect(found).toMatchObject({ signers: [{ subIndication: 'HASH_FAILURE' }] })
    })
  },
)

describe.skipIf(missing !== undefined)('a problem of one signer does not affect another:', () => {
  let ada: Uint8Array
  beforeAll(() => {
    openssl.person('Ada')
    ada = openssl.sign('Ada', letter, '-md', 'sha256', '-cades')
  })
  const passed = { subject: 'Ada', indication: 'TOTAL-PASSED', signatureValid: true, digestMatches: true }

  it.each([
    ['over SHA-1', ['-md', 'sha1'], 'CRYPTO_CONSTRAINTS_FAILURE'],
    ['whose certificate is missing', ['-md', 'sha256', '-nocerts'], 'NO_SIGNING_CERTIFICATE_FOUND'],
    ['over another type of hash', ['-md', 'sha3-384'], 'CRYPTO_CONSTRAINTS_FAILURE'],
  ] as const)('a valid signer passes with another one %s', async (name, options, subIndication) => {
    openssl.person(name)
    const file = merged(ada, openssl.sign(name, letter, ...options))
    const { valid, signers } = await verify(file)
    expect(valid).toBe(false)
    expect(signers).toHaveLength(2)
    expect(signers).toContainEqual(expect.objectContaining(passed))
    expect(signers).toContainEqual(expect.objectContaining({ subIndication }))
  })

  it('a valid signer passes with another one that cannot be parsed', async () => {
    const broken = await issue({ name: 'Broken' })
    const attributes = Object.values(usualAttributes(letter, broken.der))
    const file = merged(ada, await forge(broken, { attributes: [...attributes, attribute('messageDigest')] }))
    const { signers } = await verify(file)
    expect(signers).toContainEqual(expect.objectContaining(passed))
    expect(signers).toContainEqual(expect.objectContaining({ subIndication: 'FORMAT_FAILURE' }))
  })

  it('a missing certificate is identified by issuer and serial number', async () => {
    openssl.person('Gone', undefined, '/C=EE/CN=Gone')
    const [signer] = (await verify(openssl.sign('Gone', letter, '-md', 'sha256', '-nocerts'))).signers
    const serial = openssl.run('x509', '-in', openssl.path('Gone.pem'), '-noout', '-serial')
    expect(signer).toMatchObject({ issuer: 'C=EE, CN=Gone', certificate: undefined })
    expect(`serial=${signer?.serialNumber.toUpperCase()}`).toContain(serial.trim().replace('serial=', ''))
  })
})

describe('the result for a signature', () => {
  let root: Issued
  let ca: Issued
  let person: Issued
  beforeAll(async () => {
    ;({ root, ca, person } = await issueChain())
  })

  it('has path, issuer, serial number and validity of the signer', async () => {
    const file = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const { signers } = await verifyDetached(file, letter, { trust: trustedBy([root.der]) })
    const serial = Buffer.from(person.certificate.serialNumber.valueBlock.valueHexView).toString('hex')
    expect(signers).toMatchObject([
      {
        indication: 'TOTAL-PASSED',
        subIndication: undefined,
        problems: [],
        path: [person.der, ca.der, root.der],
        issuer: 'C=EE, CN=Issuing CA',
        serialNumber: serial,
        notBefore: person.certificate.notBefore.value,
        notAfter: person.certificate.notAfter.value,
        notChecked: ['revocation'],
        warnings: [],
      },
    ])
  })

  it('has the sub-indication of EN 319 102-1 if the certificate is untrusted', async () => {
    const file = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const at = (moment: string) =>
      verifyDetached(file, letter, { trust: trustedBy([root.der]), at: new Date(moment) })
    const late = { indication: 'INDETERMINATE', subIndication: 'OUT_OF_BOUNDS_NO_POE', path: [] }
    expect(await at('2099-01-01T00:00:00Z')).toMatchObject({ valid: false, signers: [late] })
    const unrelated = await issue({ name: 'Unrelated', isCa: true })
    const unknown = await verifyDetached(file, letter, { trust: trustedBy([unrelated.der]) })
    expect(unknown).toMatchObject({
      signers: [{ indication: 'INDETERMINATE', subIndication: 'NO_CERTIFICATE_CHAIN_FOUND' }],
    })
  })

  it('lists the checks that were not made', async () => {
    const unsigned = (['signatureTimeStamp', 'archiveTimeStamp', 'counterSignature'] as const).map((id) =>
      attribute(id, Uint8Array.of(5, 0)),
    )
    const attributes = [
      ...Object.values(usualAttributes(letter, person.der)),
      attribute('signaturePolicy', oid('data')),
    ]
    const { valid, signers } = await verify(await forge(person, { attributes, unsigned }))
    expect(valid).toBe(true)
    expect(signers[0]?.notChecked.toSorted()).toEqual([
      'archive-time-stamp',
      'counter-signature',
      'revocation',
      'signature-policy',
      'signature-time-stamp',
      'trust',
    ])
  })

  it('has a warning if the certificate was not valid at the claimed signing time', async () => {
    const file = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const { Attribute } = await import('pkijs')
    const { UTCTime } = await import('asn1js')
    const type = '1.2.840.113549.1.9.5'
    const claimed = (time: string) =>
      resign(file, person, (attributes) => [
        ...attributes.filter((each) => each.type !== type),
        new Attribute({ type, values: [new UTCTime({ valueDate: new Date(time) })] }),
      ])
    const warningsAt = async (time: string) => (await verify(await claimed(time))).signers[0]?.warnings
    expect(await warningsAt('2001-01-01T00:00:00Z')).toEqual(['signing-time-outside-validity'])
    expect(await warningsAt('2026-06-01T00:00:00Z')).toEqual([])
  })
})

describe('before the key is used, signDetached refuses', () => {
  it.each([
    ['a time before the certificate is valid', '2001-01-01T00:00:00Z'],
    ['a time after it is valid', '2099-01-01T00:00:00Z'],
  ])('%s, and the error has both times', async (_what, time) => {
    const signer = softwareSigner(await issue({ name: 'Ada' }), 'ES256')
    let signatures = 0
    const counting = { ...signer, sign: (bytes: Uint8Array) => (signatures++, signer.sign(bytes)) }
    const refused = signDetached(counting, letter, { signingTime: new Date(time) })
    await expect(refused).rejects.toMatchObject({ code: 'documents/outside-validity' })
    await expect(refused).rejects.toThrow(time.slice(0, 10))
    expect(signatures).toBe(0)
  })
})
