/** The data objects of OpenPGP cards and the commands that the applet sends. */
import { fromHex } from '@webtoki/apdu'
import {
  decodeApplicationData,
  decodeKdf,
  decodePublicKey,
  derivePin,
  OpenPgpApplet,
  type PinHashes,
} from '@webtoki/apdu/openpgp'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { connectionOf, ScriptedChannel } from '../scripted-channel.ts'

const hashes: PinHashes = (name) => createHash(name.replace('-', '').toLowerCase())
const text = (typed: string): Uint8Array => new TextEncoder().encode(typed)

const aid = 'd276000124010304000f4a0000010000'
const object = (tag: string, ...value: string[]): string =>
  `${tag}${(value.join('').length / 2).toString(16).padStart(2, '0')}${value.join('')}`
/** 6E of a card with RSA-2048, P-256 and Ed25519, composed by hand from 4.4.1 and 4.4.3. */
const data = fromHex(
  object(
    '6e',
    object('4f', aid),
    object(
      '73',
      object('c0', '7d000bfe080000ff0000'),
      object('c1', '010800002000'),
      object('c2', '122a8648ce3d030107ff'),
      object('c3', '162b06010401da470f01'),
      object('c4', '01ff40ff030003'),
      object('c5', 'ab'.repeat(20)),
      object('d6', '0120'),
      object('d7', '0020'),
    ),
  ),
)

describe('application related data', () => {
  it('contains serial number, version, PIN policy and keys', () => {
    expect(decodeApplicationData(data)).toMatchObject({
      version: '3.4',
      manufacturer: 0x0f,
      serialNumber: '4a000001',
      hasKdf: true,
      onePinPerSignature: false,
      // Bit 8 of FF states that PIN block format 2 is supported.
      maxPinBytes: 127,
      keys: {
        signature: { algorithm: { type: 'rsa', modulusBits: 2048 }, touch: true },
        decryption: {
          algorithm: { type: 'ec', curve: '2a8648ce3d030107' },
          fingerprint: undefined,
          touch: false,
        },
        authentication: { algorithm: { type: 'other', number: 0x16 }, touch: undefined },
      },
    })
    expect(decodeApplicationData(data)?.keys.signature.fingerprint).toHaveLength(20)
  })

  it('of another application is undefined, and an incomplete one throws MalformedError', () => {
    expect(decodeApplicationData(fromHex('6e074f05a000000308'))).toBeUndefined()
    expect(decodeApplicationData(new Uint8Array(0))).toBeUndefined()
    expect(() => decodeApplicationData(fromHex(`6e124f10${aid}`))).toThrow(/PW status/)
  })

  it('of random bytes is decoded or throws MalformedError', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.nat(data.length - 1),
        fc.nat(255),
        (bytes, at, byte) => {
          for (const each of [bytes, data.with(at, byte)])
            for (const decode of [decodeApplicationData, decodeKdf, decodePublicKey])
              try {
                decode(each)
              } catch (error) {
                expect(error).toMatchObject({ code: 'wire/malformed' })
              }
        },
      ),
    )
  })
})

describe('PIN derivation', () => {
  const kdfObject = (count: string) =>
    fromHex(`810103820108 8304${count} 84083031323334353637`.replace(/ /g, ''))

  it("is 'none' if F9 is empty or states algorithm 0", () => {
    expect([
      decodeKdf(new Uint8Array(0)),
      decodeKdf(fromHex('810100')),
      decodeKdf(fromHex('f903810100')),
    ]).toEqual(['none', 'none', 'none'])
  })

  it.each([
    ['another algorithm', '810101'],
    ['no algorithm', '820108'],
    ['SHA-1', '810103820102830400000010 84083031323334353637'],
    ['no salt', '810103820108830400000010'],
    ['more bytes to hash than RFC 4880 allows', '810103820108 8304ffffffff 84083031323334353637'],
  ])('with %s is refused', (_, hex) => {
    expect(() => decodeKdf(fromHex(hex.replace(/ /g, '')))).toThrow(/no PIN was sent/)
  })

  it.each([0, 1, 13, 14, 15, 3583, 3584, 3585, 100_000])(
    'hashes %i bytes of salt and PIN, but at least one copy of both',
    async (bytes) => {
      const kdf = decodeKdf(kdfObject(bytes.toString(16).padStart(8, '0')))
      if (kdf === 'none') throw new Error('The PIN is not derived.')
      const once = Buffer.from('01234567' + '123456')
      const whole = Buffer.concat(Array.from({ length: Math.ceil(Math.max(bytes, 14) / 14) }, () => once))
      const expected = createHash('sha256')
        .update(whole.subarray(0, Math.max(bytes, 14)))
        .digest()
      expect(Buffer.from(await derivePin(kdf, text('123456'), hashes))).toEqual(expected)
    },
  )
})

