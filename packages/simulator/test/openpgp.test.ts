/** Tests of the virtual OpenPGP card, with results checked by node:crypto (OpenPGP card application 3.4, 4 and 7). */
import {
  createHash,
  createPublicKey,
  constants,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  verify,
} from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  AppletCard,
  createOpenPgpCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  type OpenPgpKeyUse,
  openpgp,
  piv,
} from '../src/index.ts'
import { hex, send as sendTo, show } from './piv-terminal.ts'

const text = (value: string): string => Buffer.from(value).toString('hex')
const pin = text('123456')
const adminPin = text('12345678')
const message = Buffer.from('Dear reader,\n')
const digest = createHash('sha256').update(message).digest('hex')
const digestInfo = `3031300d060960864801650304020105000420${digest}`
const aid = 'd276000124010304ff004a0000010000'

async function start(options: OpenPgpCardOptions = {}) {
  const card = createOpenPgpCard(options)
  /** Sends a command and resolves to the response data and the status word in one hex string. */
  const send = async (header: string, data = ''): Promise<string> => {
    const response = await sendTo(card, header, data)
    return show(response.data) + response.sw
  }
  expect(await send('00a40400', 'd27600012401')).toBe('9000')
  return { card, send }
}

const keyOf = (card: OpenPgpCard, use: OpenPgpKeyUse): KeyObject =>
  createPublicKey({ key: Buffer.from(card.publicKeyOf(use) ?? []), format: 'der', type: 'spki' })

