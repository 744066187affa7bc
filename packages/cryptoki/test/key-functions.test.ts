/** Keys generated, wrapped, unwrapped and derived in a session: PKCS#11 v3.0, 5.18 "Key management functions". */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  constants,
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
  type Session,
  type WrapMechanism,
} from '@webtoki/cryptoki'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, makeKey, pointOf } from './key-management.ts'
import { object, open, rv, type SetupOptions } from './piv-setup.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const bytes = (buffer: Uint8Array): Uint8Array => Uint8Array.from(buffer)
const iv = Uint8Array.from({ length: 16 }, (_, at) => at)
const secret = { [CKA.CLASS]: CKO.SECRET_KEY } as const
const readable = { [CKA.SENSITIVE]: false, [CKA.EXTRACTABLE]: true } as const
const plain: Attributes = { ...secret, [CKA.KEY_TYPE]: CKK.AES, ...readable }
const generic: Attributes = { ...secret, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET, ...readable }

async function setUp(options: SetupOptions = {}) {
  const opened = await open(options)
  onTestFinished(() => opened.cryptoki.close())
  await opened.session.login(CKU.USER)
  return opened
}

const aes = (session: Session, value: Uint8Array, more: Attributes = {}): Promise<CkObject> =>
  session.createObject({ ...plain, [CKA.VALUE]: value, [CKA.WRAP]: true, [CKA.UNWRAP]: true, ...more })

describe('C_GenerateKey', () => {
  it('makes a sensitive key that was never extractable, and a readable one encrypts like Node', async () => {
    const { session } = await setUp()
    const uses = { [CKA.ENCRYPT]: true, [CKA.VALUE_LEN]: 32 }
    const hidden = await session.generateKey({ type: CKM.AES_KEY_GEN }, uses)
    expect(hidden.attributes).toMatchObject({
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: CKK.AES,
      [CKA.LOCAL]: true,
      [CKA.ALWAYS_SENSITIVE]: true,
      [CKA.NEVER_EXTRACTABLE]: true,
      [CKA.KEY_GEN_MECHANISM]: CKM.AES_KEY_GEN,
    })
    expect(() => hidden.get(CKA.VALUE)).toThrow(rv(CKR.ATTRIBUTE_SENSITIVE) as Error)
    const open = await session.generateKey({ type: CKM.AES_KEY_GEN }, { ...uses, ...readable })
    expect(open.get(CKA.ALWAYS_SENSITIVE)).toBe(false)
    const cipher = createCipheriv('aes-256-ctr', open.get(CKA.VALUE), iv)
    const message = new TextEncoder().encode('a message')
    expect(await session.encrypt({ type: CKM.AES_CTR, iv }, open, message)).toEqual(
      bytes(Buffer.concat([cipher.update(message), cipher.final()])),
    )
  })

  it('makes an HMAC secret of any length', async () => {
    const { session } = await setUp()
    const template = { ...readable, [CKA.VALUE_LEN]: 77, [CKA.SIGN]: true }
    const key = await session.generateKey({ type: CKM.GENERIC_SECRET_KEY_GEN }, template)
    const mac = createHmac('sha256', key.get(CKA.VALUE)).update('data').digest()
    const made = await session.sign({ type: CKM.SHA256_HMAC }, key, new TextEncoder().encode('data'))
    expect(made).toEqual(bytes(mac))
  })

  it.each<[string, number, Attributes, number]>([
    ['without a length', CKM.AES_KEY_GEN, {}, CKR.TEMPLATE_INCOMPLETE],
    [
      'of a length that AES does not have',
      CKM.AES_KEY_GEN,
      { [CKA.VALUE_LEN]: 17 },
      CKR.ATTRIBUTE_VALUE_INVALID,
    ],
    ['with a value', CKM.AES_KEY_GEN, { [CKA.VALUE_LEN]: 16, [CKA.VALUE]: iv }, CKR.ATTRIBUTE_READ_ONLY],
    [
      'of another type',
      CKM.AES_KEY_GEN,
      { [CKA.VALUE_LEN]: 16, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET },
      CKR.TEMPLATE_INCONSISTENT,
    ],
    ['on the card', CKM.AES_KEY_GEN, { [CKA.VALUE_LEN]: 16, [CKA.TOKEN]: true }, CKR.TOKEN_WRITE_PROTECTED],
    [
      'by a mechanism that does not generate keys',
      CKM.AES_CBC,
      { [CKA.VALUE_LEN]: 16 },
      CKR.MECHANISM_INVALID,
    ],
  ])('refuses a key %s', async (_what, type, template, code) => {
    const { session } = await setUp()
    const made = session.generateKey({ type } as never, template)
    await expect(made).rejects.toEqual(rv(code))
  })
})

