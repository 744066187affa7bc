/**
 * Certificates of virtual cards read by `@webtoki/crypto` and by Node; names in every string type; unusual
 * and hostile bytes.
 */
import { X509Certificate } from 'node:crypto'
import { encodeTlv, fromHex, toHex } from '@webtoki/apdu'
import { AttributeType, type CertificateView, holderOf, viewCertificate } from '@webtoki/crypto'
import { createPivCard, demoCa } from '@webtoki/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CKA } from '@webtoki/cryptoki'
import { certificateKey, type CertificateKey } from '../src/certificate.ts'
import { certificateAttributes } from '../src/certificate-attributes.ts'

const slots = ['9A', '9C', '9D', '9E'] as const
const rsaCard = createPivCard()
const certificates: readonly (readonly [name: string, der: Uint8Array])[] = [
  ...slots.map((slot) => [slot, certificateOf(rsaCard, slot)] as const),
  ['9A of the P-256 card', certificateOf(createPivCard({ nineA: 'p256' }), '9A')],
  ['the demo CA', demoCa.certificate],
]
const [, nineA] = certificates[0] ?? expect.fail()
const [, nineC] = certificates[1] ?? expect.fail()

const view = (der: Uint8Array): CertificateView => viewCertificate(der) ?? expect.fail('not read')
const keyOf = (der: Uint8Array): CertificateKey | undefined => certificateKey(view(der).publicKeyInfo)

describe('a certificate has the same fields as in Node', () => {
  it.each(certificates)('%s', (_, der) => {
    const judge = new X509Certificate(der)
    const fields = view(der)
    expect(holderOf(fields)).toBe(/^CN=(.*)$/m.exec(judge.subject)?.[1])
    expect(toHex(fields.serialNumberDer).replace(/^02..(00)?/, '')).toBe(judge.serialNumber.toLowerCase())
    expect(fields.notBefore).toEqual(new Date(judge.validFrom))
    expect(fields.notAfter).toEqual(new Date(judge.validTo))
    expect(toHex(fields.publicKeyInfo)).toBe(
      judge.publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
    )
    expect(fields.extendedKeyUsage).toEqual(judge.keyUsage)
    expect(fields.isAuthority).toBe(judge.ca)
    const key = keyOf(der)
    expect(keyAsJwk(key)).toEqual(judge.publicKey.export({ format: 'jwk' }))
    expect(Number(key?.kind === 'rsa' && key.bits)).toBe(
      judge.publicKey.asymmetricKeyDetails?.modulusLength ?? 0,
    )
  })

  it('issuer of a leaf equals the subject of the CA', () => {
    expect(toHex(view(nineA).issuerDer)).toBe(toHex(view(demoCa.certificate).subjectDer))
    expect(view(nineA).issuer?.key).toBe(view(demoCa.certificate).subject?.key)
  })

  it('key usage is given by name', () => {
    expect(view(nineA).keyUsage).toEqual(['digitalSignature'])
    expect(view(nineC).keyUsage).toEqual(['digitalSignature', 'nonRepudiation'])
    expect(view(demoCa.certificate).keyUsage).toEqual(['keyCertSign', 'cRLSign'])
    expect(view(demoCa.certificate).extendedKeyUsage).toBeUndefined()
  })

  it('is read from a view in the middle of a buffer', () => {
    const buffer = new Uint8Array(nineA.length + 9)
    buffer.set(nineA, 5)
    expect(holderOf(view(buffer.subarray(5, 5 + nineA.length)))).toBe('Ada Lovelace (demo)')
  })
})

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('a common name is shown', () => {
  it.each([
    ['UTF8String', 0x0c, utf8('Ærøskøbing 🦉'), 'Ærøskøbing 🦉'],
    ['PrintableString', 0x13, utf8('Ada'), 'Ada'],
    ['IA5String', 0x16, utf8('ada@example.org'), 'ada@example.org'],
    ['TeletexString', 0x14, fromHex('c5736120d6'), 'Åsa Ö'],
    ['BMPString', 0x1e, fromHex('004100e50431d83edd89'), 'Aåб\u{1f989}'],
    ['UniversalString', 0x1c, fromHex('000000410001f989'), 'A\u{1f989}'],
    [
      'UTF8String with a NUL',
      0x0c,
      utf8('bank.example\0.evil.example'),
      String.raw`bank.example\00.evil.example`,
    ],
    [
      'UTF8String with an escaped NUL as text',
      0x0c,
      utf8(String.raw`bank.example\00`),
      String.raw`bank.example\\00`,
    ],
    ['UTF8String with a line break', 0x0c, utf8('Ada\nEve'), String.raw`Ada\0AEve`],
    ['UTF8String with an override', 0x0c, utf8('Ada\u202eevE'), String.raw`Ada\E2\80\AEevE`],
    ['UTF8String with a byte that is not UTF-8', 0x0c, fromHex('41ff'), String.raw`A\FF`],
    ['PrintableString with a byte that it does not allow', 0x13, fromHex('41e5'), String.raw`A\E5`],
    ['BMPString of half a character', 0x1e, fromHex('004100'), String.raw`\00A\00`],
    ['BMPString of half a pair', 0x1e, fromHex('0041d83e'), String.raw`\00A\D8>`],
    ['number', 0x02, fromHex('05'), String.raw`\05`],
  ])('from a %s', (_, tag, bytes, text) => {
    expect(holderOf(view(withSubject(rdn([cn(tag, bytes)]))))).toBe(text)
  })

  it('if there are several, each in order, and the last one is the holder', () => {
    const unit = attribute([0x55, 4, 11], 'Unit')
    const fields = view(withSubject(rdn([cn(0x0c, utf8('One'))]), rdn([unit, cn(0x13, utf8('Two'))])))
    const names = fields.subject?.attributes.filter(({ type }) => type === AttributeType.commonName)
    expect(names?.map(({ shown }) => shown)).toEqual(['One', 'Two'])
    expect(holderOf(fields)).toBe('Two')
  })
})

