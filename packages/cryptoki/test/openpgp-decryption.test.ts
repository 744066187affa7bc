/**
 * The decryption key of OpenPGP cards (PSO: DECIPHER): RSA through sessions, ECDH through the driver.
 * node:crypto checks the results.
 */
import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import { CKA, CKD, CKF, CKM, CKO, type CkObject, CKR, Cryptoki, type RawMechanism } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import {
  createOpenPgpCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keyInDriver, pointOf } from './key-management.ts'
import { bytesOf, type Intercept, rv } from './piv-setup.ts'

const pkcs1 = { type: CKM.RSA_PKCS } as const
const rsa: OpenPgpCardOptions = { algorithms: { decryption: 'rsa2048' } }

/** A session with the token under PW1-82, and its decryption key. */
async function setUp(
  options: OpenPgpCardOptions = rsa,
  pins: string[] = ['123456'],
  level: 'short' | 'extended' = 'extended',
) {
  const card = createOpenPgpCard(options)
  const reader = new VirtualCcidReader(
    level === 'short' ? readerProfiles.omnikey3021 : readerProfiles.dualiAbcm6,
  )
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({
    sources: [ccidSlots({ usb })],
    drivers: [openPgpDriver()],
    login: 'on-demand',
  })
  onTestFinished(() => cryptoki.close())
  await firstValueFrom(cryptoki.slots$).then(([first]) => first?.tokenInfo())
  const [, slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const pin = async () => ({ pin: bytesOf((pins.length > 1 ? pins.shift() : pins[0]) ?? '') })
  const session = await slot.openSession({ pin })
  const find = async (objectClass: CKO, id: number): Promise<CkObject> => {
    const [found] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(id) })
    return found as CkObject
  }
  return { card, reader, slot, session, find, key: await find(CKO.PRIVATE_KEY, 2) }
}

const publicKeyOf = (card: OpenPgpCard): KeyObject =>
  createPublicKey({ key: Buffer.from(card.publicKeyOf('decryption') ?? []), format: 'der', type: 'spki' })

const encrypted = (card: OpenPgpCard, plain: Uint8Array, padding = constants.RSA_PKCS1_PADDING): Uint8Array =>
  Uint8Array.from(publicEncrypt({ key: publicKeyOf(card), padding }, plain))

describe('the decryption key of an OpenPGP card', () => {
  it('is on the token of the authentication key, with its own uses only', async () => {
    const { find, key, session, slot } = await setUp({
      algorithms: { decryption: 'rsa2048', authentication: 'rsa2048' },
    })
    const uses = [CKA.SIGN, CKA.DECRYPT, CKA.UNWRAP, CKA.DERIVE] as const
    const authentication = await find(CKO.PRIVATE_KEY, 3)
    expect(uses.map((use) => key.get(use))).toEqual([false, true, true, false])
    expect(uses.map((use) => authentication.get(use))).toEqual([true, false, false, false])
    const [open, other] = [await find(CKO.PUBLIC_KEY, 2), await find(CKO.PUBLIC_KEY, 3)]
    const publicUses = [CKA.VERIFY, CKA.ENCRYPT, CKA.WRAP] as const
    expect(publicUses.map((use) => open.get(use))).toEqual([false, true, true])
    expect(publicUses.map((use) => other.get(use))).toEqual([true, false, false])
    const flags = (await slot.mechanisms()).get(CKM.RSA_PKCS)?.flags ?? 0
    expect(flags & (CKF.SIGN | CKF.DECRYPT | CKF.UNWRAP)).toBe(CKF.SIGN | CKF.DECRYPT | CKF.UNWRAP)
    await expect(session.sign(pkcs1, key, new Uint8Array(20))).rejects.toEqual(
      rv(CKR.KEY_FUNCTION_NOT_PERMITTED),
    )
    await expect(session.decrypt(pkcs1, authentication, new Uint8Array(256))).rejects.toEqual(
      rv(CKR.KEY_FUNCTION_NOT_PERMITTED),
    )
  })

  it('on a curve derives; an absent or X25519 key is not listed', async () => {
    const { key } = await setUp({})
    expect([key.get(CKA.DERIVE), key.get(CKA.DECRYPT)]).toEqual([true, false])
    for (const options of [
      { absentKeys: ['decryption'] },
      { algorithms: { decryption: 'x25519' } },
    ] as const) {
      const other = await setUp(options)
      expect(other.key).toBeUndefined()
      expect(await other.find(CKO.PRIVATE_KEY, 3)).toBeDefined()
    }
  })
})

