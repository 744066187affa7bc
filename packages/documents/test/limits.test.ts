import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { notChecked, signDetached, trustedBy, verifyDetached } from '@webtoki/documents'
import type { Signer } from '@webtoki/trust'
import { type BaseBlock, type Constructed, fromBER, ObjectIdentifier, type Sequence } from 'asn1js'
import { Attribute, Certificate } from 'pkijs'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { der, type Issued, issue, reissue, softwareSigner, text } from '../../trust/test/pki.ts'
import { fileOf } from './many-signers.ts'
import { closeSignedData, openSignedData, resign } from './resign.ts'
import cases from './vectors/constraints.json' with { type: 'json' }

const letter = new TextEncoder().encode('Dear reader,\n')
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))
const parse = (bytes: Uint8Array): BaseBlock => fromBER(bytes, { maxNodes: 100_000 }).result

let root: Issued
let person: Issued
let file: Uint8Array
beforeAll(async () => {
  root = await issue({ name: 'Root', isCa: true })
  person = await issue({ name: 'Ada Lovelace', issuer: root })
  file = await signDetached(softwareSigner(person, 'ES256'), letter)
})
afterEach(() => {
  vi.restoreAllMocks()
})

/** Returns the file with changed fields of its SignedData or its first SignerInfo. */
function changed(change: (fields: BaseBlock[], signer: BaseBlock[]) => void): Uint8Array {
  const whole = parse(file) as Sequence
  const [signedData] = (whole.valueBlock.value[1] as Constructed).valueBlock.value as [Sequence]
  const fields = signedData.valueBlock.value
  const [info] = (fields.at(-1) as Constructed).valueBlock.value as [Sequence]
  change(fields, info.valueBlock.value)
  return new Uint8Array(whole.toBER())
}

const verify = (signature: Uint8Array) => verifyDetached(signature, letter, { trust: trustedBy([root.der]) })

describe('a file of many signers and certificates', () => {
  it('of 80 and 50 is valid, and each certificate is parsed, verified and imported once', async () => {
    const many = await fileOf(80, 50, letter)
    const trust = vi.fn<ReturnType<typeof trustedBy>>(trustedBy([many.root.der]))
    const reads = vi.spyOn(Certificate.prototype, 'fromSchema')
    const imports = vi.spyOn(crypto.subtle, 'importKey')
    const verifications = vi.spyOn(crypto.subtle, 'verify')
    const found = await verifyDetached(many.file, letter, { trust })
    expect(found.valid).toBe(true)
    expect(found.signers.length).toBe(80)
    expect(trust.mock.calls.length).toBe(many.people.length)
    // 49 people, the CA and the root: 51 keys, and 50 certificate signatures in addition to the 80 of the file.
    expect(reads.mock.calls.length).toBeLessThanOrEqual(51)
    expect(imports.mock.calls.length).toBe(51)
    expect(verifications.mock.calls.length).toBe(80 + 50)
  })

  it('lets the event loop run between signers', async () => {
    const many = await fileOf(40, 3, letter)
    let now = 0
    // The clock advances by ten milliseconds at each reading.
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 10))
    const turns = vi.spyOn(globalThis, 'setImmediate')
    await verifyDetached(many.file, letter, { trust: notChecked, at: new Date(0) })
    expect(turns.mock.calls.length).toBeGreaterThanOrEqual(80)
  })

  it('of 100 signers is valid', async () => {
    const many = await fileOf(100, 3, letter)
    expect((await verifyDetached(many.file, letter, { trust: trustedBy([many.root.der]) })).valid).toBe(true)
  })

  it('of more than 200 signers or certificates is too complex', async () => {
    const signed = openSignedData(file)
    const [info] = signed.signerInfos
    const [certificate] = signed.certificates ?? []
    if (info === undefined || certificate === undefined)
      throw new Error('The file has no signer or no certificate.')
    signed.signerInfos = Array.from({ length: 200 }, () => info)
    signed.certificates = Array.from({ length: 200 }, () => certificate)
    expect((await verify(closeSignedData(signed))).valid).toBe(true)
    signed.signerInfos.push(info)
    await expect(verify(closeSignedData(signed))).rejects.toMatchObject({ reason: 'too-complex' })
    signed.signerInfos.pop()
    signed.certificates.push(certificate)
    await expect(verify(closeSignedData(signed))).rejects.toMatchObject({ reason: 'too-complex' })
  })
})

