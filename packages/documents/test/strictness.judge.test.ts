/** What makes a signature none: what `openssl cms -verify -cades` refuses is refused here, and a bit more. */
import { notChecked, verifyDetached } from '@webtoki/documents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../simulator/test/bus/line-program.ts'
import { der, type Issued, issue } from '../../trust/test/pki.ts'
import { attribute, type Forgery, forge, naming, oid, sha, usualAttributes } from './forge.ts'
import { Workshop } from './openssl.ts'

const missing = whatIsMissing(['openssl'])
if (missing !== undefined) console.warn(`Strictness is not judged: ${missing}.`)

const workshop = new Workshop()
afterAll(() => workshop.remove())

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
const accepts = (file: Uint8Array): boolean => workshop.acceptsCades(file, letter, root.der)
const withAttributes = (change: Record<string, Uint8Array>): readonly Uint8Array[] =>
  Object.values({ ...usual, ...change }).filter((each) => each.length > 0)

/** In place of an attribute: it is absent. */
const none = new Uint8Array()
/** Of an indefinite length. */
const open = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from([tag, 0x80, ...parts.flatMap((part) => [...part]), 0, 0])
/** The same attributes with lengths of BER. */
const inBer = (attributes: readonly Uint8Array[]): Uint8Array => open(0x31, ...attributes).subarray(1)

describe.skipIf(missing !== undefined)('a signature is told false or open, as OpenSSL refuses it,', () => {
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
      'if messageDigest is an unsigned attribute too',
      'FORMAT_FAILURE',
      () => ({
        attributes: withAttributes({}),
        unsigned: [attribute('messageDigest', der(0x04, sha('sha256', letter)))],
      }),
    ],
    [
      'if the certificate is named by a wrong SHA-1',
      'NO_SIGNING_CERTIFICATE_FOUND',
      () => ({
        attributes: withAttributes({
          certificate: attribute('signingCertificate', naming(sha('sha1', other))),
        }),
      }),
    ],
    [
      'if one of two attributes names another certificate',
      'NO_SIGNING_CERTIFICATE_FOUND',
      () => ({
        attributes: withAttributes({
          byShaOne: attribute('signingCertificate', naming(sha('sha1', other))),
        }),
      }),
    ],
    [
      'if attributes in BER were signed as they stand',
      'SIG_CRYPTO_FAILURE',
      () => {
        const attributes = withAttributes({})
        const written = inBer(attributes)
        return { attributes, written, signed: Uint8Array.of(0x31, ...written) }
      },
    ],
    [
      'if another document is in the file, and is the one that was signed',
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
      'if attributes stand in BER and their DER was signed (RFC 5652, 5.4)',
      () => {
        const attributes = withAttributes({})
        return { attributes, written: inBer(attributes) }
      },
    ],
    [
      'if its attributes were signed in another order than that of DER, as they stand',
      () => ({ attributes: withAttributes({}).toReversed() }),
    ],
    [
      'if the certificate is named by SHA-1',
      () => ({
        attributes: withAttributes({
          certificate: attribute('signingCertificate', naming(sha('sha1', person.der))),
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
    ['if the same document is in the file', () => ({ attributes: withAttributes({}), eContent: letter })],
  ]

  it.each(cases)('%s', async (_what, make) => {
    const file = await forge(person, make())
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({ valid: true, signers: [{ level: 'CAdES-B-B' }] })
  })

  it('and says if the certificate is named by SHA-1 alone', async () => {
    const certificate = attribute('signingCertificate', naming(sha('sha1', person.der)))
    const { signers } = await verify(await forge(person, { attributes: withAttributes({ certificate }) }))
    expect(signers[0]?.warnings).toEqual(['certificate-named-by-sha-1'])
  })
})

describe.skipIf(missing !== undefined)('what OpenSSL takes is refused here', () => {
  it('if another document is in the file than the one that was signed and given', async () => {
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
  ] as const)('if %s names another type of content than %s (RFC 5652, 11.1)', async (_one, _other, make) => {
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

  it('if the document is the list of attributes that was signed for another one', async () => {
    const attributes = withAttributes({})
    const list = der(0x31, ...attributes)
    const file = await forge(person, { attributes: [], signed: list })
    expect(workshop.accepts(file, list)).toBe(true)
    expect(await verify(file, list)).toMatchObject({
      valid: false,
      signers: [{ indication: 'INDETERMINATE', problems: [{ reason: 'attributes-as-document' }] }],
    })
  })

  it('if a certification authority signed a document', async () => {
    const ca = await issue({ name: 'CA', issuer: root, isCa: true, keyUsage: 0x86 })
    const file = await forge(ca, { attributes: Object.values(usualAttributes(letter, ca.der)) })
    expect(accepts(file)).toBe(true)
    expect(await verify(file)).toMatchObject({
      valid: false,
      signers: [{ use: 'authority', subIndication: 'CHAIN_CONSTRAINTS_FAILURE' }],
    })
  })
})

it('a file whose lengths lie is damaged or false at each length, and never passes', async () => {
  const file = await forge(person, { attributes: withAttributes({}) })
  /** Where each element's length stands, down to the innermost. */
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
      const said = await verify(lying).then(
        ({ valid }) => valid,
        (error: { reason: string }) => error.reason,
      )
      expect([false, 'malformed', 'no-signer', 'not-signed-data']).toContain(said)
    }
  }
})