describe('RSA decryption by an OpenPGP card', () => {
  it.each(['short', 'extended'] as const)('decrypts what OpenSSL encrypted, at %s level', async (level) => {
    const { card, session, key } = await setUp(rsa, ['123456'], level)
    for (const bytes of [0, 1, 32, 245]) {
      const plain = Uint8Array.from(randomBytes(bytes))
      expect(await session.decrypt(pkcs1, key, encrypted(card, plain))).toEqual(plain)
    }
  })

  it('returns other bytes for a wrong padding, the same each time', async () => {
    const { card, session, key } = await setUp()
    const results: Uint8Array[] = []
    for (const block of [
      Uint8Array.of(0, 1, ...new Uint8Array(100).fill(9), 0, ...new Uint8Array(153)),
      Uint8Array.of(0, 2, ...new Uint8Array(254).fill(9)),
      Uint8Array.of(0, 2, 9, 9, 9, 0, ...new Uint8Array(250)),
    ]) {
      const ciphertext = encrypted(card, block, constants.RSA_NO_PADDING)
      const result = await session.decrypt(pkcs1, key, ciphertext)
      expect(result.length).toBeLessThanOrEqual(245)
      expect(await session.decrypt(pkcs1, key, ciphertext)).toEqual(result)
      results.push(result)
    }
    expect(new Set(results.map((each) => Buffer.from(each).toString('hex'))).size).toBe(3)
    expect(card.log.filter(({ sw }) => sw === 0x6a80)).toHaveLength(6)
  })

  it('refuses a wrong length or a number above the modulus without a card command or a PIN request', async () => {
    const { card, session, key } = await setUp(rsa, [])
    const before = card.log.length
    for (const bytes of [0, 255, 257])
      await expect(session.decrypt(pkcs1, key, new Uint8Array(bytes))).rejects.toEqual(
        rv(CKR.ENCRYPTED_DATA_LEN_RANGE),
      )
    await expect(session.decrypt(pkcs1, key, new Uint8Array(256).fill(0xff))).rejects.toEqual(
      rv(CKR.ENCRYPTED_DATA_INVALID),
    )
    for (const type of [CKM.RSA_X_509, CKM.RSA_PKCS_OAEP])
      expect(() => session.begin({ type: 'decrypt', mechanism: { type }, key })).toThrow(
        rv(CKR.MECHANISM_INVALID) as Error,
      )
    expect(card.log.length).toBe(before)
  })

  it('requests the PIN once, sends a wrong one once, and then needs one command each', async () => {
    const { card, session, key } = await setUp(rsa, ['999999', '123456'])
    const plain = bytesOf('secret')
    const ciphertext = encrypted(card, plain)
    await expect(session.decrypt(pkcs1, key, ciphertext)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect(card.pinTriesLeft).toBe(2)
    expect(await session.decrypt(pkcs1, key, ciphertext)).toEqual(plain)
    expect(card.pinTriesLeft).toBe(3)
    const before = card.log.length
    expect(await session.decrypt(pkcs1, key, ciphertext)).toEqual(plain)
    expect(card.log.slice(before).map(({ ins, p1, p2 }) => [ins, p1, p2])).toEqual([[0x2a, 0x80, 0x86]])
  })

  it('returns CKR_FUNCTION_REJECTED if the key is not touched in time', async () => {
    const { card, session, key } = await setUp({ ...rsa, touch: { decryption: 'on' }, onTouch: () => false })
    await expect(session.decrypt(pkcs1, key, encrypted(card, bytesOf('x')))).rejects.toEqual(
      rv(CKR.FUNCTION_REJECTED),
    )
  })
})

describe.each([
  ['p256', 'P-256'],
  ['p384', 'P-384'],
] as const)('ECDH with an OpenPGP card key on %s', (decryption, namedCurve) => {
  const other = generateKeyPairSync('ec', { namedCurve })
  const mechanism: RawMechanism = {
    type: CKM.ECDH1_DERIVE,
    ecdh: { kdf: CKD.NULL, publicData: pointOf(other.publicKey) },
  }
  const options = { driver: openPgpDriver(), token: 1, id: 2 }

  it('gives the same secret as Node, whether the card returns x or the whole point', async () => {
    const card = createOpenPgpCard({ algorithms: { decryption } })
    const expected = Uint8Array.from(
      diffieHellman({ privateKey: other.privateKey, publicKey: publicKeyOf(card) }),
    )
    const unchanged: Intercept = (command) => card.process(command)
    const wholePoint: Intercept = async (command) => {
      const response = await card.process(command)
      if (command[1] !== 0x2a) return response
      return Uint8Array.of(4, ...response.subarray(0, -2), ...new Uint8Array(expected.length), 0x90, 0)
    }
    for (const intercept of [unchanged, wholePoint]) {
      const key = await keyInDriver(
        {
          atr: card.atr,
          reset: (kind) => card.reset(kind),
          powerOff: () => card.powerOff(),
          process: (command) => intercept(command, card as never),
        },
        options,
      )
      expect(await key.derive(mechanism, '123456')).toEqual(expected)
      await key.close()
    }
  })

  it('sends no command if the point is not on the curve', async () => {
    const card = createOpenPgpCard({ algorithms: { decryption } })
    const key = await keyInDriver(card, options)
    onTestFinished(() => key.close())
    const before = card.log.length
    const publicData = pointOf(other.publicKey)
    publicData[40] = (publicData[40] ?? 0) ^ 1
    await expect(
      key.derive({ type: CKM.ECDH1_DERIVE, ecdh: { kdf: CKD.NULL, publicData } }, '123456'),
    ).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
    expect(card.log.length).toBe(before)
  })
})
