/**
 * Decryption and signatures with recovery by a PIV card, through sessions. node:crypto checks the results.
 */
import {
  constants,
  createPublicKey,
  type KeyObject,
  publicDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import {
  type Attributes,
  CKA,
  CKF,
  CKG,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  type PinRequest,
} from '@webtoki/cryptoki'
import { createPivCard } from '@webtoki/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, keyInDriver, KeyUsage, makeKey } from './key-management.ts'
import {
  bytesOf,
  commands,
  HeldResponse,
  HeldDialog,
  object,
  open,
  rightPin,
  rv,
  type SetupOptions,
  verifies,
} from './piv-setup.ts'

const rawRsa = { type: CKM.RSA_X_509 } as const

/** A session with a card and its 9D key. */
async function setUp(options: SetupOptions = {}) {
  const opened = await open({ cryptoki: { login: 'on-demand' }, ...options })
  onTestFinished(() => opened.cryptoki.close())
  const { session, card } = opened
  const key = await object(session, CKO.PRIVATE_KEY, 3)
  const spki = card.publicKeyOf('9D') ?? expect.fail()
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return { ...opened, key, publicKey }
}

/** Raw RSA by Node's OpenSSL; `plain` is as long as the modulus. */
function encryptRaw(key: KeyObject, plain: Uint8Array): Uint8Array {
  return Uint8Array.from(publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, plain))
}

/** A number below every modulus of that length. */
function block(bytes: number): Uint8Array {
  const made = Uint8Array.from(randomBytes(bytes))
  made[0] = 0
  return made
}