describe('the name of a holder without a common name is', () => {
  const givenName = attribute([0x55, 4, 42], 'Ada')
  const surname = attribute([0x55, 4, 4], 'Example')
  const pseudonym = attribute([0x55, 4, 65], 'A. L.')
  const mail = attribute([0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 1], 'ada@example.org')
  const organization = attribute([0x55, 4, 10], 'Example Ltd')
  const number = attribute([0x55, 4, 5], 'PNOEE-1')
  it.each([
    ['given name and surname', 'Ada Example', [organization, mail, surname, givenName]],
    ['surname alone', 'Example', [surname]],
    ['pseudonym', 'A. L.', [mail, pseudonym]],
    ['e-mail address', 'ada@example.org', [organization, mail]],
    ['organization', 'Example Ltd', [number, organization]],
    ['the only attribute', 'PNOEE-1', [number]],
    ['empty if there are no attributes', '', []],
    ['the organization if the common name is empty', 'Example Ltd', [cn(0x0c, utf8('')), organization]],
  ])('%s', (_, name, attributes) => {
    const subject = view(withSubject(...attributes.map((each) => rdn([each])))).subject
    expect(holderOf({ subject, extensions: undefined })).toBe(name)
  })

  it('the e-mail address of subjectAltName', () => {
    const names = encodeTlv(0x30, encodeTlv(0x82, utf8('host')), encodeTlv(0x81, utf8('ada@example.org')))
    const extension = encodeTlv(0x30, encodeTlv(0x06, fromHex('551d11')), encodeTlv(0x04, names))
    const empty = withSubject()
    const der = withPart(7, encodeTlv(0xa3, encodeTlv(0x30, extension)), empty)
    expect(holderOf(view(der))).toBe('ada@example.org')
  })
})