describe('C_WrapKey and C_UnwrapKey', () => {
  it('agree with RFC 3394 and RFC 5649', async () => {
    const { session } = await setUp()
    const wrapping = await aes(session, hex('000102030405060708090a0b0c0d0e0f'))
    const key = await session.createObject({ ...plain, [CKA.VALUE]: hex('00112233445566778899aabbccddeeff') })
    const wrapped = await session.wrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, key)
    // RFC 3394, 4.1.
    expect(wrapped).toEqual(hex('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5'))
    const back = await session.unwrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, wrapped, plain)
    expect(back.get(CKA.VALUE)).toEqual(key.get(CKA.VALUE))
    expect(back.attributes).toMatchObject({ [CKA.LOCAL]: false, [CKA.NEVER_EXTRACTABLE]: false })
    // RFC 5649, 6.
    const long = await aes(session, hex('5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8'))
    const short = await session.createObject({ ...generic, [CKA.VALUE]: hex('466f7250617369') })
    const padded = await session.wrapKey({ type: CKM.AES_KEY_WRAP_KWP }, long, short)
    expect(padded).toEqual(hex('afbeb0f07dfbf5419200f2ccb50bb24f'))
    const again = await session.unwrapKey({ type: CKM.AES_KEY_WRAP_KWP }, long, padded, generic)
    expect(again.get(CKA.VALUE)).toEqual(hex('466f7250617369'))
  })

  it.each<[string, WrapMechanism]>([
    ['CBC', { type: CKM.AES_CBC, iv }],
    ['CBC-PAD', { type: CKM.AES_CBC_PAD, iv }],
    ['ECB', { type: CKM.AES_ECB }],
    ['CTR', { type: CKM.AES_CTR, iv }],
    ['GCM', { type: CKM.AES_GCM, gcm: { iv: iv.subarray(0, 12), tagBits: 128 } }],
  ])('wrap an AES-192 key with %s so that Node can read it', async (name, mechanism) => {
    const { session } = await setUp()
    const value = Uint8Array.from({ length: 24 }, (_, at) => 3 * at)
    const wrappingValue = new Uint8Array(32).fill(9)
    const wrapping = await aes(session, wrappingValue)
    const key = await session.createObject({ ...plain, [CKA.VALUE]: value })
    const wrapped = await session.wrapKey(mechanism, wrapping, key)
    if (name !== 'GCM') {
      const cipher = { CBC: 'cbc', 'CBC-PAD': 'cbc', ECB: 'ecb', CTR: 'ctr' }[name]
      const node = createDecipheriv(`aes-256-${cipher}`, wrappingValue, name === 'ECB' ? null : iv)
      if (name !== 'CBC-PAD') node.setAutoPadding(false)
      const block = Buffer.concat([node.update(wrapped), node.final()])
      expect(bytes(block).subarray(0, 24)).toEqual(value)
      // CKM_AES_CBC and CKM_AES_ECB pad the last block with zeros.
      expect(block.subarray(24).every((byte) => byte === 0)).toBe(true)
    }
    const template = { ...plain, [CKA.VALUE_LEN]: 24 }
    const back = await session.unwrapKey(mechanism, wrapping, wrapped, template)
    expect(back.get(CKA.VALUE)).toEqual(value)
  })

  it.each<
    [string, WrapMechanism, (value: Uint8Array, key: Parameters<typeof publicEncrypt>[0]) => Uint8Array]
  >([
    [
      'PKCS#1',
      { type: CKM.RSA_PKCS },
      (value, key) => publicEncrypt({ key: key as never, padding: constants.RSA_PKCS1_PADDING }, value),
    ],
    [
      'OAEP',
      { type: CKM.RSA_PKCS_OAEP, oaep: { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 } },
      (value, key) =>
        publicEncrypt(
          { key: key as never, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
          value,
        ),
    ],
    [
      'raw RSA',
      { type: CKM.RSA_X_509 },
      (value, key) => {
        const block = Buffer.concat([new Uint8Array(256 - value.length), value])
        return publicEncrypt({ key: key as never, padding: constants.RSA_NO_PADDING }, block)
      },
    ],
  ])("unwrap with the card's 9D what Node has encrypted with %s", async (_name, mechanism, encrypt) => {
    const own = makeKey['RSA-2048']()
    const { session } = await setUp({ card: cardWith(own) })
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    const value = Uint8Array.from({ length: 16 }, (_, at) => 200 - at)
    const wrapped = bytes(encrypt(value, createPublicKey(own)))
    const template = { ...plain, [CKA.VALUE_LEN]: 16 }
    const back = await session.unwrapKey(mechanism, key, wrapped, template)
    expect(back.get(CKA.VALUE)).toEqual(value)
    // Also what the public key of the card has wrapped.
    const open = await object(session, CKO.PUBLIC_KEY, 3)
    const again = await session.wrapKey(mechanism, open, back)
    expect((await session.unwrapKey(mechanism, key, again, template)).get(CKA.VALUE)).toEqual(value)
  })

  it('log in on demand like a signature: one PIN request and one VERIFY, none for the next call', async () => {
    const own = makeKey['RSA-2048']()
    const { session, card, cryptoki } = await open({ card: cardWith(own), cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    const padding = constants.RSA_PKCS1_PADDING
    const wrapped = bytes(publicEncrypt({ key: createPublicKey(own), padding }, iv))
    let requests = 0
    const pin = async () => {
      requests++
      return { pin: new TextEncoder().encode('123456') }
    }
    const verifies = (): number =>
      card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0).length
    for (const _ of [1, 2]) {
      const back = await session.unwrapKey({ type: CKM.RSA_PKCS }, key, wrapped, plain, { pin })
      expect(back.get(CKA.VALUE)).toEqual(iv)
      expect([requests, verifies()]).toEqual([1, 1])
    }
  })

  it('end with a wrong PIN after one VERIFY, and create no key', async () => {
    const own = makeKey['RSA-2048']()
    const { session, card, cryptoki } = await open({ card: cardWith(own), cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    const before = (await session.findObjects()).length
    const pin = async () => ({ pin: new TextEncoder().encode('654321') })
    const made = session.unwrapKey({ type: CKM.RSA_PKCS }, key, new Uint8Array(256).fill(1), plain, { pin })
    await expect(made).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    const verifies = card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)
    expect(verifies).toHaveLength(1)
    expect(await session.findObjects()).toHaveLength(before)
  })

  it('give a key for every wrong PKCS#1 padding, the same each time', async () => {
    const own = makeKey['RSA-2048']()
    const { session } = await setUp({ card: cardWith(own) })
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    const lengths = new Set<number>()
    for (let at = 0; at < 12; at++) {
      const random = new Uint8Array(256).map((_, index) => (at * 31 + index * 7) & 0x7f)
      const twice = [1, 2].map(() => session.unwrapKey({ type: CKM.RSA_PKCS }, key, random, plain).result())
      const values: Uint8Array[] = []
      for (const each of twice) values.push((await each).get(CKA.VALUE))
      expect(values[0]).toEqual(values[1])
      lengths.add(values[0]?.length ?? 0)
    }
    expect([...lengths].every((each) => [16, 24, 32].includes(each))).toBe(true)
  })

  it('return one code for random bytes with every mechanism', async () => {
    const { session } = await setUp()
    const wrapping = await aes(session, new Uint8Array(16).fill(3))
    const mechanisms: WrapMechanism[] = [
      { type: CKM.AES_KEY_WRAP },
      { type: CKM.AES_KEY_WRAP_KWP },
      { type: CKM.AES_CBC_PAD, iv },
      { type: CKM.AES_GCM, gcm: { iv: iv.subarray(0, 12), tagBits: 128 } },
    ]
    const property = fc.asyncProperty(
      fc.constantFrom(...mechanisms),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      async (mechanism, wrapped) => {
        // A random block has a valid padding once in 256 times, and then the wrong length.
        const made = session.unwrapKey(mechanism, wrapping, wrapped, { ...plain, [CKA.VALUE_LEN]: 24 })
        await expect(made).rejects.toEqual(rv(CKR.WRAPPED_KEY_INVALID))
      },
    )
    await fc.assert(property, { numRuns: 60 })
  })

  it.each<
    [string, (at: { session: Session; wrapping: CkObject; key: CkObject }) => PromiseLike<unknown>, number]
  >([
    [
      'a key that is not extractable',
      async ({ session, wrapping }) =>
        session.wrapKey(
          { type: CKM.AES_KEY_WRAP },
          wrapping,
          await session.createObject({ ...plain, [CKA.VALUE]: iv, [CKA.EXTRACTABLE]: false }),
        ),
      CKR.KEY_UNEXTRACTABLE,
    ],
    [
      'a private key on the card',
      async ({ session, wrapping }) =>
        session.wrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, await object(session, CKO.PRIVATE_KEY, 1)),
      CKR.KEY_UNEXTRACTABLE,
    ],
    [
      'a public key',
      async ({ session, wrapping }) =>
        session.wrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, await object(session, CKO.PUBLIC_KEY, 1)),
      CKR.KEY_NOT_WRAPPABLE,
    ],
    [
      'no key',
      ({ session, wrapping }) => session.wrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, undefined as never),
      CKR.KEY_HANDLE_INVALID,
    ],
    [
      'by no key',
      ({ session, key }) => session.wrapKey({ type: CKM.AES_KEY_WRAP }, undefined as never, key),
      CKR.WRAPPING_KEY_HANDLE_INVALID,
    ],
    [
      'by a key without CKA_WRAP',
      ({ session, key }) => session.wrapKey({ type: CKM.AES_KEY_WRAP }, key, key),
      CKR.KEY_FUNCTION_NOT_PERMITTED,
    ],
    [
      'by a private key',
      async ({ session, key }) =>
        session.wrapKey({ type: CKM.RSA_PKCS }, await object(session, CKO.PRIVATE_KEY, 3), key),
      CKR.MECHANISM_INVALID,
    ],
    [
      'from bytes that are too few',
      ({ session, wrapping }) =>
        session.unwrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, new Uint8Array(9), plain),
      CKR.WRAPPED_KEY_LEN_RANGE,
    ],
    [
      'from what is not bytes',
      ({ session, wrapping }) =>
        session.unwrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, 'text' as never, plain),
      CKR.ARGUMENTS_BAD,
    ],
    [
      'without a key type in the template',
      ({ session, wrapping }) =>
        session.unwrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, new Uint8Array(24), secret),
      CKR.TEMPLATE_INCOMPLETE,
    ],
    [
      'with no unwrapping key',
      ({ session }) =>
        session.unwrapKey({ type: CKM.AES_KEY_WRAP }, undefined as never, new Uint8Array(24), plain),
      CKR.UNWRAPPING_KEY_HANDLE_INVALID,
    ],
  ])('refuse %s', async (_what, call, code) => {
    const { session } = await setUp()
    const wrapping = await aes(session, new Uint8Array(16).fill(3))
    const key = await session.createObject({ ...plain, [CKA.VALUE]: iv })
    await expect(call({ session, wrapping, key })).rejects.toEqual(rv(code))
  })
})