describe('a large file', () => {
  /** A revocation list with `revoked` entries. It is not verified, so its signature is empty. */
  const listOf = (revoked: number): Uint8Array => {
    const entry = der(0x30, der(0x02, [1]), der(0x17, text('260101000000Z')))
    return der(0x30, der(0x30, ...Array.from({ length: revoked }, () => entry)), der(0x03, [0]))
  }

  it('with a revocation list of thousands of entries is valid', async () => {
    const list = parse(der(0xa1, listOf(3300)))
    expect((await verify(changed((fields) => fields.splice(-1, 0, list)))).valid).toBe(true)
  })

  it('recorded with a revocation list of 3300 entries is valid', async () => {
    const many = new Uint8Array(gunzipSync(bytesOf(cases.manyGzip)))
    expect(many.length).toBe(72_584)
    const trust = trustedBy([bytesOf(cases.root)])
    const at = new Date('2026-12-01T12:00:00Z')
    expect(await verifyDetached(many, bytesOf(cases.document), { trust, at })).toMatchObject({ valid: true })
    const damaged = many.subarray(0, -1)
    await expect(verifyDetached(damaged, bytesOf(cases.document), { trust, at })).rejects.toMatchObject({
      reason: 'malformed',
    })
  })

  it('with 15,000 values of an unsigned attribute is valid', async () => {
    const unsigned = parse(
      der(0xa1, der(0x30, der(0x06, [0x2a, 3]), der(0x31, ...Array.from({ length: 15_000 }, () => [5, 0])))),
    )
    expect((await verify(changed((_fields, signer) => signer.push(unsigned)))).valid).toBe(true)
  })

  it('with thousands of elements in a signed attribute is parsed', async () => {
    const nulls = Array.from({ length: 12_000 }, () => [5, 0])
    const attribute = parse(der(0x30, der(0x06, [0x2a, 3]), der(0x31, der(0x30, ...nulls))))
    const odd = changed((_fields, signer) => (signer[3] as Constructed).valueBlock.value.push(attribute))
    expect(await verify(odd)).toMatchObject({ valid: false, signers: [{ signatureValid: false }] })
  })

  it('with thousands of signed attributes, or of values of one, is parsed', async () => {
    const value = (count: number) => der(0x31, ...Array.from({ length: count }, () => [5, 0]))
    const attribute = (count: number) => parse(der(0x30, der(0x06, [0x2a, 3]), value(count)))
    const many = Array.from({ length: 4000 }, () => attribute(1))
    for (const attributes of [many, [attribute(20_000)]]) {
      const odd = changed((_fields, signer) =>
        (signer[3] as Constructed).valueBlock.value.push(...attributes),
      )
      expect(await verify(odd)).toMatchObject({
        signers: [{ digestMatches: true, subIndication: 'SIG_CRYPTO_FAILURE' }],
      })
    }
  })

  it('with more than 1 MiB of signed attributes is too complex, and the error names the limit', async () => {
    const filler = parse(der(0x30, der(0x06, [0x2a, 3]), der(0x31, der(0x04, new Uint8Array(60_000)))))
    const odd = changed((_fields, signer) => {
      const attributes = (signer[3] as Constructed).valueBlock.value
      while (attributes.length < 24) attributes.push(filler)
    })
    const refused = { reason: 'too-complex', limit: '1 MiB of signed attributes' }
    await expect(verify(odd)).rejects.toMatchObject(refused)
    await expect(verify(odd)).rejects.toThrow('1 MiB of signed attributes')
  })

  it('of more than 16 MiB is too complex, and of 16 MiB is parsed', async () => {
    const long = new Uint8Array(16 * 1024 * 1024 + 1)
    await expect(verify(long)).rejects.toMatchObject({ reason: 'too-complex' })
    await expect(verify(long.subarray(1))).rejects.toMatchObject({ reason: 'malformed' })
  })

  it('of elements that begin and do not end is malformed', async () => {
    const open = new Uint8Array(400_000).map((_, at) => (at % 2 === 0 ? 0x30 : 0x80))
    await expect(verify(open)).rejects.toMatchObject({ reason: 'malformed' })
    await expect(verify(open.subarray(0, 1000))).rejects.toMatchObject({ reason: 'malformed' })
  })

  it('with more than 1 MiB of certificates is too complex', async () => {
    const filler = parse(der(0x30, der(0x04, new Uint8Array(60_000))))
    const odd = changed((fields) => {
      const certificates = (fields.at(-2) as Constructed).valueBlock.value
      while (certificates.length < 20) certificates.push(filler)
    })
    await expect(verify(odd)).rejects.toMatchObject({ reason: 'too-complex' })
  })
})

describe('a file that is overwritten', () => {
  it('during verification is verified as it was at the call', async () => {
    const own = new Uint8Array(file)
    const found = verify(own)
    own.fill(0)
    expect((await found).valid).toBe(true)
  })
})

describe('a file in BER', () => {
  it('with indefinite lengths outside its signed parts is valid', async () => {
    const whole = parse(file) as Sequence
    const [type, content] = whole.valueBlock.value as [ObjectIdentifier, Constructed]
    const [signedData] = content.valueBlock.value as [Sequence]
    const encoded = (block: BaseBlock): Uint8Array => new Uint8Array(block.toBER())
    const open = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array =>
      Uint8Array.from([tag, 0x80, ...parts.flatMap((part) => [...part]), 0, 0])
    const fields = signedData.valueBlock.value.map((field, at) => {
      const children = (field as Constructed).valueBlock.value
      return at < 2 ? encoded(field) : open(encoded(field)[0] ?? 0, ...children.map(encoded))
    })
    const odd = open(0x30, encoded(type), open(0xa0, open(0x30, ...fields)))
    expect((await verify(odd)).valid).toBe(true)
    for (let end = 0; end < odd.length; end += 7)
      await expect(verify(odd.subarray(0, end))).rejects.toMatchObject({ reason: 'malformed' })
  })
})