describe('a key', () => {
  it('of an unknown type or curve is left out, and the rest of the certificate is read', () => {
    const ed25519 = encodeTlv(
      0x30,
      encodeTlv(0x30, encodeTlv(0x06, fromHex('2b6570'))),
      bits(new Uint8Array(32)),
    )
    const unknown = ecInfo('2a030405', new Uint8Array(65).fill(4))
    for (const info of [ed25519, unknown, ecInfo('2a8648ce3d030107', new Uint8Array(33).fill(2))]) {
      expect(keyOf(withPart(6, info))).toBeUndefined()
      expect(toHex(view(withPart(6, info)).publicKeyInfo)).toBe(toHex(info))
    }
  })

  it.each([
    ['exponent 1', 'ff'.repeat(256), '01'],
    ['exponent 2', 'ff'.repeat(256), '02'],
    ['exponent 65536', 'ff'.repeat(256), '010000'],
    ['an exponent of 257 bits', 'ff'.repeat(256), `01${'ff'.repeat(32)}`],
    ['an even modulus', `${'ff'.repeat(255)}fe`, '010001'],
  ])('of RSA with %s is left out, unlike one with exponent 3', (_what, modulus, exponent) => {
    const rsaKey = (n: string, e: string) =>
      keyOf(
        withPart(6, rsaInfo(...[n, e].map((number) => (/^[89a-f]/.test(number) ? `00${number}` : number)))),
      )
    expect(rsaKey(modulus, exponent)).toBeUndefined()
    expect(rsaKey('ff'.repeat(256), '03')).toMatchObject({ kind: 'rsa', bits: 2048 })
  })

  it('of P-521 has a point of exactly 133 bytes', () => {
    expect(keyOf(withPart(6, ecInfo('2b81040023', new Uint8Array(133).fill(4))))).toMatchObject({
      curve: { name: 'P-521' },
    })
    expect(keyOf(withPart(6, ecInfo('2b81040023', new Uint8Array(132).fill(4))))).toBeUndefined()
  })

  it.each(['3006020101020100', '30060201ff020103', '300402010302010303', '0500'])(
    'with malformed DER is left out: %s',
    (key) => {
      const algorithm = encodeTlv(0x30, encodeTlv(0x06, fromHex('2a864886f70d010101')))
      expect(keyOf(withPart(6, encodeTlv(0x30, algorithm, bits(fromHex(key)))))).toBeUndefined()
    },
  )
})

describe('validity', () => {
  const time = (tag: number, text: string): Uint8Array => encodeTlv(tag, utf8(text))

  it.each([
    [0x17, '500101000000Z', '1950-01-01T00:00:00.000Z'],
    [0x17, '491231235959Z', '2049-12-31T23:59:59.000Z'],
    [0x18, '20500229000000Z', undefined],
    [0x18, '20520229000000Z', '2052-02-29T00:00:00.000Z'],
    [0x17, '5001010000Z', undefined],
    [0x17, '500101000060Z', undefined],
    [0x17, '5001010000+1Z', undefined],
    [0x0c, '500101000000Z', undefined],
  ])('%s %s is %s', (tag, text, iso) => {
    const validity = encodeTlv(0x30, time(tag, text), time(0x18, '99991231235959Z'))
    expect(view(withPart(4, validity)).notBefore?.toISOString()).toBe(iso)
    expect(view(withPart(4, validity)).notAfter?.toISOString()).toBe('9999-12-31T23:59:59.000Z')
  })
})

