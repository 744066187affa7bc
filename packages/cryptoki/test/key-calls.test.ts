/**
 * Single-part key management functions with a virtual PIV card: what they refuse and how they end (PKCS#11
 * v3.0, 5.18).
 */
import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import {
  type Attributes,
  CKA,
  CKD,
  CKG,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  isCryptokiError,
  type Session,
  type WrapMechanism,
} from '@webtoki/cryptoki'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, KeyUsage, makeKey, pointOf } from './key-management.ts'
import { bytesOf, commands, HeldResponse, object, open, rv, type SetupOptions } from './piv-setup.ts'

const hex = (digits: string): Uint8Array => Uint8Array.from(Buffer.from(digits, 'hex'))
const random = (bytes: number): Uint8Array => Uint8Array.from(randomBytes(bytes))
const iv = random(16)
const oaep = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 } as const

const aes: Attributes = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES }
const generic: Attributes = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET }
const readable: Attributes = { [CKA.SENSITIVE]: false, [CKA.EXTRACTABLE]: true }

async function setUp(options: SetupOptions = {}) {
  const opened = await open({ cryptoki: { login: 'on-demand' }, ...options })
  onTestFinished(() => opened.cryptoki.close())
  return opened
}

/** With a card whose 9D key is known to the test. */
async function setUpCard(type: keyof typeof makeKey, options: SetupOptions = {}) {
  const privateKey = makeKey[type]()
  const keyUsage = KeyUsage.keyEncipherment | KeyUsage.dataEncipherment | KeyUsage.keyAgreement
  const opened = await setUp({ card: cardWith(privateKey, { keyUsage }), ...options })
  const key = await object(opened.session, CKO.PRIVATE_KEY, 3)
  return { ...opened, privateKey, publicKey: createPublicKey(privateKey), key }
}

const wrapping = (session: Session, value: Uint8Array, more: Attributes = {}): Promise<CkObject> =>
  session.createObject({ ...aes, [CKA.VALUE]: value, [CKA.WRAP]: true, [CKA.UNWRAP]: true, ...more })

async function codeOf(call: () => unknown): Promise<number> {
  try {
    await call()
    return CKR.OK
  } catch (error) {
    if (isCryptokiError(error)) return error.rv
    throw error
  }
}

const secrets = async (session: Session): Promise<number> =>
  (await session.findObjects({ [CKA.CLASS]: CKO.SECRET_KEY })).length

