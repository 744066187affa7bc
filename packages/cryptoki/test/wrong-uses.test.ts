/**
 * Wrong arguments from untyped code, and what the compiler refuses: each has its return value and ends no
 * other operation.
 */
import {
  CKA,
  CKG,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  Cryptoki,
  type Operation,
  type PinSource,
  type Session,
} from '@webtoki/cryptoki'
import { firstValueFrom, Subject } from 'rxjs'
import { describe, expect, expectTypeOf, it, onTestFinished } from 'vitest'
import { bytesOf, object, open as openPiv, rightPin, rv, verifies } from './piv-setup.ts'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const message = bytesOf('what is to be signed')
const sha256 = { type: CKM.SHA256 }
const pkcs1 = { type: CKM.SHA256_RSA_PKCS }
const pss = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltBytes: 32 }
const iv = new Uint8Array(16)

/** An error with that code whose message matches `words`, which name the argument. */
const saying = (code: number, words: RegExp): unknown =>
  expect.objectContaining({ rv: code, message: expect.stringMatching(words) })

/** A session of a PIV card with policy abandon, where a digest runs; a wrong use must not end it. */
interface Setup {
  readonly session: Session
  readonly rsa: CkObject
  readonly rsaPublic: CkObject
  readonly ec: CkObject
  readonly secret: CkObject
}

async function setUp(options: Parameters<typeof openPiv>[0] = {}): Promise<Setup> {
  const { session, cryptoki } = await openPiv({
    ...options,
    cryptoki: { login: 'on-demand', onConflict: 'abandon' },
  })
  onTestFinished(() => cryptoki.close())
  return {
    session,
    rsa: await object(session, CKO.PRIVATE_KEY, 1),
    rsaPublic: await object(session, CKO.PUBLIC_KEY, 1),
    ec: await object(session, CKO.PRIVATE_KEY, 2),
    secret: await session.createObject({
      [CKA.CLASS]: CKO.SECRET_KEY,
      [CKA.KEY_TYPE]: CKK.AES,
      [CKA.VALUE]: new Uint8Array(16),
      [CKA.ENCRYPT]: true,
      [CKA.DECRYPT]: true,
    }),
  }
}

type Wrong = (setup: Setup) => Operation<unknown>
const anything = (value: unknown): never => value as never

