/** Malformed signatures: everything that `openssl cms -verify -cades` refuses is refused, and some more. */
import { notChecked, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { der, type Issued, issue } from '../../trust/test/pki.ts'
import { attribute, type Forgery, forge, certificateReference, oid, sha, usualAttributes } from './forge.ts'
import { OpenSsl } from './openssl.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Strictness is not compared with OpenSSL: ${missing}.`)

const openssl = new OpenSsl()
afterAll(() => openssl.remove())

const letter = new TextEncoder().encode('Dear reader,\n')
const other = new TextEncoder().encode('Dear other,\n')

let root: Issued
let person: Issued
let usual: Record<string, Uint8Array>
beforeAll(async () => {
  root = await issue({ name: 'Root', isCa: true })
  person = await issue({ name: 'Ada', issuer: root })
  usual = usualAttributes(letter, person.der)
})

const verify = (file: Uint8Array, document: Uint8Array = letter) =>
  verifyDetached(file, document, { trust: notChecked })
const accepts = (file: Uint8Array): boolean => openssl.acceptsCades(file, letter, root.der)
const withAttributes = (change: Record<string, Uint8Array>): readonly Uint8Array[] =>
  Object.values({ ...usual, ...change }).filter((each) => each.length > 0)

/** Placeholder for an absent attribute. */
const none = new Uint8Array()
/** An element of indefinite length. */
const open = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from([tag, 0x80, ...parts.flatMap((part) => [...part]), 0, 0])
/** The attributes with an indefinite length. */
const inBer = (attributes: readonly Uint8Array[]): Uint8Array => open(0x31, ...attributes).subarray(1)

describe.skipIf(missing !== undefined)('a signature that OpenSSL refuses is refused', () => {
  const cases: readonly (readonly [what: string, subIndication: string, make: () => Forgery])[] = [
    [
      'if messageDigest is a BIT STRING',
      'FORMAT_FAILURE',
      () => {
        const messageDigest = attribute('messageDigest', der(0x03, [0], sha('sha256', letter)))
        return { attributes: withAttributes({ messageDigest }) }
      },
    ],
    [
      'if there is no messageDigest',
      'FORMAT_FAILURE',
      () => ({ attributes: withAttributes({ messageDigest: none }) }),
    ],
    [
      'if messageDigest is an unsigned attribute',
      'FORMAT_FAILURE',
      () => ({
        attributes: withAttributes({ messageDigest: none }),
        unsigned: [attribute('messageDigest', der(0x04, sha('sha256', letter)))],
      }),
    ],
    [
      'if messageDigest is also an unsigned attribute',
      'FORMAT_FAILURE',
      () => ({
        attributes: withAttributes({}),
        unsigned: [attribute('messageDigest', der(0x04, sha('sha256', letter)))],
      }),
    ],
    [
      'if the SHA-1 of the certificate reference is wrong',
      'NO_SIGNING_CERTIFICATE_FOUND',
      () => ({
        attributes: withAttributes({
          certificate: attribute('signingCertificate', certificateReference(sha('sha1', other))),
        }),
      }),
    ],
    [
      'if one of two attributes identifies another certificate',
      'NO_SIGNING_CERTIFICATE_FOUND',
      () => ({
        attributes: withAttributes({
          byShaOne: attribute('signingCertificate', certificateReference(sha('sha1', other))),
        }),
      }),
    ],
    [
      'if the BER encoding of attributes was signed',
      'SIG_CRYPTO_FAILURE',
      () => {
        const attributes = withAttributes({})
        const written = inBer(attributes)
        return { attributes, written, signed: Uint8Array.of(0x31, ...written) }
      },
    ],
    [
      'if the file contains another document, which is the signed one',
      'HASH_FAILURE',
      () => ({ attributes: Object.values(usualAttributes(other, person.der)), eContent: other }),
    ],
  ]

  it.each(cases)('%s: %s', async (_what, subIndication, make) => {
    const good = await forge(person, { attributes: withAttributes({}) })
    expect(accepts(good)).toBe(true)
    expect(await verify(good)).toMatchObject({ valid: true })
    const bad = await forge(person, make())
    expect(accepts(bad)).toBe(false)
    expect(await verify(bad)).toMatchObject({ valid: false, signers: [{ subIndication }] })
  })
})

describe.skipIf(missing !== undefined)('a signature that OpenSSL accepts passes', () => {
  const cases: readonly (readonly [what: string, make: () => Forgery])[] = [
    [
      'if the file has attributes in BER and their DER was signed (RFC 5652, 5.4)',
      () => {
        const attributes = withAttributes({})
        return { attributes, written: inBer(attributes) }
      },
    ],
    [
      'if its attributes were signed in the order of the file, which is not that of DER',
      () => ({ attributes: withAttributes({}).toReversed() }),
    ],
    [
      'if the certificate reference is by SHA-1',
      () => ({
        attributes: withAttributes({
          certificate: attribute('signingCertificate', certificateReference(sha('sha1', person.der))),
        }),
      }),
    ],
    [
      'if a signed attribute has a value of more than 64 KiB',
      () => {
        const reference = der(0x30, der(0x30, der(0x04, sha('sha256', person.der))))
        const policies = der(0x30, ...Array.from({ length: 6000 }, () => der(0x30, oid('sha256'))))
        const certificate = attribute('signingCertificateV2', der(0x30, reference, policies))
        return { attributes: withAttributes({ certificate }) }
      },
    ],
    ['if the file contains the same document', () => ({ attributes: withAttributes({}), eContent: letter })],
  ]

  it.each(cases)('%s', async (_what, make) => {
    const file = await forge(person, make())
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({ valid: true, signers: [{ level: 'CAdES-B-B' }] })
  })

  it('with a warning if the only certificate reference is by SHA-1', async () => {
    const certificate = attribute('signingCertificate', certificateReference(sha('sha1', person.der)))
    const { signers } = await verify(await forge(person, { attributes: withAttributes({ certificate }) }))
    expect(signers[0]?.warnings).toEqual(['certificate-named-by-sha-1'])
  })
})

describe.skipIf(missing !== undefined)('a signature that OpenSSL accepts is refused', () => {
  it('if the file contains another document than the one that was signed and passed', async () => {
    const file = await forge(person, { attributes: withAttributes({}), eContent: other })
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({
      valid: false,
      signers: [{ subIndication: 'HASH_FAILURE', problems: [{ reason: 'other-embedded-document' }] }],
    })
  })

  it.each([
    ['the file', 'the signer', () => ({ eContentType: oid('signedData') })],
    ['the signer', 'the file', () => ({ contentType: attribute('contentType', oid('signedData')) })],
  ] as const)('if %s states another content type than %s (RFC 5652, 11.1)', async (_one, _other, make) => {
    const { contentType = usual['contentType'], ...rest } = make() as {
      contentType?: Uint8Array
      eContentType?: Uint8Array
    }
    const file = await forge(person, {
      attributes: withAttributes({ contentType: contentType ?? none }),
      ...rest,
    })
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({ valid: false, signers: [{ subIndication: 'FORMAT_FAILURE' }] })
  })

  it('if bytes follow the signature', async () => {
    const file = await forge(person, { attributes: withAttributes({}) })
    const longer = Uint8Array.of(...file, 0, 0)
    expect(accepts(longer)).toBe(true)
    await expect(verify(longer)).rejects.toMatchObject({ reason: 'malformed' })
  })

  it('if the document is the SET of signed attributes of another document', async () => {
    const attributes = withAttributes({})
    const list = der(0x31, ...attributes)
    const file = await forge(person, { attributes: [], signed: list })
    expect(openssl.accepts(file, list)).toBe(true)
    expect(await verify(file, list)).toMatchObject({
      valid: false,
      signers: [{ indication: 'INDETERMINATE', problems: [{ reason: 'attributes-as-document' }] }],
    })
  })

  it('if a certification authority signed the document', async () => {
    const ca = await issue({ name: 'CA', issuer: root, isCa: true, keyUsage: 0x86 })
    const file = await forge(ca, { attributes: Object.values(usualAttributes(letter, ca.der)) })
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({
      valid: false,
      signers: [{ use: 'authority', subIndication: 'CHAIN_CONSTRAINTS_FAILURE' }],
    })
  })
})

it('a file with any length field changed by one is malformed or invalid', async () => {
  const file = await forge(person, { attributes: withAttributes({}) })
  /** The offset of the length of each element at every depth. */
  const lengths: number[] = []
  const walk = (from: number, to: number): void => {
    for (let at = from; at < to; ) {
      lengths.push(at + 1)
      const first = file[at + 1] as number
      const count = first > 0x80 ? first & 0x7f : 0
      const length =
        count === 0 ? first : file.subarray(at + 2, at + 2 + count).reduce((sum, byte) => sum * 256 + byte, 0)
      const start = at + 2 + count
      if (((file[at] as number) & 0x20) !== 0) walk(start, start + length)
      at = start + length
    }
  }
  walk(0, file.length)
  expect(lengths.length).toBeGreaterThan(50)
  for (const at of lengths) {
    for (const step of [-1, 1]) {
      const lying = file.slice()
      // The last byte of the length.
      const place = at + ((file[at] as number) > 0x80 ? (file[at] as number) & 0x7f : 0)
      lying[place] = (lying[place] as number) + step
      const result = await verify(lying).then(
        ({ valid }) => valid,
        (error: { reason: string }) => error.reason,
      )
      expect([false, 'malformed', 'no-signer', 'not-signed-data']).toContain(result)
    }
  }
})