describe('the uses of a key', () => {
  const uses = {
    [CKA.SIGN]: 'sign',
    [CKA.SIGN_RECOVER]: 'sign-recover',
    [CKA.DECRYPT]: 'decrypt',
    [CKA.UNWRAP]: 'unwrap',
    [CKA.DERIVE]: 'derive',
    [CKA.VERIFY]: 'verify',
    [CKA.VERIFY_RECOVER]: 'verify-recover',
    [CKA.ENCRYPT]: 'encrypt',
    [CKA.WRAP]: 'wrap',
  } as const
  const usesOf = (attributes: Attributes): readonly string[] =>
    Object.entries(uses).flatMap(([type, use]) =>
      attributes[Number(type) as keyof typeof uses] === true ? [use] : [],
    )
  const signing = [['sign'], ['verify']]
  const recovering = [
    ['sign', 'sign-recover'],
    ['verify', 'verify-recover'],
  ]
  const deciphering = [
    ['decrypt', 'unwrap'],
    ['encrypt', 'wrap'],
  ]
  const agreeing = [['derive'], []]

  it.each([
    ['9D', 'RSA-2048', 'keyEncipherment', deciphering],
    ['9D', 'RSA-2048', 'dataEncipherment', deciphering],
    ['9D', 'RSA-2048', 'digitalSignature', recovering],
    ['9D', 'RSA-2048', undefined, deciphering],
    ['9D', 'P-256', 'keyAgreement', agreeing],
    ['9D', 'P-384', undefined, agreeing],
    ['9D', 'P-256', 'digitalSignature', signing],
    // A key does not report uses that its type cannot do.
    ['9D', 'P-256', 'keyEncipherment', [[], []]],
    ['9D', 'RSA-2048', 'keyAgreement', [[], []]],
    ['9A', 'RSA-2048', undefined, recovering],
    ['9A', 'P-256', undefined, signing],
    ['9A', 'RSA-2048', 'keyEncipherment', deciphering],
  ] as const)('of %s, %s, for %s, match its type and key usage', async (slot, kind, usage, [own, others]) => {
    const card = cardWith(makeKey[kind](), { slot, keyUsage: usage && KeyUsage[usage] })
    const { session, cryptoki } = await open({ card, cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const id = slot === '9A' ? 1 : 3
    expect(usesOf((await object(session, CKO.PRIVATE_KEY, id)).attributes)).toEqual(own)
    expect(usesOf((await object(session, CKO.PUBLIC_KEY, id)).attributes)).toEqual(others)
  })

  it('are refused with CKR_KEY_FUNCTION_NOT_PERMITTED if the certificate does not allow them', async () => {
    const { session, key, card } = await setUp({ card: cardWith(makeKey['RSA-2048'](), { keyUsage: 0x80 }) })
    const before = card.log.length
    await expect(session.decrypt(rawRsa, key, block(256))).rejects.toEqual(rv(CKR.KEY_FUNCTION_NOT_PERMITTED))
    const demo = await setUp()
    await expect(demo.session.signRecover({ type: CKM.RSA_PKCS }, demo.key, block(16))).rejects.toEqual(
      rv(CKR.KEY_FUNCTION_NOT_PERMITTED),
    )
    expect(card.log.length).toBe(before)
  })
})

describe('raw RSA decryption', () => {
  it.each(['RSA-1024', 'RSA-2048', 'RSA-3072'] as const)('gives the whole block, with %s', async (kind) => {
    const { session, key, publicKey } = await setUp({ card: cardWith(makeKey[kind]()) })
    const plain = block((key.get(CKA.MODULUS_BITS) ?? 0) / 8)
    expect(await session.decrypt(rawRsa, key, encryptRaw(publicKey, plain))).toEqual(plain)
  })

  it('accepts the ciphertext in parts, and decrypts zeros to zeros', async () => {
    const { session, key, publicKey } = await setUp({ level: 'short' })
    const plain = block(256)
    const encrypted = encryptRaw(publicKey, plain)
    const parts = [encrypted.subarray(0, 1), encrypted.subarray(1, 200), encrypted.subarray(200)]
    expect(await session.decrypt(rawRsa, key, parts)).toEqual(plain)
    expect(await session.decrypt(rawRsa, key, new Uint8Array(256))).toEqual(new Uint8Array(256))
  })

  it('refuses a wrong length or a number above the modulus without a command or a PIN request', async () => {
    const requests: PinRequest[] = []
    const pin = (request: PinRequest) => {
      requests.push(request)
      return rightPin(request)
    }
    const { session, key, card } = await setUp({ pin })
    const before = card.log.length
    for (const bytes of [0, 1, 255, 257, 5000])
      await expect(session.decrypt(rawRsa, key, new Uint8Array(bytes))).rejects.toEqual(
        rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
      )
    const modulus = key.get(CKA.MODULUS)
    for (const tooLarge of [modulus, new Uint8Array(256).fill(0xff)])
      await expect(session.decrypt(rawRsa, key, tooLarge)).rejects.toEqual(rv(CKR.ENCRYPTED_DATA_INVALID))
    expect([card.log.length, requests.length]).toEqual([before, 0])
    expect(session.active).toEqual([])
  })

  it('costs the APDUs of a signature, and a size query costs none', async () => {
    const counts: Record<string, string[]> = {}
    for (const use of ['sign', 'decrypt'] as const) {
      const { session, card, key } = await setUp()
      const signer = await object(session, CKO.PRIVATE_KEY, 1)
      const run = (): PromiseLike<Uint8Array> =>
        use === 'sign'
          ? session.sign({ type: CKM.SHA256_RSA_PKCS }, signer, block(256))
          : session.decrypt(rawRsa, key, block(256))
      const before = card.log.length
      await run()
      const cold = card.log.length
      await run()
      const slot = use === 'sign' ? '9a' : '9d'
      counts[use] = commands(card)
        .slice(before)
        .map((command) => command.replace(slot, 'key'))
      expect(commands(card).slice(cold)).toEqual([`87 07 ${slot}`])
    }
    expect(counts['decrypt']).toEqual(counts['sign'])
    const { session, card, key } = await setUp()
    const before = card.log.length
    const [decryption] = session.begin({ type: 'decrypt', mechanism: rawRsa, key })
    expect(decryption?.outputBytes('single', 256)).toBe(256)
    expect(card.log.length).toBe(before)
  })
})

const hashes = [
  [CKM.SHA_1, CKG.MGF1_SHA1, 'sha1'],
  [CKM.SHA224, CKG.MGF1_SHA224, 'sha224'],
  [CKM.SHA256, CKG.MGF1_SHA256, 'sha256'],
  [CKM.SHA384, CKG.MGF1_SHA384, 'sha384'],
  [CKM.SHA512, CKG.MGF1_SHA512, 'sha512'],
] as const

/** Encrypts with Node's OpenSSL. The hash of MGF1 is the hash of the label. */
function encryptOaep(key: KeyObject, plain: Uint8Array, oaepHash: string, label?: Uint8Array): Uint8Array {
  const padding = constants.RSA_PKCS1_OAEP_PADDING
  const options = { key, padding, oaepHash, ...(label && { oaepLabel: Buffer.from(label) }) }
  return Uint8Array.from(publicEncrypt(options, plain))
}

describe('PKCS#1 v1.5 decryption', () => {
  const pkcs1 = { type: CKM.RSA_PKCS } as const
  const encrypted = (key: KeyObject, plain: Uint8Array): Uint8Array =>
    Uint8Array.from(publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, plain))

  it.each(['RSA-1024', 'RSA-2048', 'RSA-3072'] as const)(
    'decrypts what OpenSSL encrypted, with %s',
    async (kind) => {
      const { session, key, publicKey } = await setUp({ card: cardWith(makeKey[kind]()) })
      const bytes = key.get(CKA.MODULUS_BITS) / 8
      for (const length of [0, 1, 32, bytes - 11]) {
        const plain = Uint8Array.from(randomBytes(length))
        expect(await session.decrypt(pkcs1, key, encrypted(publicKey, plain))).toEqual(plain)
      }
    },
  )

  it('returns other bytes for any wrong padding, the same each time', async () => {
    const { session, key, publicKey, card, reader, slot } = await setUp()
    const wrong = Object.values({
      'a first byte that is not 0': () =>
        Uint8Array.of(1, 2, ...new Uint8Array(100).fill(9), 0, ...block(153)),
      'block type 1': () => Uint8Array.of(0, 1, ...new Uint8Array(100).fill(9), 0, ...block(153)),
      'a padding of 7 bytes': () => Uint8Array.of(0, 2, 9, 9, 9, 9, 9, 9, 9, 0, ...block(246)),
      'no zero': () => Uint8Array.of(0, 2, ...new Uint8Array(254).fill(9)),
    }).map((make) => encryptRaw(publicKey, make()))
    const results: Uint8Array[] = []
    for (const each of wrong) {
      const result = await session.decrypt(pkcs1, key, each)
      expect(result.length).toBeLessThanOrEqual(245)
      expect(await session.decrypt(pkcs1, key, each)).toEqual(result)
      results.push(result)
    }
    expect(new Set(results.map((each) => Buffer.from(each).toString('hex'))).size).toBe(wrong.length)
    // After a reinsertion it is the same card with the same key.
    reader.remove()
    reader.insert(card)
    const again = await slot.openSession({ pin: rightPin })
    const sameKey = await object(again, CKO.PRIVATE_KEY, 3)
    expect(await again.decrypt(pkcs1, sameKey, wrong[0] ?? expect.fail())).toEqual(results[0])
  })

  it('reports the longest possible output, and gives less', async () => {
    const { session, key, publicKey } = await setUp()
    const [decryption] = session.begin({ type: 'decrypt', mechanism: pkcs1, key })
    expect(decryption?.outputBytes('single', 256)).toBe(245)
    expect(await decryption?.single(encrypted(publicKey, bytesOf('short')))).toEqual(bytesOf('short'))
  })
})

describe('OAEP decryption', () => {
  it.each(hashes)(
    'decrypts what OpenSSL encrypted with hash %i, with labels of all lengths',
    async (hash, mgf, name) => {
      const { session, key, publicKey } = await setUp()
      for (const label of [
        undefined,
        new Uint8Array(0),
        bytesOf('label'),
        Uint8Array.from(randomBytes(300)),
      ]) {
        const plain = Uint8Array.from(randomBytes(16))
        const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf, label } } as const
        const encrypted = encryptOaep(publicKey, plain, name, label)
        expect(await session.decrypt(mechanism, key, encrypted)).toEqual(plain)
      }
      const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf } } as const
      const [decryption] = session.begin({ type: 'decrypt', mechanism, key })
      const most = decryption?.outputBytes('single', 256) ?? 0
      const longest = Uint8Array.from(randomBytes(most))
      expect(await decryption?.single(encryptOaep(publicKey, longest, name))).toEqual(longest)
      expect(() => encryptOaep(publicKey, Uint8Array.from(randomBytes(most + 1)), name)).toThrow(/too large/)
    },
  )

  it('fails with one code and one message for any error, after one use of the card', async () => {
    const { session, key, card, publicKey } = await setUp()
    const [hash, mgf] = hashes[2]
    const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf, label: bytesOf('a') } } as const
    await session.decrypt(mechanism, key, encryptOaep(publicKey, block(9), 'sha256', bytesOf('a')))
    const wrong = [
      encryptOaep(publicKey, block(9), 'sha256', bytesOf('b')),
      encryptOaep(publicKey, block(9), 'sha1', bytesOf('a')),
      encryptRaw(publicKey, block(256)),
      encryptRaw(publicKey, Uint8Array.of(1, ...new Uint8Array(255))),
      new Uint8Array(256),
    ]
    const errors: unknown[] = []
    for (const each of wrong) {
      const before = card.log.length
      errors.push(await session.decrypt(mechanism, key, each).then(undefined, (error: unknown) => error))
      expect(card.log.length).toBe(before + 1)
    }
    expect(errors).toEqual(wrong.map(() => rv(CKR.ENCRYPTED_DATA_INVALID)))
    expect(new Set(errors.map(String)).size).toBe(1)
    expect(session.active).toEqual([])
  })

  it('with invalid parameters returns CKR_MECHANISM_PARAM_INVALID at Init', async () => {
    const { session, key } = await setUp({ card: cardWith(makeKey['RSA-1024']()) })
    const [sha512, mgf] = hashes[4]
    for (const oaep of [
      undefined,
      { hash: CKM.SHA3_256, mgf },
      { hash: CKM.SHA256, mgf: 99 },
      // Two hashes of 64 bytes do not fit into the modulus.
      { hash: sha512, mgf },
    ])
      expect(() =>
        session.begin({ type: 'decrypt', mechanism: { type: CKM.RSA_PKCS_OAEP, oaep }, key }),
      ).toThrow(rv(CKR.MECHANISM_PARAM_INVALID) as Error)
    expect(session.active).toEqual([])
  })
})

