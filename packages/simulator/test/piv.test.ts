/** Tests of the virtual PIV card, with results checked by node:crypto and the openssl program (SP 800-73-4). */
import { execFileSync } from 'node:child_process'
import {
  constants,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  publicDecrypt,
  publicEncrypt,
  verify,
  X509Certificate,
} from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPivCard, demoCa, type PivCard, type PivCardOptions, type PivSlot } from '../src/piv/index.ts'
import { hex, openManagement, pin, raw, select, send, show } from './piv-terminal.ts'

const slots: readonly PivSlot[] = ['9A', '9C', '9D', '9E']
const certificateTags = { '9A': '5fc105', '9C': '5fc10a', '9D': '5fc10b', '9E': '5fc101' } as const
const sha256 = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest())
const spki = (card: PivCard, slot: PivSlot) =>
  createPublicKey({ key: Buffer.from(card.publicKeyOf(slot) ?? []), format: 'der', type: 'spki' })
const verifyPin = (card: PivCard) => send(card, '00200080', pin)
const tries = async (card: PivCard): Promise<string> => (await raw(card, '00200080')).sw
async function ready(options: PivCardOptions = {}): Promise<PivCard> {
  const card = createPivCard(options)
  expect((await select(card)).sw).toBe('9000')
  return card
}
const sized = (tag: number, value: Uint8Array): Uint8Array =>
  Uint8Array.of(
    tag,
    ...(value.length < 128 ? [value.length] : [0x82, value.length >> 8, value.length & 255]),
    ...value,
  )
const request = (tag: number, value: Uint8Array): Uint8Array =>
  sized(0x7c, Uint8Array.of(0x82, 0, ...sized(tag, value)))
/** Returns the value of 82 in 7C, for length fields of any size. */
function result(data: Uint8Array): Uint8Array {
  const skip = (at: number): number => at + ((data[at + 1] ?? 0) > 0x80 ? 2 + (data[at + 1] ?? 0) - 0x80 : 2)
  return data.slice(skip(skip(0)))
}
const padded = (): Uint8Array => {
  const info = Uint8Array.of(...hex('3031300d060960864801650304020105000420'), ...sha256('hello'))
  return Uint8Array.of(0, 1, ...new Uint8Array(256 - 3 - info.length).fill(0xff), 0, ...info)
}
const sign9c = (card: PivCard) => send(card, '0087119c', request(0x81, sha256('hello')))

describe('the PIV card: ATR and data objects', () => {
  test('the ATR has the historical bytes 80 73 C0 21 C0 and a valid check byte', () => {
    expect(show(createPivCard().atr)).toContain('8073c021c0')
    for (const protocols of ['T=1', 'T=0 and T=1'] as const) {
      expect(
        createPivCard({ protocols })
          .atr.slice(1)
          .reduce((sum, byte) => sum ^ byte, 0),
      ).toBe(0)
    }
    expect(show(createPivCard({ extendedLength: false }).atr)).toContain('8073c02180')
  })
  test('SELECT works with the full and a partial AID, and fails with another AID', async () => {
    const card = createPivCard()
    expect((await raw(card, '00cb3fff035c017e00')).sw).toBe('6d00')
    expect((await send(card, '00a40400', 'd27600012401')).sw).toBe('6a82')
    expect(show((await send(card, '00a40400', 'a000000308000010000100')).data)).toBe(
      '61114f0600001000010079074f05a000000308',
    )
    expect((await send(card, '00a40400', 'a00000030800001000')).sw).toBe('9000')
  })
  test('GET DATA returns 913 bytes for the certificate in 9A, 61 for CHUID and 20 for discovery', async () => {
    const card = await ready()
    expect((await send(card, '00cb3fff', '5c035fc105')).data).toHaveLength(913)
    const chuid = (await send(card, '00cb3fff', '5c035fc102')).data
    expect(chuid).toHaveLength(61)
    expect(show(chuid)).toContain(show(card.guid ?? hex('00')))
    expect(show((await send(card, '00cb3fff', '5c017e')).data)).toBe(
      '7e124f0ba0000003080000100001005f2f024000',
    )
    expect((await send(card, '00cb3fff', '5c035fc10c')).sw).toBe('6a82')
  })
  test('openssl verifies every certificate with the demo CA, and each matches the key in its slot', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'piv-'))
    writeFileSync(join(folder, 'ca.pem'), demoCa.pem)
    for (const nineA of ['rsa2048', 'p256'] as const) {
      const card = await ready({ nineA })
      for (const slot of slots) {
        const certificate = new X509Certificate(card.certificateOf(slot) ?? hex('00'))
        writeFileSync(join(folder, 'leaf.pem'), certificate.toString())
        const output = execFileSync('openssl', [
          'verify',
          '-x509_strict',
          '-CAfile',
          join(folder, 'ca.pem'),
          join(folder, 'leaf.pem'),
        ])
        expect(output.toString()).toContain('OK')
        expect(certificate.publicKey.equals(spki(card, slot))).toBe(true)
        const object = (await send(card, '00cb3fff', `5c03${certificateTags[slot]}`)).data
        expect(show(object)).toContain(show(certificate.raw))
      }
    }
    rmSync(folder, { recursive: true })
  })
  test('certificates can be compressed with gzip, absent or unreadable', async () => {
    const card = await ready({
      gzipCertificate: ['9A'],
      absentCertificates: ['9C'],
      unreadableCertificates: ['9D'],
    })
    const { data } = await send(card, '00cb3fff', '5c035fc105')
    const at = show(data).indexOf('1f8b08') / 2
    expect(show(data)).toMatch(/710101fe00$/)
    expect(show(gunzipSync(data.slice(at, -5)))).toBe(show(card.certificateOf('9A') ?? hex('')))
    expect((await send(card, '00cb3fff', '5c035fc10a')).sw).toBe('6a82')
    expect((await send(card, '00cb3fff', '5c035fc10b')).sw).toBe('6982')
  })
})