describe('the OpenPGP card: selection and data objects', () => {
  it('is selected by RID and application or by its full AID, but not by another AID', async () => {
    const { send } = await start()
    expect(await send('00a40400', aid)).toBe('9000')
    expect(await send('00a40400', 'd27600012402')).toBe('6a82')
    expect(await send('00ca004f')).toBe(`${aid}9000`)
  })

  it('returns the data objects of a new card', async () => {
    const { card, send } = await start()
    expect(await send('00ca5f52')).toBe('0031c573c001c00090009000')
    expect(show(card.atr)).toContain('0031c573c001c0009000')
    expect(await send('00ca005e')).toBe(`${text('ada')}9000`)
    expect(await send('00ca5f50')).toBe('9000')
    expect(await send('00ca0065')).toBe(`65185b0d${text('Lovelace<<Ada')}5f2d02${text('en')}5f3501399000`)
    expect(await send('00ca007a')).toBe('7a0593030000009000')
    expect(await send('00ca00c4')).toBe('007f7f7f0300039000')
    expect(await send('00ca00f9')).toBe('8101009000')
    expect(await send('00ca7f66')).toBe('7f660802020800020208009000')
    expect(await send('00ca7f21')).toBe('9000')
    expect(await send('00ca00de')).toBe('0101020103019000')
    expect(await send('00ca00c1')).toBe('132a8648ce3d0301079000')
    // For each key: RSA 2048 first, then the curves.
    const p256 = '132a8648ce3d030107'
    expect(await send('00ca00fa')).toMatch(new RegExp(`^fa76c106010800002000c109${p256}.*c206.*c306.*9000$`))
  })

  it('returns the application related data with all its parts', async () => {
    const { send } = await start({ algorithms: { authentication: 'rsa2048' } })
    const fingerprints = (await send('00ca00c5')).slice(0, -4)
    expect(fingerprints).toMatch(/^[0-9a-f]{120}$/)
    const discretionary = [
      'c00a550000ff080000ff0000',
      'c109132a8648ce3d030107c209122a8648ce3d030107c306010800002000',
      'c407007f7f7f030003',
      `c53c${fingerprints}c63c${'00'.repeat(60)}`,
      `cd0c${'5e0be100'.repeat(3)}`,
      'de06010102010301',
    ].join('')
    const whole = `4f10${aid}5f520a0031c573c001c00090007f6608020208000202080073 81c5 ${discretionary}`
    expect(await send('00ca006e')).toBe(`6e81f2${whole}9000`.replaceAll(' ', ''))
    expect(await send('00ca0073')).toBe(`7381c5${discretionary}9000`)
  })

  it('does not state extended lengths if extendedLength is false', async () => {
    const { send } = await start({ extendedLength: false })
    expect(await send('00ca5f52')).toBe('0031c573c001800090009000')
  })

  it('rejects unknown data objects, commands and parameters', async () => {
    const { send } = await start()
    for (const tag of ['0101', '00d6', '7f74', '1234']) expect(await send(`00ca${tag}`)).toBe('6a88')
    for (const header of ['00220000', '00e60000', '00440000', '00db3fff', '00f10000', '00cc7f21'])
      expect(await send(header)).toBe('6d00')
    expect(await send('00200181', pin)).toBe('6a86')
    expect(await send('00200080', pin)).toBe('6a88')
    expect(await send('002a9e9b', digest)).toBe('6a86')
    expect(await send('00478100', 'b700')).toBe('6a80')
    expect(await send('00478200', 'b600')).toBe('6a86')
  })

  it('returns the requested number of random bytes, and rejects a request without Le', async () => {
    const { card } = await start({ random: (length) => new Uint8Array(length).fill(7) })
    expect(show(await card.process(hex('0084000008')))).toBe(`${'07'.repeat(8)}9000`)
    expect(show(await card.process(hex('00840000')))).toBe('6700')
  })

  it('stores three certificates, which SELECT DATA selects', async () => {
    const { send } = await start({
      certificates: { authentication: hex('3001aa'), signature: hex('3001bb') },
    })
    expect(await send('00ca7f21')).toBe('3001aa9000')
    expect(await send('00a50204', '60045c027f21')).toBe('9000')
    expect(await send('00ca7f21')).toBe('3001bb9000')
    expect(await send('00a50304', '60045c027f21')).toBe('6a88')
    await send('00200083', adminPin)
    expect(await send('00da7f21', '3001cc')).toBe('9000')
    await send('00a40400', aid)
    expect(await send('00ca7f21')).toBe('3001aa9000')
    await send('00a50204', '60045c027f21')
    expect(await send('00ca7f21')).toBe('3001cc9000')
  })

  it('resets verified PINs when another applet is selected, and when it is selected again', async () => {
    const pivApplet = piv()
    const applet = openpgp()
    const card = new AppletCard({ applets: [pivApplet, applet] })
    const send = async (header: string, data = '') => (await sendTo(card, header, data)).sw
    await send('00a40400', 'a000000308')
    expect(await send('00200080', `${pin}ffff`)).toBe('9000')
    await send('00a40400', 'd27600012401')
    expect(pivApplet.pinVerified).toBe(false)
    expect(await send('00200082', pin)).toBe('9000')
    await send('00a40400', 'a000000308')
    expect(applet.verified).toEqual([])
    await send('00a40400', 'd27600012401')
    await send('00200083', adminPin)
    expect(applet.verified).toEqual(['83'])
    await send('00a40400', 'd27600012401')
    expect(applet.verified).toEqual([])
  })
})