const wrong: readonly (readonly [string, Wrong, unknown])[] = [
  [
    'no mechanism',
    ({ session, rsa }) => session.sign(anything(undefined), rsa, message),
    saying(CKR.ARGUMENTS_BAD, /mechanism must be an object/),
  ],
  [
    'null as the mechanism of a digest',
    ({ session }) => session.digest(anything(null), message),
    saying(CKR.ARGUMENTS_BAD, /mechanism must be an object/),
  ],
  [
    'a mechanism that is a number',
    ({ session, rsa }) => session.sign(anything(CKM.SHA256_RSA_PKCS), rsa, message),
    saying(CKR.ARGUMENTS_BAD, /mechanism must be an object/),
  ],
  [
    'a digest mechanism for sign',
    ({ session, rsa }) => session.sign(anything(sha256), rsa, message),
    rv(CKR.MECHANISM_INVALID),
  ],
  [
    'a signature mechanism for digest',
    ({ session }) => session.digest(anything(pkcs1), message),
    rv(CKR.MECHANISM_INVALID),
  ],
  [
    'no key',
    ({ session }) => session.sign(pkcs1, anything(undefined), message),
    saying(CKR.KEY_HANDLE_INVALID, /no key/),
  ],
  [
    'an AES key that is not a key',
    ({ session }) => session.encrypt({ type: CKM.AES_ECB }, anything({}), message),
    saying(CKR.KEY_HANDLE_INVALID, /no key/),
  ],
  [
    'data undefined',
    ({ session, rsa }) => session.sign(pkcs1, rsa, anything(undefined)),
    saying(CKR.ARGUMENTS_BAD, /data/),
  ],
  [
    'data null',
    ({ session, rsa }) => session.sign(pkcs1, rsa, anything(null)),
    saying(CKR.ARGUMENTS_BAD, /data/),
  ],
  [
    'data that are a string',
    ({ session, rsa }) => session.sign(pkcs1, rsa, anything('text')),
    saying(CKR.ARGUMENTS_BAD, /data/),
  ],
  [
    'a signature that is a string',
    ({ session, rsaPublic }) => session.verify(pkcs1, rsaPublic, message, anything('AA')),
    saying(CKR.ARGUMENTS_BAD, /signature/),
  ],
  [
    'no signature',
    ({ session, rsaPublic }) => session.verify(pkcs1, rsaPublic, message, anything(undefined)),
    saying(CKR.ARGUMENTS_BAD, /signature/),
  ],
  [
    'options null',
    ({ session }) => session.digest(sha256, message, anything(null)),
    saying(CKR.ARGUMENTS_BAD, /options/),
  ],
  [
    'a PIN source in place of the options',
    ({ session, rsa }) => session.sign(pkcs1, rsa, message, anything(rightPin)),
    saying(CKR.ARGUMENTS_BAD, /options/),
  ],
  [
    'a PIN source that is a string',
    ({ session, rsa }) => session.sign(pkcs1, rsa, message, { pin: anything('123456') }),
    saying(CKR.ARGUMENTS_BAD, /PIN source/),
  ],
  [
    'a pair of undefined',
    ({ session }) => session.together(anything(undefined), anything(undefined), message),
    saying(CKR.ARGUMENTS_BAD, /operation must be an object/),
  ],
  [
    'a pair with an unknown operation',
    ({ session }) =>
      session.together(
        { type: 'digest', mechanism: sha256 },
        anything({ type: 'hash', mechanism: sha256 }),
        message,
      ),
    saying(CKR.ARGUMENTS_BAD, /operation must be an object/),
  ],
  [
    'a pair of two digests',
    ({ session }) =>
      session.together(
        { type: 'digest', mechanism: sha256 },
        anything({ type: 'digest', mechanism: sha256 }),
        message,
      ),
    rv(CKR.OPERATION_ACTIVE),
  ],
  [
    'a template null',
    ({ session }) => session.findObjects(anything(null)),
    saying(CKR.ARGUMENTS_BAD, /template/),
  ],
  [
    'a list as the template',
    ({ session }) => session.findObjects(anything([3])),
    saying(CKR.ARGUMENTS_BAD, /template/),
  ],
  [
    'a Map as the template',
    ({ session }) => session.findObjects(anything(new Map([[CKA.CLASS, CKO.PRIVATE_KEY]]))),
    saying(CKR.ARGUMENTS_BAD, /template/),
  ],
  [
    'find options null',
    ({ session }) => session.findObjects({}, anything(null)),
    saying(CKR.ARGUMENTS_BAD, /options/),
  ],
  [
    'a search for NaN objects',
    ({ session }) => session.findObjects({}, { max: Number.NaN }),
    saying(CKR.ARGUMENTS_BAD, /max/),
  ],
  [
    'a search after something that is not an object',
    ({ session }) => session.findObjects({}, { after: anything({}) }),
    saying(CKR.ARGUMENTS_BAD, /after/),
  ],
  [
    '{ class: 3 }',
    ({ session }) => session.findObjects(anything({ class: 3 })),
    saying(CKR.ATTRIBUTE_TYPE_INVALID, /"class"/),
  ],
  [
    'an empty name in a template',
    ({ session }) => session.findObjects(anything({ '': 3 })),
    rv(CKR.ATTRIBUTE_TYPE_INVALID),
  ],
  [
    'an unknown attribute number in a template',
    ({ session }) => session.findObjects(anything({ 0x7777: true })),
    rv(CKR.ATTRIBUTE_TYPE_INVALID),
  ],
  [
    'an identifier that is undefined',
    ({ session }) => session.findObjects({ [CKA.ID]: anything(undefined) }),
    saying(CKR.ATTRIBUTE_VALUE_INVALID, /CKA_ID/),
  ],
  [
    'an identifier that is a number',
    ({ session }) => session.findObjects({ [CKA.ID]: anything(1) }),
    saying(CKR.ATTRIBUTE_VALUE_INVALID, /CKA_ID/),
  ],
  [
    'a class that is a string',
    ({ session }) => session.findObjects({ [CKA.CLASS]: anything('3') }),
    saying(CKR.ATTRIBUTE_VALUE_INVALID, /CKA_CLASS/),
  ],
  [
    'a class that is NaN',
    ({ session }) => session.findObjects({ [CKA.CLASS]: Number.NaN }),
    saying(CKR.ATTRIBUTE_VALUE_INVALID, /CKA_CLASS/),
  ],
  [
    'a flag that is 1',
    ({ session }) => session.findObjects({ [CKA.PRIVATE]: anything(1) }),
    saying(CKR.ATTRIBUTE_VALUE_INVALID, /CKA_PRIVATE/),
  ],
  [
    'PSS without the parameters that name its hash',
    ({ session, rsa }) => session.sign(anything({ type: CKM.RSA_PKCS_PSS }), rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss is/),
  ],
  [
    'a PSS salt of 300 bytes',
    ({ session, rsa }) =>
      session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, saltBytes: 300 } }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /salt/),
  ],
  [
    'a PSS salt one byte longer than the key allows',
    ({ session, rsa }) =>
      session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, saltBytes: 223 } }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /salt/),
  ],
  [
    'a verification with a PSS salt that the key does not allow',
    ({ session, rsaPublic }) =>
      session.verify(
        { type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, saltBytes: 223 } },
        rsaPublic,
        message,
        message,
      ),
    saying(CKR.MECHANISM_PARAM_INVALID, /salt/),
  ],
  [
    'a PSS salt of -1 bytes',
    ({ session, rsa }) =>
      session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, saltBytes: -1 } }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /saltBytes/),
  ],
  [
    'a PSS hash other than the mechanism’s',
    ({ session, rsa }) =>
      session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, hash: CKM.SHA512 } }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /hash/),
  ],
  [
    'an unknown mask generation function',
    ({ session, rsa }) =>
      session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, mgf: anything(9) } }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /mgf/),
  ],
  [
    'PSS parameters that are a number',
    ({ session, rsa }) => session.sign({ type: CKM.SHA256_RSA_PKCS_PSS, pss: anything(32) }, rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss/),
  ],
  [
    'PSS parameters for PKCS#1',
    ({ session, rsa }) => session.sign(anything({ ...pkcs1, pss }), rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss is/),
  ],
  [
    'PSS parameters for ECDSA',
    ({ session, ec }) => session.sign(anything({ type: CKM.ECDSA_SHA256, pss }), ec, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss is/),
  ],
  [
    'PSS parameters for a digest',
    ({ session }) => session.digest(anything({ ...sha256, pss }), message),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss is/),
  ],
  [
    'PSS parameters for AES',
    ({ session, secret }) => session.encrypt(anything({ type: CKM.AES_CBC, iv, pss }), secret, iv),
    saying(CKR.MECHANISM_PARAM_INVALID, /pss is/),
  ],
  [
    'an iv for PKCS#1',
    ({ session, rsa }) => session.sign(anything({ ...pkcs1, iv }), rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /iv is/),
  ],
  [
    'an iv for PSS',
    ({ session, rsa }) => session.sign(anything({ type: CKM.SHA256_RSA_PKCS_PSS, iv }), rsa, message),
    saying(CKR.MECHANISM_PARAM_INVALID, /iv is/),
  ],
  [
    'an iv for a digest',
    ({ session }) => session.digest(anything({ ...sha256, iv }), message),
    saying(CKR.MECHANISM_PARAM_INVALID, /iv is/),
  ],
  [
    'an empty iv for AES-ECB',
    ({ session, secret }) =>
      session.encrypt(anything({ type: CKM.AES_ECB, iv: new Uint8Array(0) }), secret, iv),
    saying(CKR.MECHANISM_PARAM_INVALID, /iv is/),
  ],
  [
    'AES-CBC without an iv',
    ({ session, secret }) => session.encrypt(anything({ type: CKM.AES_CBC }), secret, iv),
    rv(CKR.MECHANISM_PARAM_INVALID),
  ],
  [
    'an iv of 16 characters',
    ({ session, secret }) =>
      session.decrypt(anything({ type: CKM.AES_CBC, iv: '0123456789abcdef' }), secret, iv),
    saying(CKR.MECHANISM_PARAM_INVALID, /iv is/),
  ],
  [
    'an iv of 12 bytes',
    ({ session, secret }) => session.decrypt({ type: CKM.AES_CTR, iv: iv.subarray(4) }, secret, iv),
    rv(CKR.MECHANISM_PARAM_INVALID),
  ],
]