describe('a certificate with one malformed part keeps its other attributes', () => {
  const extension = (id: string, value: string): Uint8Array =>
    encodeTlv(0x30, encodeTlv(0x06, fromHex(id)), encodeTlv(0x04, fromHex(value)))
  const extensions = (...list: Uint8Array[]): Uint8Array => encodeTlv(0xa3, encodeTlv(0x30, ...list))
  const usage = extension('551d0f', '03020780')
  it.each<readonly [string, number, Uint8Array, readonly CKA[]]>([
    ['a negative modulus', 6, rsaInfo(`80${'ff'.repeat(255)}`, '010001'), []],
    ['a key that is not a BIT STRING', 6, encodeTlv(0x30, encodeTlv(0x30), fromHex('0500')), []],
    ['a serial number that is not minimally encoded', 1, fromHex('0202007f'), []],
    ['a day that does not exist', 4, validityFrom('261301000000Z'), [CKA.START_DATE]],
    ['a validity that is not two times', 4, fromHex('30030c0141'), [CKA.START_DATE, CKA.END_DATE]],
    ['a name that is not a list of RDNs', 5, fromHex('30030c0141'), []],
    ['a key usage twice', 7, extensions(usage, usage), []],
    ['a key usage with a byte after it', 7, extensions(extension('551d0f', '0302078000')), []],
    ['extensions that are not a list', 7, encodeTlv(0xa3, fromHex('0500')), []],
  ])('%s', (_, part, bytes, unread) => {
    const der = withPart(part, bytes)
    const attributes = certificateAttributes(der)
    const usual = [CKA.VALUE, CKA.SUBJECT, CKA.ISSUER, CKA.SERIAL_NUMBER, CKA.PUBLIC_KEY_INFO]
    const all = [...usual, CKA.START_DATE, CKA.END_DATE, CKA.CERTIFICATE_CATEGORY]
    const shown = Object.keys(attributes).map(Number)
    expect(new Set(shown)).toEqual(new Set(all.filter((each) => !unread.includes(each))))
    if (part !== 5) expect(holderOf(view(der))).toBe('Ada Lovelace (demo)')
  })

  it('allows no use if its key usage cannot be read', () => {
    for (const odd of [extension('551d0f', '0302078000'), extension('551d25', '3000')]) {
      const { keyUsage, extendedKeyUsage } = view(withPart(7, extensions(odd)))
      expect(keyUsage ?? extendedKeyUsage).toEqual([])
    }
    const twice = view(withPart(7, extensions(usage, usage)))
    expect([twice.keyUsage, twice.extendedKeyUsage, twice.isAuthority]).toEqual([[], [], undefined])
  })

  function validityFrom(text: string): Uint8Array {
    return encodeTlv(0x30, encodeTlv(0x17, utf8(text)), encodeTlv(0x17, utf8('360101000000Z')))
  }
})

describe('hostile bytes', () => {
  it('a certificate that is cut anywhere or followed by more bytes is not read', () => {
    for (let length = 0; length < nineC.length; length++)
      expect(viewCertificate(nineC.subarray(0, length))).toBeUndefined()
    expect(viewCertificate(Uint8Array.of(...nineC, 0))).toBeUndefined()
  })

  it('a certificate with changed bytes is read or not, and nothing throws', () => {
    const readAll = (der: Uint8Array): void => {
      certificateAttributes(der)
      const found = viewCertificate(der)
      if (found === undefined) return
      holderOf(found)
      certificateKey(found.publicKeyInfo)
      for (const field of ['issuer', 'keyUsage', 'extendedKeyUsage'] as const) void found[field]
    }
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
    const mutants = fc.property(fc.constantFrom(...certificates), changes, ([, der], list) => {
      const mutated = der.slice()
      for (const [at, byte] of list) mutated[at % mutated.length] = byte
      readAll(mutated)
    })
    const noise = fc.property(fc.uint8Array({ maxLength: 100 }), readAll)
    expect(() => fc.assert(mutants, { numRuns: 5000 })).not.toThrow()
    expect(() => fc.assert(noise)).not.toThrow()
  })
})