describe('a generated key', () => {
  it.each([
    ['AES', CKM.AES_KEY_GEN, CKK.AES, 24],
    ['generic secret', CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET, 7],
  ] as const)('%s is local, always sensitive and never extractable', async (_, type, keyType, length) => {
    const { session } = await setUp()
    const key = await session.generateKey({ type }, { [CKA.VALUE_LEN]: length })
    expect(key.attributes).toMatchObject({
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: keyType,
      [CKA.VALUE_LEN]: length,
      [CKA.LOCAL]: true,
      [CKA.KEY_GEN_MECHANISM]: type,
      [CKA.SENSITIVE]: true,
      [CKA.ALWAYS_SENSITIVE]: true,
      [CKA.EXTRACTABLE]: false,
      [CKA.NEVER_EXTRACTABLE]: true,
    })
    expect(key.read([CKA.VALUE]).rv).toBe(CKR.ATTRIBUTE_SENSITIVE)
    expect(await session.findObjects({ [CKA.UNIQUE_ID]: key.get(CKA.UNIQUE_ID) })).toEqual([key])
  })

  it('with CKA_SENSITIVE false differs each time and was not always protected', async () => {
    const { session } = await setUp()
    const template = { ...readable, [CKA.VALUE_LEN]: 32 }
    const values = new Set<string>()
    for (let made = 0; made < 4; made++) {
      const key = await session.generateKey({ type: CKM.AES_KEY_GEN }, template)
      expect(key.get(CKA.ALWAYS_SENSITIVE) || key.get(CKA.NEVER_EXTRACTABLE)).toBe(false)
      expect(key.get(CKA.VALUE)).toHaveLength(32)
      values.add(Buffer.from(key.get(CKA.VALUE)).toString('hex'))
    }
    expect(values.size).toBe(4)
  })

  it.each<[string, object, Attributes, number]>([
    ['without a length', { type: CKM.AES_KEY_GEN }, {}, CKR.TEMPLATE_INCOMPLETE],
    ['of 15 bytes', { type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 15 }, CKR.ATTRIBUTE_VALUE_INVALID],
    [
      'of no bytes',
      { type: CKM.GENERIC_SECRET_KEY_GEN },
      { [CKA.VALUE_LEN]: 0 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'of 2^32 bytes',
      { type: CKM.GENERIC_SECRET_KEY_GEN },
      { [CKA.VALUE_LEN]: 2 ** 32 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'with a value',
      { type: CKM.AES_KEY_GEN },
      { [CKA.VALUE_LEN]: 16, [CKA.VALUE]: iv },
      CKR.ATTRIBUTE_READ_ONLY,
    ],
    [
      'of another type',
      { type: CKM.AES_KEY_GEN },
      { [CKA.VALUE_LEN]: 16, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET },
      CKR.TEMPLATE_INCONSISTENT,
    ],
    [
      'on the card',
      { type: CKM.AES_KEY_GEN },
      { [CKA.VALUE_LEN]: 16, [CKA.TOKEN]: true },
      CKR.TOKEN_WRITE_PROTECTED,
    ],
    ['by a cipher', { type: CKM.AES_ECB }, { [CKA.VALUE_LEN]: 16 }, CKR.MECHANISM_INVALID],
    ['with an IV', { type: CKM.AES_KEY_GEN, iv }, { [CKA.VALUE_LEN]: 16 }, CKR.MECHANISM_PARAM_INVALID],
    ['by nothing', undefined as never, { [CKA.VALUE_LEN]: 16 }, CKR.ARGUMENTS_BAD],
  ])('is refused: %s', async (_, mechanism, template, expected) => {
    const { session } = await setUp()
    expect(await codeOf(() => session.generateKey(mechanism as never, template))).toBe(expected)
    expect(await secrets(session)).toBe(0)
  })

  it('with CKA_PRIVATE needs a login', async () => {
    const { session } = await setUp({ cryptoki: { login: 'explicit' } })
    const make = () =>
      session.generateKey({ type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 16, [CKA.PRIVATE]: true }).result()
    expect(await codeOf(make)).toBe(CKR.USER_NOT_LOGGED_IN)
    await session.login(CKU.USER)
    expect((await make()).isPrivate).toBe(true)
  })
})

describe('a wrapped key', () => {
  it.each([
    [
      CKM.AES_KEY_WRAP,
      16,
      '000102030405060708090a0b0c0d0e0f',
      '00112233445566778899aabbccddeeff',
      '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5',
    ],
    [
      CKM.AES_KEY_WRAP,
      32,
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f',
      '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21',
    ],
    [
      CKM.AES_KEY_WRAP_KWP,
      20,
      '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
      'c37b7e6492584340bed12207808941155068f738',
      '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
    ],
    [
      CKM.AES_KEY_WRAP_KWP,
      7,
      '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
      '466f7250617369',
      'afbeb0f07dfbf5419200f2ccb50bb24f',
    ],
  ] as const)(
    'equals the example of RFC 3394 or RFC 5649: %i of %i bytes',
    async (type, length, kek, value, expected) => {
      const { session } = await setUp()
      const own = await wrapping(session, hex(kek))
      const key = await session.createObject({ ...generic, [CKA.VALUE]: hex(value), [CKA.EXTRACTABLE]: true })
      const wrapped = await session.wrapKey({ type }, own, key)
      expect(wrapped).toEqual(hex(expected))
      const back = await session.unwrapKey({ type }, own, wrapped, { ...generic, [CKA.SENSITIVE]: false })
      expect(back.get(CKA.VALUE)).toEqual(hex(value))
      expect(back.attributes).toMatchObject({
        [CKA.VALUE_LEN]: length,
        [CKA.EXTRACTABLE]: true,
        [CKA.LOCAL]: false,
        [CKA.ALWAYS_SENSITIVE]: false,
        [CKA.NEVER_EXTRACTABLE]: false,
      })
    },
  )

  it.each<[string, WrapMechanism, string]>([
    ['ECB', { type: CKM.AES_ECB }, 'aes-256-ecb'],
    ['CBC', { type: CKM.AES_CBC, iv }, 'aes-256-cbc'],
    ['CBC with padding', { type: CKM.AES_CBC_PAD, iv }, 'aes-256-cbc'],
    ['CTR', { type: CKM.AES_CTR, iv }, 'aes-256-ctr'],
    ['GCM', { type: CKM.AES_GCM, gcm: { iv: iv.slice(0, 12), tagBits: 128 } }, 'aes-256-gcm'],
  ])("with AES-%s equals OpenSSL's and can be unwrapped again", async (_, mechanism, name) => {
    const { session } = await setUp()
    const [kek, value] = [random(32), random(24)]
    const own = await wrapping(session, kek)
    const key = await session.createObject({ ...aes, [CKA.VALUE]: value, [CKA.EXTRACTABLE]: true })
    const wrapped = await session.wrapKey(mechanism, own, key)
    const isZeroPadded = mechanism.type === CKM.AES_ECB || mechanism.type === CKM.AES_CBC
    const usedIv = name.endsWith('ecb') ? null : name.endsWith('gcm') ? iv.slice(0, 12) : iv
    const cipher = createCipheriv(name, kek, usedIv).setAutoPadding(!isZeroPadded)
    const plain = isZeroPadded ? Buffer.concat([value, Buffer.alloc(8)]) : value
    const judged = Buffer.concat([cipher.update(plain), cipher.final()])
    const tag = name.endsWith('gcm')
      ? (cipher as ReturnType<typeof createCipheriv> & { getAuthTag(): Buffer }).getAuthTag()
      : Buffer.alloc(0)
    expect(wrapped).toEqual(Uint8Array.from(Buffer.concat([judged, tag])))
    const template = { ...aes, [CKA.VALUE_LEN]: 24, [CKA.SENSITIVE]: false }
    expect((await session.unwrapKey(mechanism, own, wrapped, template)).get(CKA.VALUE)).toEqual(value)
  })

  it.each<[string, (keys: Keys) => readonly [WrapMechanism, CkObject, CkObject], number]>([
    ['a key that is not extractable', ({ kek, fixed }) => [kw, kek, fixed], CKR.KEY_UNEXTRACTABLE],
    ['a key of the card', ({ kek, card }) => [kw, kek, card], CKR.KEY_UNEXTRACTABLE],
    ['data', ({ kek, data }) => [kw, kek, data], CKR.KEY_NOT_WRAPPABLE],
    [
      'a key that requires a trusted wrapping key',
      ({ kek, trustedOnly }) => [kw, kek, trustedOnly],
      CKR.KEY_NOT_WRAPPABLE,
    ],
    ['no key', ({ kek }) => [kw, kek, undefined as never], CKR.KEY_HANDLE_INVALID],
    ['by no key', ({ free }) => [kw, undefined as never, free], CKR.WRAPPING_KEY_HANDLE_INVALID],
    ['by a private key', ({ card, free }) => [pkcs1, card, free], CKR.MECHANISM_INVALID],
    ['by a generic secret', ({ free }) => [kw, free, free], CKR.WRAPPING_KEY_TYPE_INCONSISTENT],
    ['by RSA with an AES key', ({ kek, free }) => [pkcs1, kek, free], CKR.WRAPPING_KEY_TYPE_INCONSISTENT],
    ['by a key without CKA_WRAP', ({ fixed, free }) => [kw, fixed, free], CKR.KEY_FUNCTION_NOT_PERMITTED],
    ['a key of 7 bytes by RFC 3394', ({ kek, free }) => [kw, kek, free], CKR.KEY_SIZE_RANGE],
    [
      'without an IV',
      ({ kek, free }) => [{ type: CKM.AES_CBC } as never, kek, free],
      CKR.MECHANISM_PARAM_INVALID,
    ],
  ])('is refused: %s', async (_, choose, expected) => {
    const { session, key: card } = await setUpCard('RSA-2048')
    const keys = {
      card,
      kek: await wrapping(session, random(16)),
      fixed: await session.createObject({ ...aes, [CKA.VALUE]: random(16) }),
      free: await session.createObject({ ...generic, [CKA.VALUE]: random(7), [CKA.EXTRACTABLE]: true }),
      trustedOnly: await session.createObject({
        ...aes,
        [CKA.VALUE]: random(16),
        [CKA.EXTRACTABLE]: true,
        [CKA.WRAP_WITH_TRUSTED]: true,
      }),
      data: await session.createObject({ [CKA.CLASS]: CKO.DATA, [CKA.VALUE]: iv }),
    }
    expect(await codeOf(() => session.wrapKey(...choose(keys)))).toBe(expected)
    expect(session.active).toEqual([])
  })
})

type Keys = Readonly<Record<'card' | 'kek' | 'fixed' | 'free' | 'trustedOnly' | 'data', CkObject>>
const kw = { type: CKM.AES_KEY_WRAP } as const
const pkcs1 = { type: CKM.RSA_PKCS } as const

describe('a key unwrapped by the card', () => {
  const paddings = [
    ['PKCS#1', pkcs1, constants.RSA_PKCS1_PADDING],
    ['OAEP', { type: CKM.RSA_PKCS_OAEP, oaep }, constants.RSA_PKCS1_OAEP_PADDING],
  ] as const

  it.each(paddings)('has the value that OpenSSL encrypted with %s', async (_, mechanism, padding) => {
    const { session, key, publicKey } = await setUpCard('RSA-2048')
    const value = random(16)
    const wrapped = Uint8Array.from(publicEncrypt({ key: publicKey, padding, oaepHash: 'sha256' }, value))
    const back = await session.unwrapKey(mechanism, key, wrapped, { ...aes, [CKA.SENSITIVE]: false })
    expect(back.get(CKA.VALUE)).toEqual(value)
  })

  it.each<[string, WrapMechanism]>([
    ['PKCS#1', pkcs1],
    ['OAEP', { type: CKM.RSA_PKCS_OAEP, oaep }],
    ['raw RSA', { type: CKM.RSA_X_509 }],
  ])('has the value that its public key wrapped with %s', async (_, mechanism) => {
    const { session, key, publicKey } = await setUpCard('RSA-2048')
    const { n = '', e = '' } = publicKey.export({ format: 'jwk' })
    const publicObject = await session.createObject({
      [CKA.CLASS]: CKO.PUBLIC_KEY,
      [CKA.KEY_TYPE]: CKK.RSA,
      [CKA.MODULUS]: Uint8Array.from(Buffer.from(n, 'base64url')),
      [CKA.PUBLIC_EXPONENT]: Uint8Array.from(Buffer.from(e, 'base64url')),
      [CKA.WRAP]: true,
    })
    const value = random(32)
    const secret = await session.createObject({ ...aes, [CKA.VALUE]: value, [CKA.EXTRACTABLE]: true })
    const wrapped = await session.wrapKey(mechanism, publicObject, secret)
    const template = { ...aes, [CKA.VALUE_LEN]: 32, [CKA.SENSITIVE]: false }
    expect((await session.unwrapKey(mechanism, key, wrapped, template)).get(CKA.VALUE)).toEqual(value)
  })

  it('has the requested length whatever the PKCS#1 block contains, and the same value each time', async () => {
    const { session, key, publicKey } = await setUpCard('RSA-1024')
    const encrypt = (data: Uint8Array, padding: number) =>
      Uint8Array.from(publicEncrypt({ key: publicKey, padding }, data))
    const raw = (start: number) => Uint8Array.of(0, start, ...random(126))
    const blobs = [
      encrypt(random(15), constants.RSA_PKCS1_PADDING),
      encrypt(new Uint8Array(0), constants.RSA_PKCS1_PADDING),
      encrypt(raw(1), constants.RSA_NO_PADDING),
      encrypt(raw(2).fill(1, 2), constants.RSA_NO_PADDING),
      ...Array.from({ length: 12 }, () => Uint8Array.of(0, ...random(127))),
    ]
    const seen = new Set<string>()
    for (const blob of blobs) {
      const template = { ...generic, [CKA.VALUE_LEN]: 16, [CKA.SENSITIVE]: false }
      const [one, two] = [
        await session.unwrapKey(pkcs1, key, blob, template),
        await session.unwrapKey(pkcs1, key, blob, template),
      ]
      expect(one.get(CKA.VALUE)).toHaveLength(16)
      expect(two.get(CKA.VALUE)).toEqual(one.get(CKA.VALUE))
      expect((await session.unwrapKey(pkcs1, key, blob, aes)).get(CKA.VALUE_LEN)).toBeOneOf([16, 24, 32])
      seen.add(Buffer.from(one.get(CKA.VALUE)).toString('hex'))
    }
    expect(seen.size).toBe(blobs.length)
  })

  it.each<[string, WrapMechanism, Uint8Array, Attributes, number]>([
    ['a block too short', pkcs1, new Uint8Array(127), aes, CKR.WRAPPED_KEY_LEN_RANGE],
    ['a block too long', pkcs1, new Uint8Array(129), aes, CKR.WRAPPED_KEY_LEN_RANGE],
    ['a number above the modulus', pkcs1, new Uint8Array(128).fill(255), aes, CKR.WRAPPED_KEY_INVALID],
    ['raw RSA without a length', { type: CKM.RSA_X_509 }, new Uint8Array(128), aes, CKR.TEMPLATE_INCOMPLETE],
    [
      'more bytes than a block holds',
      { type: CKM.RSA_X_509 },
      new Uint8Array(128),
      { ...generic, [CKA.VALUE_LEN]: 129 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'an AES key of 15 bytes',
      pkcs1,
      new Uint8Array(128),
      { ...aes, [CKA.VALUE_LEN]: 15 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'a template without a type',
      pkcs1,
      new Uint8Array(128),
      { [CKA.CLASS]: CKO.SECRET_KEY },
      CKR.TEMPLATE_INCOMPLETE,
    ],
    ['a value', pkcs1, new Uint8Array(128), { ...aes, [CKA.VALUE]: iv }, CKR.ATTRIBUTE_READ_ONLY],
    ['an AES mechanism', kw, new Uint8Array(128), aes, CKR.MECHANISM_INVALID],
    ['text instead of bytes', pkcs1, 'text' as never, aes, CKR.ARGUMENTS_BAD],
  ])('is refused before the card is used: %s', async (_, mechanism, wrapped, template, expected) => {
    const { session, key, card } = await setUpCard('RSA-1024')
    const before = commands(card).length
    expect(await codeOf(() => session.unwrapKey(mechanism, key, wrapped, template))).toBe(expected)
    expect(commands(card)).toHaveLength(before)
    expect(await secrets(session)).toBe(0)
  })
})

it.each<[string, WrapMechanism]>([
  ['AES-CBC-PAD', { type: CKM.AES_CBC_PAD, iv }],
  ['AES key wrap', kw],
  ['AES key wrap with padding', { type: CKM.AES_KEY_WRAP_KWP }],
  ['AES-GCM', { type: CKM.AES_GCM, gcm: { iv, tagBits: 128 } }],
])('unwrapping random bytes with %s fails with one error in one form', async (_, mechanism) => {
  const { session } = await setUp()
  const own = await wrapping(session, random(16))
  const shapes = new Set<string>()
  for (let tried = 0; tried < 40; tried++) {
    const error: unknown = await session.unwrapKey(mechanism, own, random(48), aes).then(
      (key) => key.get(CKA.VALUE_LEN),
      (thrown: unknown) => thrown,
    )
    // A valid CBC padding of 16 bytes can occur by chance; any other length is refused like a wrong padding.
    if (!isCryptokiError(error)) expect(error).toBe(32)
    else shapes.add(JSON.stringify([error.rvName, error.message, String(error.cause)]))
  }
  expect([...shapes]).toEqual([expect.stringContaining('CKR_WRAPPED_KEY_INVALID')])
})

it.each<[string, (session: Session, kek: CkObject, data: CkObject) => unknown, number]>([
  ['no key', (s) => s.unwrapKey(kw, undefined as never, iv, aes), CKR.UNWRAPPING_KEY_HANDLE_INVALID],
  ['data', (s, _, data) => s.unwrapKey(kw, data, iv, aes), CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT],
  ['an odd length', (s, kek) => s.unwrapKey(kw, kek, iv.subarray(3), aes), CKR.WRAPPED_KEY_LEN_RANGE],
  [
    'a key on the card',
    (s, kek) => s.unwrapKey(kw, kek, iv, { ...aes, [CKA.TOKEN]: true }),
    CKR.TOKEN_WRITE_PROTECTED,
  ],
  [
    'a private key',
    (s, kek) => s.unwrapKey(kw, kek, iv, { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.KEY_TYPE]: CKK.RSA }),
    CKR.TEMPLATE_INCONSISTENT,
  ],
])('unwrapping in software refuses %s', async (_, call, expected) => {
  const { session } = await setUp()
  const kek = await wrapping(session, random(16))
  const data = await session.createObject({ [CKA.CLASS]: CKO.DATA })
  expect(await codeOf(() => call(session, kek, data))).toBe(expected)
})

describe('a key derived by the card', () => {
  const derivation = { type: CKM.ECDH1_DERIVE } as const

  it.each(['P-256', 'P-384'] as const)("equals OpenSSL's on %s", async (curve) => {
    const { session, key, publicKey } = await setUpCard(curve)
    const other = generateKeyPairSync('ec', { namedCurve: curve })
    const z = Uint8Array.from(diffieHellman({ privateKey: other.privateKey, publicKey }))
    const publicData = pointOf(other.publicKey)
    const plain = { ...derivation, ecdh: { kdf: CKD.NULL, publicData } }
    const whole = await session.deriveKey(plain, key, { ...generic, ...readable })
    expect(whole.get(CKA.VALUE)).toEqual(z)
    expect(whole.attributes).toMatchObject({ [CKA.LOCAL]: false, [CKA.VALUE_LEN]: z.length })
    const last = await session.deriveKey(plain, key, { ...aes, ...readable, [CKA.VALUE_LEN]: 16 })
    expect(last.get(CKA.VALUE)).toEqual(z.subarray(-16))
    const sharedData = bytesOf('shared')
    const hashed = { ...derivation, ecdh: { kdf: CKD.SHA256_KDF, publicData, sharedData } }
    const made = await session.deriveKey(hashed, key, { ...aes, ...readable, [CKA.VALUE_LEN]: 32 })
    const judged = createHash('sha256')
      .update(z)
      .update(Uint8Array.of(0, 0, 0, 1))
      .update(sharedData)
      .digest()
    expect(made.get(CKA.VALUE)).toEqual(Uint8Array.from(judged))
  })

  it.each<[string, (ecdh: { kdf: CKD; publicData: Uint8Array }) => object, Attributes, number]>([
    ['no parameters', () => ({}), generic, CKR.MECHANISM_PARAM_INVALID],
    ['an unknown KDF', (ecdh) => ({ ecdh: { ...ecdh, kdf: 0x77 } }), generic, CKR.MECHANISM_PARAM_INVALID],
    [
      'a point off the curve',
      (ecdh) => ({
        ecdh: { ...ecdh, publicData: ecdh.publicData.map((byte, at) => (at === 64 ? byte ^ 1 : byte)) },
      }),
      generic,
      CKR.MECHANISM_PARAM_INVALID,
    ],
    ['an AES key without a length', (ecdh) => ({ ecdh }), aes, CKR.TEMPLATE_INCOMPLETE],
    [
      'more bytes than the secret has',
      (ecdh) => ({ ecdh }),
      { ...generic, [CKA.VALUE_LEN]: 33 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    [
      'an AES key of 15 bytes',
      (ecdh) => ({ ecdh }),
      { ...aes, [CKA.VALUE_LEN]: 15 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    ['a public key', (ecdh) => ({ ecdh }), { [CKA.CLASS]: CKO.PUBLIC_KEY }, CKR.TEMPLATE_INCOMPLETE],
    ['another mechanism', () => ({ type: CKM.AES_ECB }), generic, CKR.MECHANISM_INVALID],
  ])('is refused before the card is used: %s', async (_, parameters, template, expected) => {
    const { session, key, card } = await setUpCard('P-256')
    const ecdh = {
      kdf: CKD.NULL,
      publicData: pointOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey),
    }
    const before = commands(card).length
    const mechanism = { ...derivation, ...parameters(ecdh) }
    expect(await codeOf(() => session.deriveKey(mechanism as never, key, template))).toBe(expected)
    expect(commands(card)).toHaveLength(before)
    expect(await secrets(session)).toBe(0)
  })

  it.each<[string, (session: Session, controller: AbortController) => unknown, number]>([
    ['an abort', (_, controller) => controller.abort(), CKR.FUNCTION_CANCELED],
    ['a logout', (session) => session.logout(), CKR.USER_NOT_LOGGED_IN],
    ['closing the session', (session) => session.close(), CKR.SESSION_CLOSED],
  ])('is not created after %s', async (_, end, expected) => {
    const held = new HeldResponse(0x87)
    const { session, slot, key } = await setUpCard('P-256', { intercept: held.intercept })
    const other = await slot.openSession()
    const publicData = pointOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)
    const controller = new AbortController()
    const running = session
      .deriveKey({ ...derivation, ecdh: { kdf: CKD.NULL, publicData } }, key, generic)
      .result({ signal: controller.signal })
    const code = codeOf(() => running)
    await held.reached
    const ending = end(session, controller)
    expect(await code).toBe(expected)
    held.release()
    await ending
    expect(await secrets(other)).toBe(0)
  })
})

const calls: readonly (readonly [
  string,
  (session: Session, kek: CkObject, key: CkObject) => Promise<unknown>,
])[] = [
  ['generateKey', (s) => s.generateKey({ type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 16 }).result()],
  ['wrapKey', (s, kek, key) => s.wrapKey(kw, kek, key).result()],
  [
    'unwrapKey',
    async (s, kek) =>
      s.unwrapKey(kw, kek, hex('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5'), aes).result(),
  ],
]

describe.each(calls)('%s during an active operation', (_, call) => {
  it.each(['reject', 'allow'] as const)(
    'follows singlePartWhileActive: %s',
    async (singlePartWhileActive) => {
      const { session } = await setUp({ cryptoki: { singlePartWhileActive } })
      const kek = await wrapping(session, hex('000102030405060708090a0b0c0d0e0f'))
      const key = await session.createObject({ ...aes, [CKA.VALUE]: random(16), [CKA.EXTRACTABLE]: true })
      const [digest] = session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
      const isAllowed = singlePartWhileActive === 'allow'
      expect(await codeOf(() => call(session, kek, key))).toBe(isAllowed ? CKR.OK : CKR.OPERATION_ACTIVE)
      expect(session.active).toEqual(['digest'])
      const judged = createHash('sha256').update('abc').digest()
      expect(await digest?.single(bytesOf('abc'))).toEqual(Uint8Array.from(judged))
      expect(await codeOf(() => call(session, kek, key))).toBe(CKR.OK)
    },
  )
})

describe('C_DigestKey', () => {
  it('digests a key between data, and continues after a key that it refuses', async () => {
    const { session, key: card } = await setUpCard('RSA-2048')
    const value = random(32)
    const secret = await session.createObject({
      ...aes,
      [CKA.VALUE]: value,
      [CKA.SENSITIVE]: false,
      [CKA.EXTRACTABLE]: true,
    })
    const [digest] = session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    if (digest === undefined) throw new Error('An operation should be active.')
    await digest.update(bytesOf('before'))
    await session.digestKey(digest, secret)
    expect(await codeOf(() => session.digestKey(digest, card))).toBe(CKR.KEY_INDIGESTIBLE)
    expect(await codeOf(() => session.digestKey(digest, undefined as never))).toBe(CKR.KEY_HANDLE_INVALID)
    await digest.update(bytesOf('after'))
    const judged = createHash('sha256').update('before').update(value).update('after').digest()
    expect(await digest.final()).toEqual(Uint8Array.from(judged))
    expect(await codeOf(() => session.digestKey(digest, secret))).toBe(CKR.OPERATION_NOT_INITIALIZED)
  })
})

it('seeding and saving operation state are refused, and the operation continues', async () => {
  const { session } = await setUp()
  expect(await codeOf(() => session.seedRandom(iv))).toBe(CKR.RANDOM_SEED_NOT_SUPPORTED)
  expect(() => session.operationState()).toThrow(rv(CKR.OPERATION_NOT_INITIALIZED) as Error)
  session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
  expect(() => session.operationState()).toThrow(rv(CKR.STATE_UNSAVEABLE) as Error)
  expect(() => session.setOperationState()).toThrow(rv(CKR.SAVED_STATE_INVALID) as Error)
  expect(await codeOf(() => session.seedRandom(iv))).toBe(CKR.OPERATION_ACTIVE)
  expect(session.active).toEqual(['digest'])
})