describe('the OpenPGP card: PW1, PW3 and the resetting code', () => {
  it('has two verification states and one retry counter for PW1', async () => {
    const { card, send } = await start()
    expect(await send('00200081')).toBe('63c3')
    expect(await send('00200081', pin)).toBe('9000')
    expect(await send('00200081')).toBe('9000')
    expect(await send('00200082')).toBe('63c3')
    expect(await send('00200082', text('654321'))).toBe('63c2')
    expect(card.verified).toEqual(['81'])
    expect(await send('00ca00c4')).toBe('007f7f7f0200039000')
    expect(await send('00200081', text('654321'))).toBe('63c1')
    expect(card.verified).toEqual([])
    expect(await send('00200082', pin)).toBe('9000')
    expect(card.pinTriesLeft).toBe(3)
  })

  it('resets a verification with P1 FF', async () => {
    const { card, send } = await start()
    for (const reference of ['81', '82']) await send(`002000${reference}`, pin)
    expect(await send('0020ff81')).toBe('9000')
    expect(card.verified).toEqual(['82'])
    expect(await send('0020ff82', pin)).toBe('6a80')
  })

  it('does not decrement the retry counter for a PIN with an invalid length', async () => {
    const { card, send } = await start()
    expect(await send('00200081', text('12345'))).toBe('6a80')
    expect(await send('00200083', text('1234567'))).toBe('6a80')
    expect(await send('00200081', '31'.repeat(128))).toBe('6a80')
    expect([card.pinTriesLeft, card.adminPinTriesLeft]).toEqual([3, 3])
  })

  // The steps of "Reset with admin" in Nitrokey/opcard-rs. That card returns 63C0 where this one returns 6983.
  it('blocks PW1 after three wrong PINs, until the admin resets its counter', async () => {
    const { send } = await start()
    const wrong = text('New pin')
    for (const expected of ['63c2', '63c1', '63c0', '6983', '6983'])
      expect(await send('00200081', wrong)).toBe(expected)
    expect(await send('002c0281', text('234567'))).toBe('6982')
    expect(await send('00200083', adminPin)).toBe('9000')
    expect(await send('00200081', pin)).toBe('6983')
    expect(await send('002c0281', text('234567'))).toBe('9000')
    expect(await send('00200081', text('234567'))).toBe('9000')
  })

  it('returns 6982 for a wrong PIN if wrongPin is 6982', async () => {
    const { card, send } = await start({ wrongPin: '6982', pinTries: 2 })
    for (const expected of ['6982', '6982', '6983'])
      expect(await send('00200082', text('654321'))).toBe(expected)
    expect(await send('00200082')).toBe('63c0')
    expect(card.pinTriesLeft).toBe(0)
  })

  it('changes a PIN if the old one is right, and resets its verification', async () => {
    const { card, send } = await start()
    await send('00200081', pin)
    expect(await send('00240081', text('654321') + text('new PIN'))).toBe('63c2')
    expect(await send('00240081', pin + text('short'))).toBe('6a80')
    expect(await send('00240081', pin + text('new PIN'))).toBe('9000')
    expect(card.verified).toEqual([])
    expect(await send('00200081', pin)).toBe('63c2')
    expect(await send('00200081', text('new PIN'))).toBe('9000')
    expect(await send('00240083', adminPin + text('87654321'))).toBe('9000')
    expect(await send('00240082', pin + pin)).toBe('6a88')
  })

  it('resets PW1 with the resetting code, which the admin can write and delete', async () => {
    const { send } = await start()
    const code = text('resetting')
    expect(await send('002c0081', code + pin)).toBe('6982')
    expect(await send('00da00d3', code)).toBe('6982')
    await send('00200083', adminPin)
    expect(await send('00da00d3', code)).toBe('9000')
    expect(await send('00ca00c4')).toBe('007f7f7f0303039000')
    expect(await send('002c0081', text('wrongcode') + pin)).toBe('63c2')
    expect(await send('002c0081', code + text('234567'))).toBe('9000')
    expect(await send('00200082', text('234567'))).toBe('9000')
    expect(await send('00da00d3')).toBe('9000')
    expect(await send('002c0081', code + pin)).toBe('6982')
  })

  it.each([
    ['sha256', 3, '08', 32],
    ['sha512', 3, '0a', 64],
    ['sha256', 1, '08', 32],
  ] as const)(
    'requires PINs derived with %s and %i salts, and treats the plain PIN as wrong',
    async (kdf, kdfSalts, number, bytes) => {
      const { send } = await start({ kdf, kdfSalts })
      const object = await send('00ca00f9')
      const others = kdfSalts === 1 ? '' : '8508(?:.{16})8608(.{16})'
      const form = new RegExp(`^8101038201${number}8304(.{8})8408(.{16})${others}87`)
      // A single salt is also used for the admin PIN.
      const [, countHex = '', salt = '', adminSalt = salt] = form.exec(object) ?? []
      const count = Number.parseInt(countHex, 16)
      // RFC 4880, 3.7.1.3: salt and PIN repeated and truncated to `count` bytes.
      const derive = (ownSalt: string, secret: string): string => {
        const once = ownSalt + secret
        const all = once.repeat(Math.ceil((2 * count) / once.length)).slice(0, 2 * count)
        return createHash(kdf).update(Buffer.from(all, 'hex')).digest('hex')
      }
      const derived = derive(salt, pin)
      const derivedAdmin = derive(adminSalt, adminPin)
      expect(object).toContain(`87${bytes.toString(16)}${derived}88${bytes.toString(16)}${derivedAdmin}`)
      expect(await send('00200081', pin)).toBe('63c2')
      expect(await send('00200081', derived)).toBe('9000')
      expect(await send('00200083', derivedAdmin)).toBe('9000')
      expect(await send('00da00f9', '810100')).toBe('9000')
      expect(await send('00200081', pin)).toBe('9000')
    },
  )

  it('uses the PINs of a KDF object that the admin writes, and rejects a malformed one', async () => {
    const { send } = await start()
    await send('00200083', adminPin)
    const [first, second] = ['aa'.repeat(32), 'bb'.repeat(32)]
    const object = `810103820108830400010000840830313233343536378720${first}8820${second}`
    expect(await send('00da00f9', object.slice(0, -2))).toBe('6a80')
    expect(await send('00da00f9', object.replace('820108', '820109'))).toBe('6a80')
    expect(await send('00da00f9', object)).toBe('9000')
    expect(await send('00ca00f9')).toBe(`${object}9000`)
    expect(await send('00200081', first)).toBe('9000')
    expect(await send('00200083', second)).toBe('9000')
  })
})