describe('the PIV card: keys', () => {
  test('the key in 9A signs a padded block, and OpenSSL verifies the signature', async () => {
    const card = await ready()
    expect((await send(card, '0087079a', request(0x81, padded()))).sw).toBe('6982')
    await verifyPin(card)
    for (let i = 0; i < 2; i++) {
      const { data, sw } = await send(card, '0087079a', request(0x81, padded()))
      expect(sw).toBe('9000')
      expect(verify('sha256', Buffer.from('hello'), spki(card, '9A'), result(data))).toBe(true)
    }
    expect((await send(card, '0087119a', request(0x81, sha256('x')))).sw).toBe('6a86')
    expect((await send(card, '0087079a', request(0x81, sha256('x')))).sw).toBe('6a80')
  })
  test.each([
    ['RSA with 1024 bits', '06', generateKeyPairSync('rsa', { modulusLength: 1024, publicExponent: 3 })],
    ['RSA with 3072 bits', '05', generateKeyPairSync('rsa', { modulusLength: 3072 })],
    ['P-256', '11', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['P-384', '14', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ] as const)(
    'a key passed for 9D (%s) is used for operations, and its public key is returned',
    async (_, algorithm, pair) => {
      const { privateKey, publicKey } = pair
      const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
      const card = await ready({ keys: { '9D': pkcs8 } })
      await verifyPin(card)
      expect(spki(card, '9D').equals(publicKey)).toBe(true)
      // The demo certificate belongs to another key.
      expect(card.certificateOf('9D')).toBeUndefined()
      const digest = sha256('hello')
      const isRsa = privateKey.asymmetricKeyType === 'rsa'
      const bytes = (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
      const input = isRsa ? Uint8Array.of(...new Uint8Array(bytes - 32), ...digest) : digest
      const { data, sw } = await send(card, `0087${algorithm}9d`, request(0x81, input))
      expect(sw).toBe('9000')
      if (isRsa) {
        const key = { key: publicKey, padding: constants.RSA_NO_PADDING }
        expect(show(publicDecrypt(key, result(data)))).toBe(show(input))
      } else expect(verify('sha256', Buffer.from('hello'), publicKey, result(data))).toBe(true)
    },
  )
  test.each([
    ['on another curve', generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey],
    ['with another length', generateKeyPairSync('rsa', { modulusLength: 1536 }).privateKey],
    ['of another type', generateKeyPairSync('ed25519').privateKey],
  ])('a private key %s is rejected with RangeError', (_, key) => {
    const pkcs8 = key.export({ format: 'der', type: 'pkcs8' })
    expect(() => createPivCard({ keys: { '9D': pkcs8 } })).toThrow(RangeError)
    expect(() => createPivCard({ keys: { '9D': pkcs8.subarray(1) } })).toThrow(RangeError)
  })
  test('the raw operation of the key in 9D decrypts what OpenSSL encrypted', async () => {
    const card = await ready()
    await verifyPin(card)
    const key = { key: spki(card, '9D'), padding: constants.RSA_NO_PADDING }
    const plain = Uint8Array.of(0, 2, ...new Uint8Array(254).fill(7))
    const { data } = await send(card, '0087079d', request(0x81, publicEncrypt(key, plain)))
    expect(show(result(data))).toBe(show(plain))
    expect(show(publicDecrypt(key, result((await send(card, '0087079d', request(0x81, plain))).data)))).toBe(
      show(plain),
    )
  })
  test('the key in 9E signs without a PIN and returns an ECDSA signature in DER', async () => {
    const card = await ready()
    const digest = createHash('sha384').update('hello').digest()
    const { data } = await send(card, '0087149e', request(0x81, digest))
    expect(verify('sha384', Buffer.from('hello'), spki(card, '9E'), result(data))).toBe(true)
  })
  test.each([
    ['11', 'P-256', 65],
    ['14', 'P-384', 97],
  ] as const)('a key generated in 9D (algorithm %s) agrees on a secret', async (id, curve, length) => {
    const card = await ready()
    expect((await send(card, '0047009d', `ac0380 01${id}`)).sw).toBe('6982')
    expect((await openManagement(card)).sw).toBe('9000')
    expect((await send(card, '0047009d', `ac0380 01${id}`)).data).toHaveLength(length + 5)
    await verifyPin(card)
    const peer = generateKeyPairSync('ec', { namedCurve: curve })
    const point = Uint8Array.from(peer.publicKey.export({ format: 'der', type: 'spki' }).subarray(-length))
    const { data } = await send(card, `0087${id}9d`, request(0x85, point))
    const shared = diffieHellman({ privateKey: peer.privateKey, publicKey: spki(card, '9D') })
    expect(show(result(data))).toBe(show(shared))
    point[5] = (point[5] ?? 0) ^ 1
    expect((await send(card, `0087${id}9d`, request(0x85, point))).sw).toBe('6a80')
  })
  test('an RSA key generated in 9A signs', async () => {
    const card = await ready()
    await openManagement(card)
    expect((await send(card, '0047009a', 'ac03800107')).data).toHaveLength(5 + 4 + 256 + 5)
    await verifyPin(card)
    const { data } = await send(card, '0087079a', request(0x81, padded()))
    expect(verify('sha256', Buffer.from('hello'), spki(card, '9A'), result(data))).toBe(true)
  })
  test('without vendorExtensions the card rejects vendor commands', async () => {
    const card = await ready()
    await openManagement(card)
    for (const ins of ['f6', 'f7', 'f8', 'f9', 'fa', 'fb', 'fd', 'fe', 'ff']) {
      expect((await raw(card, `00${ins}000000`)).sw).toBe('6d00')
    }
  })
})

describe('the key in 9C requires the PIN for each signature', () => {
  test('one VERIFY permits one signature', async () => {
    const card = await ready()
    expect((await verifyPin(card)).sw).toBe('9000')
    const { data } = await sign9c(card)
    expect(verify('sha256', Buffer.from('hello'), spki(card, '9C'), result(data))).toBe(true)
    expect((await sign9c(card)).sw).toBe('6982')
    expect(card.pinVerified).toBe(true)
  })
  test.each([
    '00200080',
    '00cb3fff035c017e00',
    '00a4040005a00000030800',
    '00c0000000',
    '00',
    '80ca000000',
    '10cb3fff015c',
  ])('command %s between VERIFY and the signature makes the signature fail', async (between) => {
    const card = await ready()
    await verifyPin(card)
    await raw(card, between)
    expect((await sign9c(card)).sw).toBe('6982')
  })
  test('a chained signature command counts as one command after VERIFY', async () => {
    const card = await ready()
    await verifyPin(card)
    const data = request(0x81, sha256('hello'))
    await raw(card, Uint8Array.of(0x10, 0x87, 0x11, 0x9c, 10, ...data.slice(0, 10)))
    expect((await send(card, '0087119c', data.slice(10))).sw).toBe('9000')
  })
})

describe('the PIV card: key policies', () => {
  const sign9a = (card: PivCard) => send(card, '0087079a', request(0x81, padded()))
  test.each([
    ['never', ['9000', '9000', '9000']],
    ['once', ['6982', '9000', '9000']],
    ['always', ['6982', '9000', '6982']],
  ] as const)(
    '9A with PIN policy %s: first use before VERIFY, two uses after it',
    async (policy, expected) => {
      const card = await ready({ policies: { '9A': { pin: policy } } })
      const statusWords = [(await sign9a(card)).sw]
      await verifyPin(card)
      statusWords.push((await sign9a(card)).sw, (await sign9a(card)).sw)
      expect(statusWords).toEqual(expected)
    },
  )
  test('if a touch comes too late, the card returns 6982 and the PIN stays verified', async () => {
    const touches = [true, false, true]
    const card = await ready({
      policies: { '9A': { touch: 'always' } },
      touch: async () => touches.shift() ?? false,
    })
    // Without a verified PIN the card does not wait for a touch.
    expect((await sign9a(card)).sw).toBe('6982')
    await verifyPin(card)
    const statusWords = [(await sign9a(card)).sw, (await sign9a(card)).sw, (await sign9a(card)).sw]
    expect([statusWords, card.pinVerified]).toEqual([['9000', '6982', '9000'], true])
  })
  test('GET METADATA returns algorithm, policies, origin and public key with vendorExtensions only', async () => {
    const vendor = await ready({
      vendorExtensions: true,
      policies: { '9A': { pin: 'always', touch: 'always' } },
      absentKeys: ['9D'],
    })
    const metadataOf = async (slot: string) => show((await send(vendor, `00f700${slot}`)).data).slice(0, 26)
    expect(await metadataOf('9a')).toBe('01010702020302030102048201')
    expect(await metadataOf('9c')).toBe('01011102020301030102044386')
    expect(await metadataOf('9e')).toBe('01011402020101030102046386')
    expect((await send(vendor, '00f7009d')).sw).toBe('6a88')
    expect((await send(await ready(), '00f7009a')).sw).toBe('6d00')
    const { data } = await send(vendor, '00f7009c')
    expect(show(spki(vendor, '9C').export({ type: 'spki', format: 'der' }))).toContain(show(data.slice(-65)))
  })
  test('a key is generated with the requested policies', async () => {
    const card = await ready({ vendorExtensions: true })
    await openManagement(card)
    expect((await send(card, '0047009a', 'ac09800111aa0103ab0102')).sw).toBe('9000')
    expect(show((await send(card, '00f7009a')).data)).toMatch(/^010111020203020301010443/)
    // The touch policy "cached" is not supported.
    expect((await send(card, '0047009a', 'ac09800111aa0103ab0103')).sw).toBe('6a80')
  })
})

describe('the PIV card: PIN and PUK', () => {
  test('wrong PINs use attempts until the PIN is blocked, and the PUK unblocks it', async () => {
    const card = await ready()
    expect(await tries(card)).toBe('63c3')
    expect((await send(card, '00200080', '313131313131ffff')).sw).toBe('63c2')
    expect((await send(card, '00200080', '31313131')).sw).toBe('6a80')
    expect((await send(card, '00200080', '3131313131ff31ff')).sw).toBe('6a80')
    expect(await tries(card)).toBe('63c2')
    expect((await verifyPin(card)).sw).toBe('9000')
    expect(await tries(card)).toBe('9000')
    expect(card.pinTriesLeft).toBe(3)
    for (const sw of ['63c2', '63c1', '6983']) {
      expect((await send(card, '00200080', '313131313131ffff')).sw).toBe(sw)
      expect(card.pinVerified).toBe(false)
    }
    expect((await verifyPin(card)).sw).toBe('6983')
    expect(await tries(card)).toBe('6983')
    expect((await send(card, '002c0080', '3131313131313131 363534333231ffff')).sw).toBe('63c2')
    expect((await send(card, '002c0080', '3132333435363738 363534333231ffff')).sw).toBe('9000')
    expect((await send(card, '00200080', '363534333231ffff')).sw).toBe('9000')
    expect((await send(card, '00240080', `363534333231ffff ${pin}`)).sw).toBe('9000')
    expect((await send(card, '00240081', '3132333435363738 3837363534333231')).sw).toBe('9000')
    expect((await send(card, '00200000', pin)).sw).toBe('6a88')
  })
  test('a wrong PUK resets the verification of the PIN, the right one does not', async () => {
    const card = await ready()
    await verifyPin(card)
    expect((await send(card, '002c0080', `3132333435363738 ${pin}`)).sw).toBe('9000')
    expect(card.pinVerified).toBe(true)
    expect((await send(card, '002c0080', `3131313131313131 ${pin}`)).sw).toBe('63c2')
    expect(card.pinVerified).toBe(false)
  })
  test('P1 FF and a reset of the card reset the verification, selecting the applet again does not', async () => {
    const card = await ready()
    await verifyPin(card)
    await select(card)
    expect(await tries(card)).toBe('9000')
    expect((await raw(card, '0020ff80')).sw).toBe('9000')
    expect(await tries(card)).toBe('63c3')
    await verifyPin(card)
    card.reset('warm')
    expect(card.pinVerified).toBe(false)
    expect((await raw(card, '00200080')).sw).toBe('6d00')
  })
})

describe('the PIV card: lengths', () => {
  test('with an extended Le the card returns the complete object in one response', async () => {
    const card = await ready()
    const { data, sw } = await raw(card, '00cb3fff 000005 5c035fc105 0000')
    expect([data.length, sw]).toEqual([913, '9000'])
  })
  test('with a short Le the card returns that number of bytes, and 61xx with the number left', async () => {
    const card = await ready()
    expect((await raw(card, '00cb3fff055c035fc10500')).sw).toBe('6100')
    const part = await raw(card, '00cb3fff055c035fc10210')
    expect([part.data.length, part.sw]).toEqual([16, '612d'])
    expect((await raw(card, '00c000002d')).data).toHaveLength(45)
    expect((await raw(card, '00c000002d')).sw).toBe('6985')
  })
  test('without Le the card returns up to 256 bytes, as yubico-piv-tool expects', async () => {
    const card = await ready()
    const discovery = await raw(card, '00cb3fff035c017e')
    expect(discovery).toEqual(await raw(card, '00cb3fff035c017e00'))
    expect(discovery.data).toHaveLength(20)
    const certificate = await raw(card, '00cb3fff055c035fc105')
    expect(certificate.data).toHaveLength(256)
    expect(certificate.sw).toBe('6100')
  })

  test('with wrongLe 6Cxx the card returns the right length for a wrong Le', async () => {
    const card = await ready({ wrongLe: '6Cxx' })
    expect((await raw(card, '00cb3fff055c035fc10210')).sw).toBe('6c3d')
    expect((await raw(card, '00cb3fff055c035fc1023d')).sw).toBe('9000')
    await raw(card, '00cb3fff055c035fc10500')
    expect((await raw(card, '00c0000001')).sw).toBe('6c00')
    expect((await raw(card, '00c0000000')).data).toHaveLength(256)
  })
  test('a card without extended lengths rejects extended commands', async () => {
    const card = await ready({ extendedLength: false })
    expect((await raw(card, '00cb3fff 000005 5c035fc105 0000')).sw).toBe('6700')
  })
  test('commands with inconsistent lengths are rejected with 6700, and the log has every command', async () => {
    const card = await ready()
    for (const bad of [
      '',
      '00',
      '00a404',
      '00a40400ff01',
      '00cb3fff0001',
      '00cb3fff00000000',
      '00cb3fff0000055c',
    ]) {
      expect((await raw(card, bad)).sw).toBe('6700')
    }
    expect(card.log).toHaveLength(8)
    expect(card.log[0]).toEqual({ cla: 0, ins: 0xa4, p1: 4, p2: 0, dataBytes: 5, sw: 0x9000 })
  })
})

test('a PIV command that was sent before a loss of power changes nothing', async () => {
  const card = await ready()
  const late = verifyPin(card)
  card.powerOff()
  expect((await late).sw).toBe('6f00')
  expect(card.pinVerified).toBe(false)
})

test('for any command bytes, the PIV card does not throw and returns a status word', async () => {
  const ins = fc.constantFrom(0x20, 0x24, 0x2c, 0x47, 0x87, 0xa4, 0xc0, 0xcb, 0xdb, 0xfb, 0xfe, 0xff)
  const built = fc
    .tuple(
      fc.constantFrom(0, 0x10, 0x0c),
      ins,
      fc.nat(255),
      fc.constantFrom(0x80, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0xff, 0),
      fc.uint8Array({ maxLength: 40 }),
    )
    .filter(([, code]) => code !== 0x47)
    .map(([cla, code, p1, p2, data]) => Uint8Array.of(cla, code, p1, p2, data.length, ...data))
  const commands = fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), built), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      const card = await ready({ vendorExtensions: true })
      for (const command of sequence) {
        expect((await card.process(command)).length).toBeGreaterThanOrEqual(2)
      }
      expect(card.log).toHaveLength(sequence.length + 1)
    }),
    { numRuns: 100 },
  )
})
