/** What is said of signatures, each by itself: passed, failed, or not to be told here. */
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
import { Workshop } from './openssl.ts'
import { closeSignedData, openSignedData, resign } from './resign.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Outcomes are not judged: ${missing}.`)

const workshop = new Workshop()
afterAll(() => workshop.remove())

const letter = new TextEncoder().encode('Dear reader,\n')
const other = new TextEncoder().encode('Dear other,\n')
const verify = (file: Uint8Array, document: Parameters<typeof verifyDetached>[1] = letter) =>
  verifyDetached(file, document, { trust: notChecked })

/** One file of several. */
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

  it.each(keys)(
    'by %s passes over its document, and fails over another, as OpenSSL says',
    async (name, key) => {
      workshop.person(name, key)
      const file = workshop.sign(name, letter, '-md', 'sha256', '-noattr')
      const sources = [letter, new Blob([letter]), new Blob([letter]).stream()]
      for (const source of sources) {
        expect(await verify(file, source)).toMatchObject({
          valid: true,
          signers: [{ indication: 'TOTAL-PASSED', digestMatches: true, signatureValid: true, level: 'CMS' }],
        })
      }
      expect([workshop.accepts(file, letter), workshop.accepts(file, other)]).toEqual([true, false])
      expect(await verify(file, other)).toMatchObject({
        valid: false,
        signers: [{ indication: 'TOTAL-FAILED', subIndication: 'SIG_CRYPTO_FAILURE', signatureValid: false }],
      })
    },
  )

  it('of an empty document passes', async () => {
    const empty = new Uint8Array(0)
    workshop.person('empty')
    const file = workshop.sign('empty', empty, '-md', 'sha256', '-noattr')
    expect(await verify(file, new Blob([]))).toMatchObject({ valid: true })
  })

  it('over a document above 64 MiB is told as open, and the document is not kept', async () => {
    workshop.person('long')
    const file = workshop.sign('long', letter, '-md', 'sha256', '-noattr')
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

describe.skipIf(missing !== undefined)('what cannot be verified here is not told as false:', () => {
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
    workshop.person(what, key, '/CN=Ada')
    const file = workshop.sign(what, letter, ...options)
    expect(workshop.accepts(file, letter)).toBe(true)
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
  ] as const)('%s is told as weak, and neither as valid nor as false', async (name, key, md, reason) => {
    workshop.person(name, key)
    const file = workshop.sign(name, letter, '-md', md)
    expect(workshop.accepts(file, letter)).toBe(true)
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
  })
})

describe.skipIf(missing !== undefined)('what is weak or by a rare hash is told as false if it is:', () => {
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
    workshop.person(name, key)
    const file = workshop.sign(name, letter, ...options)
    const [signer] = (await verify(file)).signers
    expect(signer?.problems.map((each) => each.reason)).toEqual(reason === undefined ? [] : [reason])
    const proves = reason === undefined ? true : undefined
    expect(signer?.signatureValid).toBe(proves)
    expect(await verify(file, other)).toMatchObject({
      signers: [{ indication: 'TOTAL-FAILED', subIndication: 'HASH_FAILURE', digestMatches: false }],
    })
    const broken = file.slice()
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1
    expect(workshop.accepts(broken, letter)).toBe(false)
    expect(await verify(broken)).toMatchObject({
      signers: [{ indication: 'TOTAL-FAILED', subIndication: 'SIG_CRYPTO_FAILURE', signatureValid: false }],
    })
  })

  it.each(['sha3-224', 'sha3-256', 'sha3-384', 'sha3-512', 'sha224'])(
    'the digest of a document by %s, of a signature that is not verified here',
    async (md) => {
      workshop.person(md, rsa)
      const file = workshop.sign(md, letter, '-md', md)
      expect(await verify(file)).toMatchObject({
        signers: [{ indication: 'INDETERMINATE', digestMatches: true, signatureValid: undefined }],
      })
      expect(workshop.accepts(file, other)).toBe(false)
      expect(await verify(file, other)).toMatchObject({
        signers: [{ indication: 'TOTAL-FAILED', subIndication: 'HASH_FAILURE' }],
      })
    },
  )

  it('also if the site digests documents elsewhere, which is asked for SHA-2 alone', async () => {
    workshop.person('rare', rsa)
    const file = workshop.sign('rare', letter, '-md', 'sha3-256')
    const digest = () => expect.fail('It may not have this hash.')
    const found = await verifyDetached(file, other, { trust: notChecked, digest })
    expect(found).toMatchObject({ signers: [{ subIndication: 'HASH_FAILURE' }] })
  })
})