describe('an object identifier', () => {
  const withPurpose = (oid: Uint8Array): Uint8Array => {
    const purposes = encodeTlv(0x04, encodeTlv(0x30, encodeTlv(0x06, oid)))
    const extension = encodeTlv(0x30, encodeTlv(0x06, fromHex('551d25')), purposes)
    return withPart(7, encodeTlv(0xa3, encodeTlv(0x30, extension)))
  }

  it('below 2.25 can have a UUID as its number', () => {
    const uuid = fromHex('6983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776')
    expect(view(withPurpose(uuid)).extendedKeyUsage).toEqual(['2.25.329800735698586629295641978511506172918'])
  })

  it('with thousands of digits is not read: decimal conversion would take quadratic time', () => {
    const endless = new Uint8Array(0xe000).fill(0x81)
    endless[endless.length - 1] = 1
    expect(view(withPurpose(endless)).extendedKeyUsage).toEqual([])
  })
})

function certificateOf(card: ReturnType<typeof createPivCard>, slot: (typeof slots)[number]): Uint8Array {
  return card.certificateOf(slot) ?? expect.fail(`no certificate in ${slot}`)
}

function keyAsJwk(key: CertificateKey | undefined): JsonWebKey | undefined {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
  if (key?.kind === 'rsa') return { kty: 'RSA', n: text(key.modulus), e: text(key.exponent) }
  if (key === undefined) return undefined
  const half = (key.point.length + 1) / 2
  return {
    kty: 'EC',
    crv: key.curve.name,
    x: text(key.point.subarray(1, half)),
    y: text(key.point.subarray(half)),
  }
}

/** The certificate `of` with one part of its TBSCertificate (counted from the version) replaced. */
function withPart(index: number, part: Uint8Array, of = nineC): Uint8Array {
  const [body = new Uint8Array(), ...others] = elements(contentOf(of))
  const parts = elements(contentOf(body))
  parts[index] = part
  return encodeTlv(0x30, encodeTlv(0x30, ...parts), ...others)
}

function withSubject(...names: Uint8Array[]): Uint8Array {
  return withPart(5, encodeTlv(0x30, ...names))
}

function rdn(attributes: Uint8Array[]): Uint8Array {
  return encodeTlv(0x31, ...attributes)
}

function cn(tag: number, bytes: Uint8Array): Uint8Array {
  return encodeTlv(0x30, encodeTlv(0x06, [0x55, 4, 3]), encodeTlv(tag, bytes))
}

function attribute(type: readonly number[], text: string): Uint8Array {
  return encodeTlv(0x30, encodeTlv(0x06, type), encodeTlv(0x0c, utf8(text)))
}

/** `numbers`: the content of each INTEGER in hex. */
function rsaInfo(...numbers: readonly string[]): Uint8Array {
  const algorithm = encodeTlv(0x30, encodeTlv(0x06, fromHex('2a864886f70d010101')), fromHex('0500'))
  const key = encodeTlv(0x30, ...numbers.map((number) => encodeTlv(0x02, fromHex(number))))
  return encodeTlv(0x30, algorithm, bits(key))
}

function bits(bytes: Uint8Array): Uint8Array {
  return encodeTlv(0x03, [0], bytes)
}

function ecInfo(curve: string, point: Uint8Array): Uint8Array {
  const algorithm = encodeTlv(
    0x30,
    encodeTlv(0x06, fromHex('2a8648ce3d0201')),
    encodeTlv(0x06, fromHex(curve)),
  )
  return encodeTlv(0x30, algorithm, bits(point))
}

/** A DER reader of this test, independent of the code under test, for lengths below 64 KiB. */
function headerBytes(der: Uint8Array): { header: number; length: number } {
  const first = der[1] ?? 0
  if (first < 0x80) return { header: 2, length: first }
  const count = first & 0x7f
  return { header: 2 + count, length: Buffer.from(der.subarray(2, 2 + count)).readUIntBE(0, count) }
}

function contentOf(der: Uint8Array): Uint8Array {
  return der.subarray(headerBytes(der).header)
}

function elements(content: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let rest = content; rest.length > 0; ) {
    const { header, length } = headerBytes(rest)
    found.push(rest.subarray(0, header + length))
    rest = rest.subarray(header + length)
  }
  return found
}