describe('a public key', () => {
  it('is a point, or modulus and exponent without leading zeros', () => {
    expect(decodePublicKey(fromHex('7f4905860304aabb'))).toEqual({ type: 'ec', point: fromHex('04aabb') })
    expect(decodePublicKey(fromHex('7f490a810300c30182030100 01'.replace(/ /g, '')))).toEqual({
      type: 'rsa',
      modulus: fromHex('c301'),
      exponent: fromHex('010001'),
    })
  })
})

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const select: [string, string] = ['00a4040006d2760001240100', '9000']
const read6e: [string, string] = ['00ca006e00', `${toHex(data)}9000`]

async function setUp(...script: [string, string][]) {
  const channel = new ScriptedChannel([select, read6e, ...script])
  const applet = await OpenPgpApplet.open(connectionOf(channel), { hashes })
  if (applet === undefined) throw new Error('The OpenPGP application was not found.')
  return { channel, applet }
}

describe('the OpenPGP applet', () => {
  it.each([
    ['refuses SELECT', [['00a4040006d2760001240100', '6a82']]],
    ['returns 9000 to every command', [select, ['00ca006e00', '9000']]],
    ['refuses GET DATA', [select, ['00ca006e00', '6d00']]],
  ] as [string, [string, string][]][])('is undefined on a card that %s', async (_, script) => {
    const channel = new ScriptedChannel(script)
    expect(await OpenPgpApplet.open(connectionOf(channel), { hashes })).toBeUndefined()
    expect(channel.left).toBe(0)
  })

  it('reads F9 once for both references, before the first PIN', async () => {
    const { channel, applet } = await setUp(
      ['00ca00f900', '8101009000'],
      ['00200081', '63c3'],
      ['0020008106313233343536', '9000'],
      ['0020008206313233343536', '9000'],
    )
    await applet.signaturePin.verify(channel, text('123456'))
    await applet.pin.verify(channel, text('123456'))
    expect(channel.left).toBe(0)
  })

  it('reads the attempts left from the PW status if the card refuses VERIFY without data', async () => {
    const { channel, applet } = await setUp(
      ['00ca00f900', '6a88'],
      ['00200081', '6700'],
      ['00ca00c400', '007f7f7f0200039000'],
    )
    expect(await applet.signaturePin.learnTries(channel)).toBe(2)
  })

  it('identifies the card by its AID', async () => {
    const { channel, applet } = await setUp(
      ['00ca004f00', `${aid}9000`],
      ['00ca004f00', `${aid.replace('4a', '4b')}9000`],
    )
    channel.vouchesForCard = false
    await applet.confirmCard(channel)
    await expect(applet.confirmCard(channel)).rejects.toMatchObject({ code: 'card/gone', why: 'replaced' })
  })

  it('reads the authentication certificate of a card without SELECT DATA, and no other one', async () => {
    const { channel, applet } = await setUp(
      ['00a500040660045c027f21', '6d00'],
      ['00ca7f2100', 'aabb9000'],
      ['00a502040660045c027f21', '6d00'],
    )
    expect(await applet.readCertificate(channel, 'authentication')).toEqual(fromHex('aabb'))
    expect(await applet.readCertificate(channel, 'signature')).toBeUndefined()
  })

  it('sends a cryptogram after 00 and a point inside A6, 7F49 and 86', async () => {
    const { channel, applet } = await setUp(
      ['002a8086 04 00aabbcc 00', 'dd9000'],
      ['002a8086 0a a6087f4905860304aabb 00', 'ee9000'],
      ['002a8086 04 00aabbcc 00', '6a80'],
    )
    const cryptogram = fromHex('aabbcc')
    expect(await applet.decipher(channel, { cryptogram }, 1)).toEqual(fromHex('dd'))
    expect(await applet.decipher(channel, { point: fromHex('04aabb') }, 1)).toEqual(fromHex('ee'))
    await expect(applet.decipher(channel, { cryptogram }, 1)).rejects.toMatchObject({
      code: 'card/status',
      sw: 0x6a80,
    })
  })
})