describe('C_DeriveKey', () => {
  const own = makeKey['P-256']()
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const shared = bytes(diffieHellman({ privateKey: own, publicKey: other.publicKey }))
  const ecdh = { kdf: CKD.NULL, publicData: pointOf(other.publicKey) }
  const openCard = async () => {
    const opened = await setUp({ card: cardWith(own) })
    return { ...opened, key: await object(opened.session, CKO.PRIVATE_KEY, 3) }
  }

  it("gives the secret that Node shares with the card's 9D: whole, its end, or through a KDF", async () => {
    const { session, key } = await openCard()
    const whole = await session.deriveKey({ type: CKM.ECDH1_DERIVE, ecdh }, key, generic)
    expect(whole.get(CKA.VALUE)).toEqual(shared)
    const template = { ...plain, [CKA.VALUE_LEN]: 16 }
    const end = await session.deriveKey({ type: CKM.ECDH1_DERIVE, ecdh }, key, template)
    expect(end.get(CKA.VALUE)).toEqual(shared.subarray(16))
    const sharedData = new TextEncoder().encode('both know this')
    const byKdf = { ...ecdh, kdf: CKD.SHA256_KDF, sharedData }
    const derived = await session.deriveKey({ type: CKM.ECDH1_COFACTOR_DERIVE, ecdh: byKdf }, key, template)
    const digest = createHash('sha256')
      .update(shared)
      .update(Uint8Array.of(0, 0, 0, 1))
      .update(sharedData)
    expect(derived.get(CKA.VALUE)).toEqual(bytes(digest.digest()).subarray(0, 16))
  })

  it.each<[string, object, Attributes, number]>([
    ['a missing length', {}, plain, CKR.TEMPLATE_INCOMPLETE],
    ['more bytes than the secret has', {}, { ...generic, [CKA.VALUE_LEN]: 33 }, CKR.ATTRIBUTE_VALUE_INVALID],
    ['an unknown KDF', { kdf: 99 }, { ...generic, [CKA.VALUE_LEN]: 16 }, CKR.MECHANISM_PARAM_INVALID],
    [
      'a point off the curve',
      { publicData: new Uint8Array(65).fill(4) },
      generic,
      CKR.MECHANISM_PARAM_INVALID,
    ],
  ])('is refused before the card is used for %s', async (_what, parameters, template, code) => {
    const { session, key, card } = await openCard()
    const before = card.log.length
    const made = session.deriveKey(
      { type: CKM.ECDH1_DERIVE, ecdh: { ...ecdh, ...parameters } as typeof ecdh },
      key,
      template,
    )
    await expect(made).rejects.toEqual(rv(code))
    expect(card.log.length).toBe(before)
  })
})