describe('a wrong use with policy abandon does not throw synchronously, and ends no other operation', () => {
  it.each(wrong)('%s', async (_what, use, expected) => {
    const own = await setUp()
    const { session } = own
    const running = new Subject<Uint8Array>()
    const digest = session.digest(sha256, running).result()
    const operation = use(own)
    expect(session.active).toEqual(['digest'])
    await expect(operation).rejects.toEqual(expected)
    expect(session.active).toEqual(['digest'])
    running.complete()
    await digest.catch(() => {})
  })
})

describe('other wrong uses', () => {
  it.each([
    [
      'getAttributes of undefined',
      ({ session }) => session.getAttributes(anything(undefined), CKA.ID),
      saying(CKR.OBJECT_HANDLE_INVALID, /no object/),
    ],
    [
      'destroyObject of undefined',
      ({ session }) => session.destroyObject(anything(undefined)),
      saying(CKR.OBJECT_HANDLE_INVALID, /no object/),
    ],
    [
      'begin of undefined',
      ({ session }) => session.begin(anything(undefined)),
      saying(CKR.ARGUMENTS_BAD, /operation must be an object/),
    ],
    [
      'begin of a mechanism that is a number',
      ({ session }) => session.begin({ type: 'digest', mechanism: anything(CKM.SHA256) }),
      saying(CKR.ARGUMENTS_BAD, /mechanism must be an object/),
    ],
    [
      'begin of an unknown mechanism',
      ({ session, rsa: key }) => session.begin({ type: 'sign', mechanism: { type: 0x8000_0001 }, key }),
      rv(CKR.MECHANISM_INVALID),
    ],
  ] satisfies readonly (readonly [string, (setup: Setup) => unknown, unknown])[])(
    '%s throws its code',
    async (_what, use, expected) => {
      const own = await setUp()
      let thrown: unknown
      try {
        use(own)
      } catch (error) {
        thrown = error
      }
      expect(thrown).toEqual(expected)
      expect(own.session.active).toEqual([])
    },
  )

  it.each([
    2 ** 31,
    2 ** 24 + 1,
    -1,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    'x',
    '8',
    undefined,
    null,
    4n,
  ])('random(%s) is refused', async (bytes) => {
    const { session } = await setUp()
    await expect(session.random(anything(bytes))).rejects.toEqual(saying(CKR.ARGUMENTS_BAD, /random/))
  })

  it('createObject with an invalid template is refused', async () => {
    const { session } = await setUp()
    await expect(session.createObject(anything(undefined))).rejects.toEqual(
      saying(CKR.ARGUMENTS_BAD, /template/),
    )
    const invalid = anything({ value: new Uint8Array(16) })
    await expect(session.createObject(invalid)).rejects.toEqual(rv(CKR.ATTRIBUTE_TYPE_INVALID))
  })

  it('login with options null, a PIN that is a string, or an unknown user is refused', async () => {
    const { session } = await setUp()
    await expect(session.login(CKU.USER, rightPin, anything(null))).rejects.toEqual(
      saying(CKR.ARGUMENTS_BAD, /options/),
    )
    await expect(session.login(CKU.USER, anything('123456'))).rejects.toEqual(
      saying(CKR.ARGUMENTS_BAD, /PIN source/),
    )
    await expect(session.login(anything(7))).rejects.toEqual(rv(CKR.USER_TYPE_INVALID))
    await expect(session.login(anything(undefined))).rejects.toEqual(rv(CKR.USER_TYPE_INVALID))
  })

  it('a signature without a PIN source is refused at Init, and ends no other operation', async () => {
    const { session, rsa } = await setUp({ pin: null })
    const data = new Subject<Uint8Array>()
    const digest = session.digest(sha256, data).result()
    await expect(session.sign(pkcs1, rsa, message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(session.active).toEqual(['digest'])
    data.next(message)
    data.complete()
    expect(await digest).toHaveLength(32)
  })

  it('the longest PSS salt that fits the key signs and verifies', async () => {
    const { session, rsa, rsaPublic } = await setUp()
    const mechanism = { type: CKM.SHA256_RSA_PKCS_PSS, pss: { ...pss, saltBytes: 256 - 32 - 2 } }
    const signature = await session.sign(mechanism, rsa, message)
    expect(await session.verify(mechanism, rsaPublic, message, signature)).toBe(true)
  })

  it('a member name of Object.prototype is not an attribute type', async () => {
    const { session, rsa } = await setUp()
    for (const word of ['constructor', 'toString', 'class'])
      expect(() => session.getAttributes(rsa, anything(word))).toThrow(
        rv(CKR.ATTRIBUTE_TYPE_INVALID) as Error,
      )
  })

  it('the value of a private or secret key is sensitive; an absent attribute has no valid type', async () => {
    const { session, rsa, secret, rsaPublic } = await setUp()
    for (const key of [rsa, secret])
      expect(() => session.getAttributes(key, CKA.VALUE)).toThrow(rv(CKR.ATTRIBUTE_SENSITIVE) as Error)
    expect(() => session.getAttributes(rsaPublic, CKA.VALUE)).toThrow(rv(CKR.ATTRIBUTE_TYPE_INVALID) as Error)
    expect(() => session.getAttributes(rsa, CKA.EC_POINT)).toThrow(rv(CKR.ATTRIBUTE_TYPE_INVALID) as Error)
  })

  it('a private key cannot encrypt and a public key cannot decrypt, whatever their attributes are', async () => {
    const cryptoki = new Cryptoki({
      sources: [new MemorySlot()],
      drivers: [new SoftwareDriver()],
      login: 'on-demand',
    })
    onTestFinished(() => cryptoki.close())
    const [slot] = await firstValueFrom(cryptoki.slots$)
    const session = await slot?.openSession({ pin: () => expect.unreachable('no PIN request is expected') })
    if (session === undefined) throw new Error('No slot found.')
    const own = await object(session, CKO.PRIVATE_KEY, 1)
    const open = await object(session, CKO.PUBLIC_KEY, 1)
    expect([own.get(CKA.ENCRYPT), open.get(CKA.DECRYPT)]).toEqual([true, true])
    const plain = { type: CKM.RSA_PKCS }
    await expect(session.encrypt(plain, own, message)).rejects.toEqual(rv(CKR.KEY_TYPE_INCONSISTENT))
    await expect(session.decrypt(plain, open, message)).rejects.toEqual(rv(CKR.KEY_TYPE_INCONSISTENT))
    expect(await session.encrypt(plain, open, message)).toHaveLength(message.length)
  })
})

describe('a PIN source', () => {
  const asking = async (source: PinSource) => {
    const { session, card, cryptoki } = await openPiv({ pin: source, cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    return { session, card, key }
  }

  it.each([
    ['that is synchronous', () => ({ pin: bytesOf('123456') })],
    ['that returns a resolved Promise', () => Promise.resolve({ pin: bytesOf('123456') })],
  ] satisfies readonly (readonly [string, PinSource])[])('%s signs', async (_what, source) => {
    const { session, key, card } = await asking(source)
    expect(await session.sign(pkcs1, key, message)).toHaveLength(256)
    expect(verifies(card)).toBe(1)
  })

  const abort = Object.assign(new Error('closed'), { name: 'AbortError' })
  const broken = new TypeError('the dialog is broken')
  it.each([
    ['returns a string', () => anything('123456'), saying(CKR.ARGUMENTS_BAD, /PIN/)],
    ['returns undefined', () => undefined, rv(CKR.FUNCTION_CANCELED)],
    [
      'throws an AbortError',
      () => Promise.reject(abort),
      expect.objectContaining({ rv: CKR.FUNCTION_CANCELED, cause: abort }),
    ],
    [
      'throws a DOMException',
      () => {
        throw new DOMException('closed', 'AbortError')
      },
      rv(CKR.FUNCTION_CANCELED),
    ],
    [
      'is broken',
      () => {
        throw broken
      },
      expect.objectContaining({ cause: broken }),
    ],
    ['gives letters', () => ({ pin: bytesOf('secret') }), rv(CKR.PIN_INVALID)],
    ['gives too few digits of another script', () => ({ pin: bytesOf('٠١٢') }), rv(CKR.PIN_LEN_RANGE)],
    ['gives too few digits', () => ({ pin: bytesOf('12345') }), rv(CKR.PIN_LEN_RANGE)],
  ] satisfies readonly (readonly [string, PinSource, unknown])[])(
    'that %s fails with its code, and nothing is sent',
    async (_what, source, expected) => {
      const { session, key, card } = await asking(source)
      await expect(session.sign(pkcs1, key, message)).rejects.toEqual(expected)
      await expect(session.login(CKU.USER)).rejects.toEqual(expected)
      expect([verifies(card), card.pinTriesLeft, session.active]).toEqual([0, 3, []])
    },
  )

  it('gets the attempt, whether the previous PIN was wrong, and the PIN format', async () => {
    const requests: unknown[] = []
    const pins = ['999999', '12345', '888888', '123456', '123456']
    const { session } = await asking((request) => {
      const { attempt, previousWasWrong, minBytes, maxBytes, alphabet, triesLeft } = request
      requests.push([attempt, previousWasWrong, triesLeft])
      expect([minBytes, maxBytes, alphabet]).toEqual([6, 8, 'digits'])
      return { pin: bytesOf(pins[requests.length - 1] as string), acceptLastTry: true }
    })
    const logins: unknown[] = []
    for (let at = 0; at < 4; at++)
      logins.push(
        await session.login(CKU.USER).then(
          () => 'ok',
          (error: { rvName: string }) => error.rvName,
        ),
      )
    await session.logout()
    await session.login(CKU.USER)
    expect(logins).toEqual(['CKR_PIN_INCORRECT', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_INCORRECT', 'ok'])
    // A PIN that was not sent does not count as an attempt.
    expect(requests).toEqual([
      [1, false, 3],
      [2, true, 2],
      [2, true, 2],
      [3, true, 1],
      [1, false, 3],
    ])
  })
})

/** Checked by the compiler only: never called. */
export async function types(session: Session, key: CkObject, isRsa: boolean) {
  const mechanisms = {
    rsa: { type: CKM.SHA256_RSA_PKCS },
    pss: { type: CKM.SHA384_RSA_PKCS_PSS, pss },
    ec: { type: CKM.ECDSA_SHA256 },
  }
  // Correct uses: literals, named constants, and mechanisms chosen at run time.
  expectTypeOf(await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, message)).toEqualTypeOf<Uint8Array>()
  await session.sign({ type: 0x40 }, key, message)
  await session.sign({ type: isRsa ? CKM.SHA256_RSA_PKCS : CKM.ECDSA_SHA256 }, key, message)
  await session.sign({ type: isRsa ? CKM.SHA256_RSA_PKCS : CKM.SHA256_RSA_PKCS_PSS }, key, message)
  await session.sign(isRsa ? mechanisms.pss : mechanisms.ec, key, message)
  await session.sign({ type: CKM.RSA_PKCS_PSS, pss }, key, message)
  await session.verify(mechanisms.rsa, key, message, message)
  await session.digest({ type: CKM.SHA3_256 }, message)
  await session.encrypt({ type: CKM.AES_CBC, iv }, key, message)
  await session.decrypt({ type: CKM.AES_ECB }, key, message)
  await session.decrypt({ type: CKM.RSA_PKCS }, key, message)
  await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.KEY_TYPE]: CKK.EC, [CKA.ID]: message })
  await session.findObjects({ [CKA.CLASS]: 3 })
  session.begin({ type: 'sign', mechanism: { type: 0x8000_0001 as number }, key })
  session.begin({ type: 'verify', mechanism: mechanisms.rsa, key })
  const digest = { type: 'digest', mechanism: sha256 } as const
  const encrypt = { type: 'encrypt', mechanism: { type: CKM.AES_ECB }, key } as const
  const decrypt = { type: 'decrypt', mechanism: { type: CKM.AES_ECB }, key } as const
  const sign = { type: 'sign', mechanism: pkcs1, key } as const
  const verify = { type: 'verify', mechanism: pkcs1, key, signature: message } as const
  expectTypeOf(await session.together(digest, encrypt, message)).toEqualTypeOf<
    readonly [Uint8Array, Uint8Array]
  >()
  expectTypeOf(await session.together(verify, decrypt, message)).toEqualTypeOf<readonly [true, Uint8Array]>()
  await session.together(encrypt, digest, message)
  await session.together(decrypt, digest, message)
  await session.together(digest, decrypt, message)
  await session.together(sign, encrypt, message)
  await session.together(encrypt, sign, message)
  await session.together(decrypt, verify, message)
  await session.together(
    { type: 'decrypt', mechanism: { type: CKM.AES_CBC, iv }, key },
    { type: 'digest', mechanism: { type: CKM.SHA256 } },
    message,
  )

  // @ts-expect-error A digest mechanism cannot sign.
  session.sign({ type: CKM.SHA256 }, key, message)
  // @ts-expect-error A cipher mechanism cannot sign.
  session.sign({ type: CKM.AES_ECB }, key, message)
  // @ts-expect-error A signature mechanism is not a digest mechanism.
  session.digest({ type: CKM.SHA256_RSA_PKCS }, message)
  // @ts-expect-error A signature mechanism that hashes cannot decrypt.
  session.decrypt({ type: CKM.SHA256_RSA_PKCS }, key, message)
  // @ts-expect-error An object class is not a mechanism, although CKM_RSA_X_509 has the same number.
  session.sign({ type: CKO.PRIVATE_KEY }, key, message)
  // @ts-expect-error A key type is not a mechanism.
  session.sign({ type: CKK.EC }, key, message)
  // @ts-expect-error A key type is not an object class.
  session.findObjects({ [CKA.CLASS]: CKK.EC })
  // @ts-expect-error An object class is not a key type.
  session.findObjects({ [CKA.KEY_TYPE]: CKO.PRIVATE_KEY })
  // @ts-expect-error The mechanism is an object with a type.
  session.sign(CKM.SHA256_RSA_PKCS, key, message)
  // @ts-expect-error PSS parameters are not for digests.
  session.digest({ type: CKM.SHA256, pss }, message)
  // @ts-expect-error PSS parameters are not for PKCS#1 v1.5.
  session.sign({ type: CKM.SHA256_RSA_PKCS, pss }, key, message)
  // @ts-expect-error PSS parameters are not for ECDSA.
  session.verify({ type: CKM.ECDSA_SHA256, pss }, key, message, message)
  // @ts-expect-error PSS of a digest must name the hash.
  session.sign({ type: CKM.RSA_PKCS_PSS }, key, message)
  // @ts-expect-error The hash of PSS is a digest mechanism.
  session.sign({ type: CKM.RSA_PKCS_PSS, pss: { ...pss, hash: CKM.SHA256_RSA_PKCS } }, key, message)
  // @ts-expect-error CBC needs an initialisation vector.
  session.encrypt({ type: CKM.AES_CBC }, key, message)
  // @ts-expect-error ECB does not use an initialisation vector.
  session.encrypt({ type: CKM.AES_ECB, iv }, key, message)
  // @ts-expect-error An initialisation vector is not for signatures.
  session.sign({ type: CKM.ECDSA_SHA256, iv }, key, message)
  // @ts-expect-error The search may have found no key.
  session.sign(pkcs1, (await session.findObjects()).at(0), message)
  // @ts-expect-error Text is encoded first, for example with TextEncoder.
  session.sign(pkcs1, key, 'text')
  // @ts-expect-error The data are missing.
  session.sign(pkcs1, key, undefined)
  // @ts-expect-error A list of numbers is not bytes.
  session.sign(pkcs1, key, [1, 2, 3])
  // @ts-expect-error A signature is bytes.
  session.verify(pkcs1, key, message, 'AAAA')
  // @ts-expect-error The signature comes after the data.
  session.verify(pkcs1, key, message)
  // @ts-expect-error Attributes are keyed by CKA.
  session.findObjects({ class: 3 })
  // @ts-expect-error An attribute in a template needs a value.
  session.findObjects({ [CKA.ID]: undefined })
  // @ts-expect-error An identifier is bytes.
  session.findObjects({ [CKA.ID]: 1 })
  // @ts-expect-error A PIN source is a member of the options.
  session.sign(pkcs1, key, message, rightPin)
  // @ts-expect-error A PIN is bytes.
  session.sign(pkcs1, key, message, { pin: () => '123456' })
  // @ts-expect-error A digest never needs a PIN.
  session.digest(sha256, message, { pin: rightPin })
  // @ts-expect-error The policy does not exist.
  session.digest(sha256, message, { onConflict: 'end' })
  // @ts-expect-error Two digests are not a pair.
  session.together(digest, digest, message)
  // @ts-expect-error Two ciphers are not a pair.
  session.together(encrypt, decrypt, message)
  // @ts-expect-error Decrypting and signing are not a pair.
  session.together(decrypt, sign, message)
  // @ts-expect-error Encrypting and verifying are not a pair.
  session.together(verify, encrypt, message)
  // @ts-expect-error The mechanisms of a pair are checked too.
  session.together({ type: 'digest', mechanism: pkcs1 }, encrypt, message)
}