describe('the OpenPGP card: the three keys', () => {
  const raw = 'ieee-p1363' as const

  it('returns a signature as r‖s, and requires PW1 with 81 for each', async () => {
    const { card, send } = await start()
    expect(await send('002a9e9a', digest)).toBe('6982')
    await send('00200082', pin)
    expect(await send('002a9e9a', digest)).toBe('6982')
    await send('00200081', pin)
    const signature = (await send('002a9e9a', digest)).slice(0, -4)
    const key = { key: keyOf(card, 'signature'), dsaEncoding: raw }
    expect(verify('sha256', message, key, Buffer.from(signature, 'hex'))).toBe(true)
    expect(card.verified).toEqual(['82'])
    expect(await send('002a9e9a', digest)).toBe('6982')
    expect(await send('00ca007a')).toBe('7a0593030000019000')
  })

  it('signs again without PW1 if PW status byte 0 is 01', async () => {
    const { card, send } = await start()
    expect(await send('00da00c4', '01')).toBe('6982')
    await send('00200083', adminPin)
    for (const wrong of ['', '02', '0101']) expect(await send('00da00c4', wrong)).toBe('6a80')
    expect(await send('00da00c4', '01')).toBe('9000')
    await send('00200081', pin)
    for (let count = 1; count <= 2; count++)
      expect(await send('002a9e9a', digest)).toMatch(/^[0-9a-f]{128}9000$/)
    expect(card.signatureCount).toBe(2)
  })

  it('resets the verification of PW1 after a digest that does not fit, and counts no signature', async () => {
    const { card, send } = await start()
    await send('00200081', pin)
    expect(await send('002a9e9a', `${digest}00`)).toBe('6a80')
    expect([card.verified, card.signatureCount]).toEqual([[], 0])
  })

  it('pads the input of an RSA signature, which is at most 40 % of the modulus', async () => {
    const { card, send } = await start({
      algorithms: { signature: 'rsa2048', authentication: 'rsa2048' },
      pinPerSignature: false,
    })
    await send('00200081', pin)
    await send('00200082', pin)
    for (const [header, use] of [
      ['002a9e9a', 'signature'],
      ['00880000', 'authentication'],
    ] as const) {
      const signature = Buffer.from((await send(header, digestInfo)).slice(0, -4), 'hex')
      expect(verify('sha256', message, keyOf(card, use), signature)).toBe(true)
      expect(await send(header, '00'.repeat(103))).toBe('6a80')
    }
  })

  it.each(['p256', 'p384', 'ed25519'] as const)(
    'authenticates with %s after PW1 with 82',
    async (algorithm) => {
      const { card, send } = await start({ algorithms: { authentication: algorithm } })
      const isEd = algorithm === 'ed25519'
      await send('00200081', pin)
      expect(await send('00880000', digest)).toBe('6982')
      await send('00200082', pin)
      const signature = (await send('00880000', isEd ? message.toString('hex') : digest)).slice(0, -4)
      const key = { key: keyOf(card, 'authentication'), dsaEncoding: raw }
      expect(verify(isEd ? null : 'sha256', message, key, Buffer.from(signature, 'hex'))).toBe(true)
      expect(card.verified).toEqual(['81', '82'])
    },
  )

  it.each([
    ['p256', 'prime256v1'],
    ['p384', 'secp384r1'],
    ['x25519', undefined],
  ] as const)('agrees on a secret with %s', async (algorithm, namedCurve) => {
    const { card, send } = await start({ algorithms: { decryption: algorithm } })
    const other = namedCurve ? generateKeyPairSync('ec', { namedCurve }) : generateKeyPairSync('x25519')
    const jwk = other.publicKey.export({ format: 'jwk' })
    const coordinate = (value = '') => Buffer.from(value, 'base64url').toString('hex')
    const point = (namedCurve ? '04' : '') + coordinate(jwk.x) + coordinate(jwk.y)
    const object = (tag: string, value: string) =>
      tag + (value.length / 2).toString(16).padStart(2, '0') + value
    const data = object('a6', object('7f49', object('86', point)))
    expect(await send('002a8086', data)).toBe('6982')
    await send('00200082', pin)
    const secret = diffieHellman({ privateKey: other.privateKey, publicKey: keyOf(card, 'decryption') })
    expect(await send('002a8086', data)).toBe(`${secret.toString('hex')}9000`)
    expect(await send('002a8086', data.slice(0, -2))).toBe('6a80')
    expect(await send('002a8086', object('a6', object('7f49', object('86', '04'.repeat(65)))))).toBe('6a80')
  })

  it('decrypts with RSA, and rejects invalid padding', async () => {
    const { card, send } = await start({ algorithms: { decryption: 'rsa2048' } })
    await send('00200082', pin)
    const key = { key: keyOf(card, 'decryption'), padding: constants.RSA_PKCS1_PADDING }
    const sealed = publicEncrypt(key, message).toString('hex')
    expect(await send('002a8086', `00${sealed}`)).toBe(`${message.toString('hex')}9000`)
    expect(await send('002a8086', sealed)).toBe('6a80')
    expect(await send('002a8086', `00${'00'.repeat(255)}01`)).toBe('6a80')
    expect(await send('002a8086', `00${'ff'.repeat(256)}`)).toBe('6a80')
  })

  // The steps of "Key not found" in Nitrokey/opcard-rs.
  it('returns 6A88 for missing keys', async () => {
    const { card, send } = await start({ absentKeys: ['signature', 'decryption', 'authentication'] })
    await send('00200081', pin)
    expect(await send('002a9e9a')).toBe('6a88')
    await send('00200082', pin)
    expect(await send('002a8086', '00')).toBe('6a88')
    expect(await send('00880000')).toBe('6a88')
    for (const template of ['b600', 'b800', 'a400']) expect(await send('00478100', template)).toBe('6a88')
    expect(await send('00ca00de')).toBe('0100020003009000')
    expect(await send('00ca00c5')).toBe(`${'00'.repeat(60)}9000`)
    expect(card.publicKeyOf('signature')).toBeUndefined()
  })

  it('returns public keys without a PIN, as a point or as modulus and exponent', async () => {
    const { card, send } = await start({ algorithms: { decryption: 'rsa2048', authentication: 'ed25519' } })
    const hexOf = (value = '') => Buffer.from(value, 'base64url').toString('hex')
    const signature = keyOf(card, 'signature').export({ format: 'jwk' })
    const decryption = keyOf(card, 'decryption').export({ format: 'jwk' })
    const authentication = keyOf(card, 'authentication').export({ format: 'jwk' })
    const point = `04${hexOf(signature.x)}${hexOf(signature.y)}`
    expect(await send('00478100', 'b600')).toBe(`7f49438641${point}9000`)
    expect(await send('00478100', 'b603840101')).toBe(`7f49438641${point}9000`)
    expect(await send('00478100', 'b603840102')).toBe('6a80')
    expect(await send('00478100', 'b800')).toBe(`7f4982010981820100${hexOf(decryption.n)}82030100019000`)
    expect(await send('00478100', 'a400')).toBe(`7f49228620${hexOf(authentication.x)}9000`)
  })

  it('generates a key with the algorithm in the attributes, if PW3 is verified', async () => {
    const { card, send } = await start()
    await send('00200081', pin)
    await send('002a9e9a', digest)
    const before = card.publicKeyOf('signature')
    expect(await send('00478000', 'b600')).toBe('6982')
    await send('00200083', adminPin)
    expect(await send('00da00c1', '162b06010401da470f01')).toBe('9000')
    expect(await send('00ca00de')).toBe('0100020103019000')
    expect(await send('00da00c1', '122b060104019755010501')).toBe('6a80')
    expect(await send('00478000', 'b600')).toMatch(/^7f49228620[0-9a-f]{64}9000$/)
    expect(await send('00ca00de')).toBe('0101020103019000')
    expect(card.publicKeyOf('signature')).not.toEqual(before)
    expect(await send('00ca007a')).toBe('7a0593030000009000')
    await send('00200081', pin)
    const signature = Buffer.from((await send('002a9e9a', message.toString('hex'))).slice(0, -4), 'hex')
    expect(verify(null, message, keyOf(card, 'signature'), signature)).toBe(true)
  })

  it('lets the admin write names, fingerprints and times with the right length', async () => {
    const { send } = await start()
    expect(await send('00da005b', text('Hopper<<Grace'))).toBe('6982')
    await send('00200083', adminPin)
    expect(await send('00da005b', text('Hopper<<Grace'))).toBe('9000')
    expect(await send('00ca0065')).toContain(text('Hopper<<Grace'))
    expect(await send('00da00c8', 'ab'.repeat(20))).toBe('9000')
    expect(await send('00ca00c5')).toMatch(new RegExp(`^.{40}${'ab'.repeat(20)}.{40}9000$`))
    expect(await send('00da00cb', 'cd'.repeat(20))).toBe('9000')
    expect(await send('00ca00c6')).toBe(`${'00'.repeat(20)}${'cd'.repeat(20)}${'00'.repeat(20)}9000`)
    expect(await send('00da00d0', '01020304')).toBe('9000')
    expect(await send('00ca00cd')).toBe('5e0be1005e0be100010203049000')
    expect(await send('00da00c8', 'ab'.repeat(19))).toBe('6a80')
    for (const tag of ['004f', '00c0', '00d6', '00d5']) expect(await send(`00da${tag}`, '00')).toBe('6a88')
  })

  it('waits for a touch if the key requires one, and returns 6600 without it', async () => {
    const touched: OpenPgpKeyUse[] = []
    let isThere = true
    const { card, send } = await start({
      touch: { signature: 'on', decryption: 'fixed' },
      onTouch: (use) => touched.push(use) > 0 && isThere,
    })
    expect(await send('00ca006e')).toContain('7f7403810120')
    expect(await send('00ca006e')).toContain('d6020120d7020220d8020020')
    await send('00200081', pin)
    expect(await send('002a9e9a', digest)).toMatch(/9000$/)
    isThere = false
    await send('00200081', pin)
    expect(await send('002a9e9a', digest)).toBe('6600')
    await send('00200082', pin)
    expect(await send('00880000', digest)).toMatch(/9000$/)
    expect([touched, card.signatureCount]).toEqual([['signature', 'signature'], 1])
    await send('00200083', adminPin)
    expect(await send('00da00d6', '0020')).toBe('9000')
    expect(await send('00da00d7', '0020')).toBe('6a80')
    expect(await send('00ca00d6')).toBe('00209000')
  })

  it('makes no signature if it is reset while it waits for a touch', async () => {
    let touch: (isThere: boolean) => void = () => {}
    const { card, send } = await start({
      touch: { signature: 'on' },
      onTouch: () => new Promise((resolve) => (touch = resolve)),
    })
    await send('00200081', pin)
    const response = send('002a9e9a', digest)
    await new Promise((resolve) => setImmediate(resolve))
    card.reset('warm')
    touch(true)
    expect(await response).toBe('6f00')
    expect(card.signatureCount).toBe(0)
  })

  it('throws RangeError for an algorithm that the use of a key does not permit', () => {
    expect(() => createOpenPgpCard({ algorithms: { signature: 'x25519' } })).toThrow(RangeError)
    expect(() => createOpenPgpCard({ algorithms: { decryption: 'ed25519' } })).toThrow(RangeError)
  })
})
