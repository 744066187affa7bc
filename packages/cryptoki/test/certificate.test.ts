/** Certificates of virtual cards read by us and by Node; names in every string type; hostile bytes. */
import { X509Certificate } from 'node:crypto'
import { encodeTlv, fromHex, MalformedError, toHex } from '@webtoki/apdu'
import { createPivCard, demoCa } from '@webtoki/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CertificateFields, decodeX509 } from '../src/certificate.ts'

const slots = ['9A', '9C', '9D', '9E'] as const
const rsaCard = createPivCard()
const certificates: readonly (readonly [name: string, der: Uint8Array])[] = [
  ...slots.map((slot) => [slot, certificateOf(rsaCard, slot)] as const),
  ['9A of the P-256 card', certificateOf(createPivCard({ nineA: 'p256' }), '9A')],
  ['the demo CA', demoCa.certificate],
]
const [, nineA] = certificates[0] ?? expect.fail()
const [, nineC] = certificates[1] ?? expect.fail()

describe('a certificate says to us what it says to Node', () => {
  it.each(certificates)('%s', (_, der) => {
    const judge = new X509Certificate(der)
    const fields = decodeX509(der)
    expect(fields.subjectCommonName).toBe(/^CN=(.*)$/m.exec(judge.subject)?.[1])
    expect(toHex(fields.serialNumber).replace(/^02..(00)?/, '')).toBe(judge.serialNumber.toLowerCase())
    expect(fields.notBefore).toEqual(new Date(judge.validFrom))
    expect(fields.notAfter).toEqual(new Date(judge.validTo))
    expect(toHex(fields.publicKeyInfo)).toBe(
      judge.publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
    )
    expect(fields.extendedKeyUsage).toEqual(judge.keyUsage)
    expect(keyAsJwk(fields)).toEqual(judge.publicKey.export({ format: 'jwk' }))
    expect(Number(fields.key?.type === 'rsa' && fields.key.bits)).toBe(
      judge.publicKey.asymmetricKeyDetails?.modulusLength ?? 0,
    )
  })

  it('the issuer of a leaf is the subject of the CA', () => {
    expect(toHex(decodeX509(nineA).issuer)).toBe(toHex(decodeX509(demoCa.certificate).subject))
  })

  it('key usage comes by name', () => {
    expect(decodeX509(nineA).keyUsage).toEqual(['digitalSignature'])
    expect(decodeX509(nineC).keyUsage).toEqual(['digitalSignature', 'nonRepudiation'])
    expect(decodeX509(demoCa.certificate).keyUsage).toEqual(['keyCertSign', 'cRLSign'])
    expect(decodeX509(demoCa.certificate).extendedKeyUsage).toBeUndefined()
  })

  it('through a view in the middle of a buffer', () => {
    const room = new Uint8Array(nineA.length + 9)
    room.set(nineA, 5)
    expect(decodeX509(room.subarray(5, 5 + nineA.length)).subjectCommonName).toBe('Ada Lovelace (demo)')
  })
})

describe('a common name is read', () => {
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
  it.each([
    ['UTF8String', 0x0c, utf8('Ærøskøbing 🦉'), 'Ærøskøbing 🦉'],
    ['PrintableString', 0x13, utf8('Ada'), 'Ada'],
    ['IA5String', 0x16, utf8('ada@example.org'), 'ada@example.org'],
    ['TeletexString', 0x14, fromHex('c5736120d6'), 'Åsa Ö'],
    ['BMPString', 0x1e, fromHex('004100e50431d83edd89'), 'Aåб\u{1f989}'],
    ['UniversalString', 0x1c, fromHex('000000410001f989'), 'A\u{1f989}'],
    ['UTF8String with a foreign byte', 0x0c, fromHex('41ff'), 'A\ufffd'],
  ])('from a %s', (_, tag, bytes, text) => {
    expect(decodeX509(withSubject(rdn([cn(tag, bytes)]))).subjectCommonName).toBe(text)
  })

  it('in each of its places, the last one being the name', () => {
    const first = cn(0x0c, utf8('One'))
    const unit = encodeTlv(0x30, encodeTlv(0x06, [0x55, 4, 11]), encodeTlv(0x0c, utf8('Unit')))
    const fields = decodeX509(withSubject(rdn([first]), rdn([unit, cn(0x13, utf8('Two'))])))
    expect(fields.subjectCommonNames).toEqual(['One', 'Two'])
    expect(fields.subjectCommonName).toBe('Two')
  })

  it('as undefined where there is none', () => {
    expect(decodeX509(withSubject()).subjectCommonName).toBeUndefined()
  })

  it('but not from half a character', () => {
    expect(() => decodeX509(withSubject(rdn([cn(0x1e, fromHex('004100'))])))).toThrow(MalformedError)
  })
})