describe('Single-part functions', () => {
  const calls: [string, (session: Session, key: CkObject) => PromiseLike<unknown>][] = [
    ['generateKey', (session) => session.generateKey({ type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 16 })],
    ['wrapKey', (session, key) => session.wrapKey({ type: CKM.AES_KEY_WRAP }, key, key)],
    [
      'unwrapKey',
      (session, key) =>
        session.unwrapKey(
          { type: CKM.AES_KEY_WRAP },
          key,
          hex('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5'),
          plain,
        ),
    ],
  ]

  it.each(calls)('%s is refused during an active operation, which continues', async (_name, call) => {
    const { session } = await setUp()
    const key = await aes(session, hex('000102030405060708090a0b0c0d0e0f'))
    const [digest] = session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    await expect(call(session, key)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(await digest?.single(iv)).toEqual(bytes(createHash('sha256').update(iv).digest()))
    await expect(call(session, key)).resolves.toBeDefined()
  })

  it.each(calls)('%s runs during an active operation if the library allows it', async (_name, call) => {
    const { session } = await setUp({ cryptoki: { singlePartWhileActive: 'allow' } })
    const key = await aes(session, hex('000102030405060708090a0b0c0d0e0f'))
    session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    await expect(call(session, key)).resolves.toBeDefined()
    expect(session.active).toEqual(['digest'])
  })

  it('that use a card key end with the logout and with the session', async () => {
    const own = makeKey['RSA-2048']()
    const ends = [(session: Session) => session.logout(), (session: Session) => session.close()]
    const codes = [CKR.USER_NOT_LOGGED_IN, CKR.SESSION_CLOSED]
    for (const [which, end] of ends.entries()) {
      const { session } = await setUp({ card: cardWith(own) })
      const key = await object(session, CKO.PRIVATE_KEY, 3)
      const made = session.unwrapKey({ type: CKM.RSA_PKCS }, key, new Uint8Array(256).fill(1), plain).result()
      const ended = expect(made).rejects.toEqual(rv(codes[which] as number))
      await end(session)
      await ended
    }
  })

  it('can be aborted, and then create no object', async () => {
    const { session } = await setUp()
    const before = (await session.findObjects()).length
    const abort = new AbortController()
    const made = session
      .generateKey({ type: CKM.AES_KEY_GEN }, { [CKA.VALUE_LEN]: 16 })
      .result({ signal: abort.signal })
    abort.abort()
    await expect(made).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await session.findObjects()).toHaveLength(before)
  })
})