describe('a signing time', () => {
  const signingTime = '1.2.840.113549.1.9.5'
  const withTime = (time: Uint8Array): Promise<Uint8Array> =>
    resign(file, person, (attributes) => [
      ...attributes.filter(({ type }) => type !== signingTime),
      new Attribute({ type: signingTime, values: [parse(time)] }),
    ])

  it.each([
    ['UTCTime', der(0x17, text('261124120000Z')), '2026-11-24T12:00:00.000Z'],
    ['GeneralizedTime', der(0x18, text('20261124120000Z')), '2026-11-24T12:00:00.000Z'],
    ['GeneralizedTime of 2050', der(0x18, text('20500101000000Z')), '2050-01-01T00:00:00.000Z'],
  ])('as %s is reported', async (_what, time, expected) => {
    const found = await verify(await withTime(time))
    expect(found.valid).toBe(true)
    expect(found.signers[0]?.signingTime?.toISOString()).toBe(expected)
  })

  it.each([
    ['that is not a time', der(0x17, text('notatime'))],
    ['of month 13', der(0x17, text('261301120000Z'))],
    ['of the 31st of April', der(0x17, text('260431120000Z'))],
    ['without seconds', der(0x17, text('2611241200Z'))],
    ['with an offset', der(0x17, text('261124120000+0100'))],
    ['with a fraction', der(0x18, text('20261124120000.5Z'))],
    ['of local time', der(0x18, text('20261124120000'))],
    ['in a UTF8String', der(0x0c, text('261124120000Z'))],
    ['in a SEQUENCE', der(0x30, der(0x17, text('261124120000Z')))],
    ['that is NULL', der(0x05)],
  ])('%s makes the signature malformed', async (_what, time) => {
    expect(await verify(await withTime(time))).toMatchObject({
      valid: false,
      signers: [{ indication: 'TOTAL-FAILED', subIndication: 'FORMAT_FAILURE' }],
    })
  })
})

describe('a signer’s certificate', () => {
  const times = (from: string): Uint8Array =>
    der(0x30, der(0x17, text(from)), der(0x17, text('360101000000Z')))

  it('whose times are malformed is ignored', async () => {
    for (const from of ['2612150000Z', '261301000000Z']) {
      const odd = await reissue(person, root, { validity: times(from) })
      const certificate = new Certificate({ schema: fromBER(odd.der).result })
      const signed = openSignedData(file)
      signed.certificates = [certificate]
      for (const trust of [trustedBy([root.der]), notChecked] as const)
        expect(await verifyDetached(closeSignedData(signed), letter, { trust })).toMatchObject({
          valid: false,
          signers: [{ indication: 'INDETERMINATE', subIndication: 'NO_SIGNING_CERTIFICATE_FOUND' }],
        })
      // In addition to the valid certificate of the signer it has no effect.
      signed.certificates.push(...(openSignedData(file).certificates ?? []))
      const [, own] = signed.certificates
      signed.certificates = own === undefined ? [] : [own]
      expect((await verify(closeSignedData(signed))).valid).toBe(true)
    }
  })

  it.each([1, 2, 4])(
    'with RSA exponent %i makes no signature valid, even if it is trusted',
    async (exponent) => {
      const modulus = new Uint8Array(256).fill(0xff)
      const key = der(0x30, der(0x02, [0], modulus), der(0x02, [exponent]))
      const algorithm = der(0x30, [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0])
      const forged = await reissue(person, root, { publicKeyInfo: der(0x30, algorithm, der(0x03, [0], key)) })
      const signer: Signer = {
        certificate: forged.der,
        chain: [],
        algorithm: 'RS256',
        sign: async (bytes) => {
          const sha256 = [0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0]
          const info = der(0x30, sha256, der(0x04, createHash('sha256').update(bytes).digest()))
          return Uint8Array.of(0, 1, ...new Uint8Array(253 - info.length).fill(0xff), 0, ...info)
        },
      }
      const signature = await signDetached(signer, letter)
      const found = await verifyDetached(signature, letter, { trust: notChecked })
      expect(found).toMatchObject({
        valid: false,
        signers: [
          {
            signatureValid: undefined,
            digestMatches: true,
            subIndication: 'CRYPTO_CONSTRAINTS_FAILURE',
            problems: [{ reason: 'weak-key' }],
          },
        ],
      })
      expect(await verify(signature)).toMatchObject({ valid: false, signers: [{ trust: 'untrusted' }] })
    },
  )

  it('outside the name constraints of its CA is untrusted, even if they are not critical', async () => {
    const at = new Date('2026-12-01T12:00:00Z')
    const trust = trustedBy([bytesOf(cases.root)])
    const of = (name: 'small' | 'nameConstraints') =>
      verifyDetached(bytesOf(cases[name]), bytesOf(cases.document), { trust, at })
    expect((await of('small')).valid).toBe(true)
    expect(await of('nameConstraints')).toMatchObject({
      valid: false,
      signers: [{ signatureValid: true, trust: 'untrusted', trustError: { reason: 'name-constraints' } }],
    })
  })
})