describe('a key', () => {
  it('of a kind or curve that nobody here knows is left out, and the rest is read', () => {
    const ed25519 = encodeTlv(
      0x30,
      encodeTlv(0x30, encodeTlv(0x06, fromHex('2b6570'))),
      bits(new Uint8Array(32)),
    )
    const brainpool = ecInfo('2b2403030208010107', new Uint8Array(65).fill(4))
    for (const info of [ed25519, brainpool, ecInfo('2a8648ce3d030107', new Uint8Array(33).fill(2))]) {
      const fields = decodeX509(withPart(6, info))
      expect(fields.key).toBeUndefined()
      expect(toHex(fields.publicKeyInfo)).toBe(toHex(info))
    }
  })

  it.each([
    ['exponent 1', 'ff'.repeat(256), '01'],
    ['exponent 2', 'ff'.repeat(256), '02'],
    ['exponent 65536', 'ff'.repeat(256), '010000'],
    ['an exponent of 257 bits', 'ff'.repeat(256), `01${'ff'.repeat(32)}`],
    ['an even modulus', `${'ff'.repeat(255)}fe`, '010001'],
  ])('of RSA with %s is left out, and a usual one is not', (_what, modulus, exponent) => {
    const rsaKey = (n: string, e: string) => {
      const numbers = [n, e].map((number) =>
        encodeTlv(0x02, fromHex(/^[89a-f]/.test(number) ? `00${number}` : number)),
      )
      const algorithm = encodeTlv(0x30, encodeTlv(0x06, fromHex('2a864886f70d010101')), fromHex('0500'))
      return decodeX509(withPart(6, encodeTlv(0x30, algorithm, bits(encodeTlv(0x30, ...numbers))))).key
    }
    expect(rsaKey(modulus, exponent)).toBeUndefined()
    expect(rsaKey('ff'.repeat(256), '03')).toMatchObject({ type: 'rsa', bits: 2048 })
  })

  it('of P-521 has a point of 133 bytes, and no other', () => {
    expect(decodeX509(withPart(6, ecInfo('2b81040023', new Uint8Array(133).fill(4)))).key).toMatchObject({
      curve: 'P-521',
    })
    expect(() => decodeX509(withPart(6, ecInfo('2b81040023', new Uint8Array(132).fill(4))))).toThrow(
      MalformedError,
    )
  })

  it.each(['3006020101020100', '30060201ff020103', '300402010302010303', '0500'])(
    'that lies is refused: %s',
    (key) => {
      const info = encodeTlv(
        0x30,
        encodeTlv(0x30, encodeTlv(0x06, fromHex('2a864886f70d010101'))),
        bits(fromHex(key)),
      )
      expect(() => decodeX509(withPart(6, info))).toThrow(MalformedError)
    },
  )
})

describe('validity', () => {
  const time = (tag: number, text: string): Uint8Array => encodeTlv(tag, new TextEncoder().encode(text))
  const valid = (from: Uint8Array): CertificateFields =>
    decodeX509(withPart(4, encodeTlv(0x30, from, time(0x18, '99991231235959Z'))))

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
    const read = (): string | undefined => valid(time(tag, text)).notBefore.toISOString()
    expect(refusedOr(read)).toBe(iso)
  })
})

describe('hostile bytes', () => {
  it('cut anywhere, a certificate is refused', () => {
    for (let length = 0; length < nineC.length; length++) {
      expect(() => decodeX509(nineC.subarray(0, length))).toThrow(MalformedError)
    }
    expect(() => decodeX509(Uint8Array.of(...nineC, 0))).toThrow(MalformedError)
  })

  it('changed anywhere, a certificate is read or refused with MalformedError', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
    const mutants = fc.property(fc.constantFrom(...certificates), changes, ([, der], list) => {
      const mutated = der.slice()
      for (const [at, byte] of list) mutated[at % mutated.length] = byte
      refusedOr(() => decodeX509(mutated))
    })
    const noise = fc.property(
      fc.uint8Array({ maxLength: 100 }),
      (bytes) => void refusedOr(() => decodeX509(bytes)),
    )
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

  it('below 2.25 has a UUID for a number', () => {
    const uuid = fromHex('6983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776')
    expect(decodeX509(withPurpose(uuid)).extendedKeyUsage).toEqual([
      '2.25.329800735698586629295641978511506172918',
    ])
  })

  it('with a number of thousands of digits is refused: reading it would take as long as its square', () => {
    const endless = new Uint8Array(0xe000).fill(0x81)
    endless[endless.length - 1] = 1
    expect(() => decodeX509(withPurpose(endless))).toThrow(MalformedError)
  })
})

function certificateOf(card: ReturnType<typeof createPivCard>, slot: (typeof slots)[number]): Uint8Array {
  return card.certificateOf(slot) ?? expect.fail(`no certificate in ${slot}`)
}

/** What `work` returns; undefined where it throws MalformedError. Other errors pass. */
function refusedOr<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}

function keyAsJwk({ key }: CertificateFields): JsonWebKey | undefined {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
  if (key?.type === 'rsa') return { kty: 'RSA', n: text(key.modulus), e: text(key.exponent) }
  if (key === undefined) return undefined
  const half = (key.point.length + 1) / 2
  return {
    kty: 'EC',
    crv: key.curve,
    x: text(key.point.subarray(1, half)),
    y: text(key.point.subarray(half)),
  }
}

/** The certificate of 9C with one part of its TBSCertificate (counted from the version) put in place of another. */
function withPart(index: number, part: Uint8Array): Uint8Array {
  const [body = new Uint8Array(), ...others] = elements(contentOf(nineC))
  const parts = elements(contentOf(body))
  parts[index] = part
  return encodeTlv(0x30, encodeTlv(0x30, ...parts), ...others)
}

function withSubject(...relatives: Uint8Array[]): Uint8Array {
  return withPart(5, encodeTlv(0x30, ...relatives))
}

function rdn(attributes: Uint8Array[]): Uint8Array {
  return encodeTlv(0x31, ...attributes)
}

function cn(tag: number, bytes: Uint8Array): Uint8Array {
  return encodeTlv(0x30, encodeTlv(0x06, [0x55, 4, 3]), encodeTlv(tag, bytes))
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

/** A DER reader of the test's own, for lengths below 64 KiB. */
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