describe('signatures with recovery', () => {
  it.each(['RSA-1024', 'RSA-2048'] as const)("with %s are recovered by Node's OpenSSL", async (kind) => {
    const card = cardWith(makeKey[kind](), { keyUsage: KeyUsage.digitalSignature })
    const { session, key, publicKey } = await setUp({ card })
    const bytes = key.get(CKA.MODULUS_BITS) / 8
    for (const length of [0, 1, 20, bytes - 11]) {
      const data = Uint8Array.from(randomBytes(length))
      const signature = await session.signRecover({ type: CKM.RSA_PKCS }, key, data)
      const recovered = publicDecrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, signature)
      expect(Uint8Array.from(recovered)).toEqual(data)
    }
    const data = block(bytes)
    const signature = await session.signRecover(rawRsa, key, data)
    const recovered = publicDecrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, signature)
    expect(Uint8Array.from(recovered)).toEqual(data)
  })

  it('of data that do not fit the key are refused before a PIN request', async () => {
    const card = cardWith(makeKey['RSA-2048'](), { keyUsage: KeyUsage.digitalSignature })
    const { session, key, card: virtual } = await setUp({ card, pin: null })
    const before = virtual.log.length
    const recover = (type: typeof CKM.RSA_PKCS | typeof CKM.RSA_X_509, data: Uint8Array) =>
      session.signRecover({ type }, key, data, { pin: () => expect.fail('a PIN was requested') })
    await expect(recover(CKM.RSA_PKCS, new Uint8Array(246))).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
    await expect(recover(CKM.RSA_X_509, new Uint8Array(257))).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
    await expect(recover(CKM.RSA_X_509, new Uint8Array(256).fill(0xff))).rejects.toEqual(rv(CKR.DATA_INVALID))
    expect(virtual.log.length).toBe(before)
  })

  it('with an EC key or a hashing mechanism are refused at Init', async () => {
    const card = cardWith(makeKey['P-256'](), { keyUsage: KeyUsage.digitalSignature })
    const { session, key } = await setUp({ card })
    const recover = (type: number, by: CkObject) =>
      session.begin({ type: 'sign-recover', mechanism: { type }, key: by })
    expect(() => recover(CKM.RSA_PKCS, key)).toThrow(rv(CKR.KEY_TYPE_INCONSISTENT) as Error)
    const rsa = await object(session, CKO.PRIVATE_KEY, 1)
    for (const type of [CKM.SHA256_RSA_PKCS, CKM.RSA_PKCS_PSS, CKM.ECDSA])
      expect(() => recover(type, rsa)).toThrow(rv(CKR.MECHANISM_INVALID) as Error)
  })
})