it('a key with CKA_ALLOWED_MECHANISMS is refused for any other mechanism', async () => {
  const { session } = await setUp()
  const template = { ...plain, [CKA.VALUE]: iv, [CKA.ENCRYPT]: true, [CKA.ALLOWED_MECHANISMS]: [CKM.AES_CBC] }
  const key = await session.createObject(template)
  const refused = session.encrypt({ type: CKM.AES_CBC_PAD, iv }, key, iv)
  await expect(refused).rejects.toEqual(rv(CKR.MECHANISM_INVALID))
  expect(await session.encrypt({ type: CKM.AES_CBC, iv }, key, iv)).toHaveLength(16)
})

describe('C_DigestKey', () => {
  it('digests the value of a key between data', async () => {
    const { session } = await setUp()
    const key = await session.createObject({ ...generic, [CKA.VALUE]: iv })
    const [digest] = session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    if (digest === undefined) throw new Error('An operation should be active.')
    await digest.update(hex('01'))
    await session.digestKey(digest, key)
    await digest.update(hex('02'))
    const expected = createHash('sha256').update(hex('01')).update(iv).update(hex('02')).digest()
    expect(await digest.final()).toEqual(bytes(expected))
    await expect(session.digestKey(digest, key)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
  })

  it('refuses an unreadable key or an invalid handle, and the digest continues', async () => {
    const { session } = await setUp()
    const hidden = await session.createObject({ ...generic, [CKA.VALUE]: iv, [CKA.EXTRACTABLE]: false })
    const [digest] = session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
    if (digest === undefined) throw new Error('An operation should be active.')
    await expect(session.digestKey(digest, hidden)).rejects.toEqual(rv(CKR.KEY_INDIGESTIBLE))
    const none = session.digestKey(digest, undefined as never)
    await expect(none).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    expect(await digest.final()).toEqual(bytes(createHash('sha256').digest()))
  })
})

it('a seed is refused and operation state cannot be saved', async () => {
  const { session } = await setUp()
  await expect(session.seedRandom(iv)).rejects.toEqual(rv(CKR.RANDOM_SEED_NOT_SUPPORTED))
  expect(() => session.operationState()).toThrow(rv(CKR.OPERATION_NOT_INITIALIZED) as Error)
  session.begin({ type: 'digest', mechanism: { type: CKM.SHA256 } })
  expect(() => session.operationState()).toThrow(rv(CKR.STATE_UNSAVEABLE) as Error)
  expect(session.active).toEqual(['digest'])
})