describe.skipIf(missing !== undefined)('one signer hides no other:', () => {
  let ada: Uint8Array
  beforeAll(() => {
    workshop.person('Ada')
    ada = workshop.sign('Ada', letter, '-md', 'sha256', '-cades')
  })
  const passed = { subject: 'Ada', indication: 'TOTAL-PASSED', signatureValid: true, digestMatches: true }

  it.each([
    ['over SHA-1', ['-md', 'sha1'], 'CRYPTO_CONSTRAINTS_FAILURE'],
    ['whose certificate is missing', ['-md', 'sha256', '-nocerts'], 'NO_SIGNING_CERTIFICATE_FOUND'],
    ['over another type of hash', ['-md', 'sha3-384'], 'CRYPTO_CONSTRAINTS_FAILURE'],
  ] as const)('beside one %s the good one is still told', async (name, options, subIndication) => {
    workshop.person(name)
    const file = merged(ada, workshop.sign(name, letter, ...options))
    const { valid, signers } = await verify(file)
    expect(valid).toBe(false)
    expect(signers).toHaveLength(2)
    expect(signers).toContainEqual(expect.objectContaining(passed))
    expect(signers).toContainEqual(expect.objectContaining({ subIndication }))
  })

  it('beside one that cannot be read the good one is still told', async () => {
    const broken = await issue({ name: 'Broken' })
    const attributes = Object.values(usualAttributes(letter, broken.der))
    const file = merged(ada, await forge(broken, { attributes: [...attributes, attribute('messageDigest')] }))
    const { signers } = await verify(file)
    expect(signers).toContainEqual(expect.objectContaining(passed))
    expect(signers).toContainEqual(expect.objectContaining({ subIndication: 'FORMAT_FAILURE' }))
  })

  it('a certificate that is missing is named by its issuer and its serial number', async () => {
    workshop.person('Gone', undefined, '/C=EE/CN=Gone')
    const [signer] = (await verify(workshop.sign('Gone', letter, '-md', 'sha256', '-nocerts'))).signers
    const serial = workshop.run('x509', '-in', workshop.path('Gone.pem'), '-noout', '-serial')
    expect(signer).toMatchObject({ issuer: 'C=EE, CN=Gone', certificate: undefined })
    expect(`serial=${signer?.serialNumber.toUpperCase()}`).toContain(serial.trim().replace('serial=', ''))
  })
})

describe('the result of a signature', () => {
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

  it('says why there is no trust in the words of EN 319 102-1', async () => {
    const file = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const at = (moment: string) =>
      verifyDetached(file, letter, { trust: trustedBy([root.der]), at: new Date(moment) })
    const late = { indication: 'INDETERMINATE', subIndication: 'OUT_OF_BOUNDS_NO_POE', path: [] }
    expect(await at('2099-01-01T00:00:00Z')).toMatchObject({ valid: false, signers: [late] })
    const stranger = await issue({ name: 'Stranger', isCa: true })
    const unknown = await verifyDetached(file, letter, { trust: trustedBy([stranger.der]) })
    expect(unknown).toMatchObject({
      signers: [{ indication: 'INDETERMINATE', subIndication: 'NO_CERTIFICATE_CHAIN_FOUND' }],
    })
  })

  it('lists what nobody has looked at', async () => {
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

  it('tells a claimed time at which the certificate was not valid', async () => {
    const file = await signDetached(softwareSigner(person, 'ES256', [ca.der]), letter)
    const { Attribute } = await import('pkijs')
    const { UTCTime } = await import('asn1js')
    const type = '1.2.840.113549.1.9.5'
    const claimed = (time: string) =>
      resign(file, person, (attributes) => [
        ...attributes.filter((each) => each.type !== type),
        new Attribute({ type, values: [new UTCTime({ valueDate: new Date(time) })] }),
      ])
    const said = async (time: string) => (await verify(await claimed(time))).signers[0]?.warnings
    expect(await said('2001-01-01T00:00:00Z')).toEqual(['signing-time-outside-validity'])
    expect(await said('2026-06-01T00:00:00Z')).toEqual([])
  })
})

describe('before the key is used, signing refuses', () => {
  it.each([
    ['a time before the certificate is valid', '2001-01-01T00:00:00Z'],
    ['a time after it', '2099-01-01T00:00:00Z'],
  ])('%s, and says both', async (_what, time) => {
    const signer = softwareSigner(await issue({ name: 'Ada' }), 'ES256')
    let asked = 0
    const counting = { ...signer, sign: (bytes: Uint8Array) => (asked++, signer.sign(bytes)) }
    const refused = signDetached(counting, letter, { signingTime: new Date(time) })
    await expect(refused).rejects.toMatchObject({ code: 'documents/outside-validity' })
    await expect(refused).rejects.toThrow(time.slice(0, 10))
    expect(asked).toBe(0)
  })
})