describe('a decryption requests PINs like a signature:', () => {
  it('a wrong PIN returns CKR_PIN_INCORRECT, is sent once, and the right one decrypts', async () => {
    const pins = ['999999', '123456']
    const { session, key, card, publicKey } = await setUp({
      pin: async () => ({ pin: bytesOf(pins.shift() ?? '') }),
    })
    const plain = block(256)
    const encrypted = encryptRaw(publicKey, plain)
    await expect(session.decrypt(rawRsa, key, encrypted)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect([verifies(card), card.pinTriesLeft]).toEqual([1, 2])
    expect(await session.decrypt(rawRsa, key, encrypted)).toEqual(plain)
    expect([verifies(card), card.pinTriesLeft]).toEqual([2, 3])
  })

  it('without a login it returns CKR_USER_NOT_LOGGED_IN at Init', async () => {
    const { session, cryptoki } = await open({ pin: null })
    onTestFinished(() => cryptoki.close())
    await session.login(CKU.USER, rightPin)
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    expect(await session.decrypt(rawRsa, key, block(256))).toHaveLength(256)
    await session.logout()
    await expect(session.decrypt(rawRsa, key, block(256))).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    const onDemand = await setUp({ pin: null })
    await expect(onDemand.session.decrypt(rawRsa, onDemand.key, block(256))).rejects.toEqual(
      rv(CKR.USER_NOT_LOGGED_IN),
    )
  })

  it('a PIN-always key in 9D gets the PIN right before each decryption', async () => {
    const { session, key, card, publicKey } = await setUp({ card: { policies: { '9D': { pin: 'always' } } } })
    const plain = block(256)
    const encrypted = encryptRaw(publicKey, plain)
    expect(await session.decrypt(rawRsa, key, encrypted)).toEqual(plain)
    const before = card.log.length
    // Refused once; from then on the key is known to need the PIN each time.
    expect(await session.decrypt(rawRsa, key, encrypted)).toEqual(plain)
    expect(key.get(CKA.ALWAYS_AUTHENTICATE)).toBe(true)
    expect(commands(card).slice(before).slice(-2)).toEqual(['20 00 80', '87 07 9d'])
    expect(await session.decrypt(rawRsa, key, encrypted)).toEqual(plain)
    expect(commands(card).slice(-2)).toEqual(['20 00 80', '87 07 9d'])
    // In C's order: the PIN for this use comes before the data.
    const [decryption] = session.begin({ type: 'decrypt', mechanism: rawRsa, key })
    await session.login(CKU.CONTEXT_SPECIFIC, rightPin)
    expect(await decryption?.single(encrypted)).toEqual(plain)
  })

  it('emits awaiting-touch, and a missed touch returns CKR_FUNCTION_REJECTED', async () => {
    const touches = [true, false]
    const { session, key } = await setUp({
      card: {
        atr: Uint8Array.from(Buffer.from('3bfd1300008131fe158073c021c057597562694b657940', 'hex')),
        vendorExtensions: true,
        policies: { '9D': { touch: 'always' } },
        touch: async () => touches.shift() ?? false,
      },
    })
    const phases: string[] = []
    const run = () =>
      session.decrypt(rawRsa, key, block(256)).result({ onEvent: ({ phase }) => phases.push(phase) })
    expect(await run()).toHaveLength(256)
    expect(phases).toContain('awaiting-touch')
    await expect(run()).rejects.toEqual(rv(CKR.FUNCTION_REJECTED))
  })

  it('pulling the card during it returns CKR_DEVICE_REMOVED', async () => {
    const held = new HeldResponse(0x87)
    const { session, key, reader } = await setUp({ intercept: held.intercept })
    const decryption = session.decrypt(rawRsa, key, block(256)).result()
    await held.reached
    reader.remove()
    await expect(decryption).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
    held.release()
  })

  it('an abort frees the session at once, in the dialog and while the card computes', async () => {
    const dialog = new HeldDialog()
    const held = new HeldResponse(0x87)
    const { session, key, publicKey } = await setUp({ intercept: held.intercept, pin: dialog.source })
    const first = new AbortController()
    const waiting = session.decrypt(rawRsa, key, block(256)).result({ signal: first.signal })
    await dialog.shown()
    expect(session.active).toEqual(['decrypt'])
    first.abort()
    await expect(waiting).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(session.active).toEqual([])
    const second = new AbortController()
    const plain = block(256)
    const encrypted = encryptRaw(publicKey, plain)
    const computing = session
      .decrypt(rawRsa, key, encrypted, { pin: rightPin })
      .result({ signal: second.signal })
    await held.reached
    second.abort()
    await expect(computing).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(session.active).toEqual([])
    held.release()
    expect(await session.decrypt(rawRsa, key, encrypted, { pin: rightPin })).toEqual(plain)
  })

  it('a response with a block of another length returns CKR_DEVICE_ERROR', async () => {
    const { session, key } = await setUp({
      intercept: async (command, card) => {
        const response = await card.process(command)
        return command[1] === 0x87 ? Uint8Array.of(0x7c, 0x03, 0x82, 0x01, 0x55, 0x90, 0x00) : response
      },
    })
    await expect(session.decrypt(rawRsa, key, block(256))).rejects.toEqual(rv(CKR.DEVICE_ERROR))
    expect(session.active).toEqual([])
  })
})

describe('C_GetMechanismInfo', () => {
  it("lists raw RSA for decryption and recovery with the sizes of the card's keys", async () => {
    const { slot } = await setUp()
    const info = (await slot.mechanisms()).get(CKM.RSA_X_509)
    expect(info).toMatchObject({ minKeyBits: 1024, maxKeyBits: 4096 })
    const flags = CKF.DECRYPT | CKF.UNWRAP | CKF.SIGN | CKF.SIGN_RECOVER
    expect((info?.flags ?? 0) & flags).toBe(flags)
  })
})

describe('a key wrapped for the card', () => {
  it('is unwrapped with each padding', async () => {
    const card = createPivCard({ policies: { '9D': { pin: 'never' } } })
    const spki = Buffer.from(card.publicKeyOf('9D') ?? [])
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    const { run, close } = await keyInDriver(card)
    onTestFinished(close)
    const wrapped = Uint8Array.from(randomBytes(32))
    const pkcs1 = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, wrapped)
    expect(await run('unwrap', { type: CKM.RSA_PKCS }, pkcs1)).toEqual(wrapped)
    const oaep = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 }
    const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep }
    expect(await run('unwrap', mechanism, encryptOaep(publicKey, wrapped, 'sha256'))).toEqual(wrapped)
    const whole = block(256)
    expect(await run('unwrap', rawRsa, encryptRaw(publicKey, whole))).toEqual(whole)
    await expect(run('unwrap', mechanism, block(256))).rejects.toEqual(rv(CKR.ENCRYPTED_DATA_INVALID))
  })
})

describe('random ciphertexts', () => {
  it('decrypt to other bytes with PKCS#1, and fail with one error with OAEP', async () => {
    const { session, key } = await setUp()
    const oaep = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 } as const
    const lengths = new Set<number>()
    for (let round = 0; round < 12; round++) {
      const ciphertext = block(256)
      lengths.add((await session.decrypt({ type: CKM.RSA_PKCS }, key, ciphertext)).length)
      await expect(session.decrypt({ type: CKM.RSA_PKCS_OAEP, oaep }, key, ciphertext)).rejects.toEqual(
        rv(CKR.ENCRYPTED_DATA_INVALID),
      )
    }
    expect(Math.max(...lengths)).toBeLessThanOrEqual(245)
    // 246 lengths are equally likely.
    expect(lengths.size).toBeGreaterThan(1)
  })
})
