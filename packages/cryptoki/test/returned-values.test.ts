/**
 * Returned values belong to the caller: writing into them changes neither the token's state nor what others
 * read.
 */
import { CKA, CKM, CKO, type CkObject, CKR, MemoryObjectCache } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { bytesOf, commands, object, open } from './piv-setup.ts'

const message = bytesOf('what is to be signed')

/** Writes as untyped code would: a frozen target throws a TypeError, any other accepts the write. */
function write(writing: () => void): void {
  try {
    writing()
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError)
  }
}
const set = (target: object, key: PropertyKey, value: unknown): void =>
  write(() => void ((target as Record<PropertyKey, unknown>)[key] = value))

describe('the attributes of an object', () => {
  it.each<[string, (key: CkObject) => void]>([
    ['in the map', (key) => set(key.attributes, CKA.SIGN, true)],
    ['by definition', (key) => write(() => Object.defineProperty(key.attributes, CKA.SIGN, { value: true }))],
    ['by another map', (key) => set(key, 'attributes', { ...key.attributes, [CKA.SIGN]: true })],
    [
      'by another map, defined',
      (key) =>
        write(() =>
          Object.defineProperty(key, 'attributes', { value: { ...key.attributes, [CKA.SIGN]: true } }),
        ),
    ],
  ])('do not let a 9D key sign that must not, if CKA_SIGN is written %s', async (_how, change) => {
    const { session, card } = await open({ cryptoki: { login: 'on-demand' } })
    const key = await object(session, CKO.PRIVATE_KEY, 3)
    expect(key.attributes[CKA.SIGN]).toBe(false)
    change(key)
    const signing = session.sign({ type: CKM.SHA256_RSA_PKCS }, key, message).result()
    await expect(signing).rejects.toMatchObject({ rv: CKR.KEY_FUNCTION_NOT_PERMITTED })
    expect(commands(card).some((command) => command.startsWith('87'))).toBe(false)
  })

  it('do not skip the PIN of a PIN-always key if CKA_ALWAYS_AUTHENTICATE is overwritten', async () => {
    const { session } = await open({ cryptoki: { login: 'on-demand' }, pin: null })
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    set(key.attributes, CKA.ALWAYS_AUTHENTICATE, false)
    set(key.attributes, CKA.PRIVATE, false)
    expect(key.isPrivate).toBe(true)
    const signing = session.sign({ type: CKM.ECDSA_SHA256 }, key, message).result()
    await expect(signing).rejects.toMatchObject({ rv: CKR.USER_NOT_LOGGED_IN })
  })

  it('are the same for every reader and session, even if their bytes are overwritten', async () => {
    const { session, slot, card } = await open()
    const value = card.certificateOf('9A')
    const certificate = await object(session, CKO.CERTIFICATE, 1)
    certificate.attributes[CKA.VALUE]?.fill(0)
    certificate.get(CKA.VALUE).fill(0)
    certificate.get(CKA.ID).fill(9)
    session.getAttributes(certificate, CKA.VALUE)[CKA.VALUE].fill(0)
    const other = await slot.openSession()
    for (const each of [
      certificate,
      await object(session, CKO.CERTIFICATE, 1),
      await object(other, CKO.CERTIFICATE, 1),
    ]) {
      expect(each.attributes[CKA.VALUE]).toEqual(value)
      expect(each.get(CKA.VALUE)).toEqual(value)
    }
    const key = await object(session, CKO.PUBLIC_KEY, 1)
    const before = Uint8Array.from(key.get(CKA.MODULUS))
    key.get(CKA.MODULUS).fill(0)
    expect(key.get(CKA.MODULUS)).toEqual(before)
  })
})

it('the objects of a token cannot be overwritten either', async () => {
  const driver = pivDriver()
  const { slot } = await open({
    cryptoki: {
      drivers: [
        {
          name: 'spying',
          open: async (connection) => {
            const tokens = await driver.open(connection)
            const objects = tokens[0]?.objects() ?? []
            for (const each of objects) {
              set(each.known, CKA.PRIVATE, false)
              each.known[CKA.ID]?.fill(9)
            }
            write(() => void (objects as unknown[]).splice(0))
            set(objects[0] as object, 'known', {})
            return tokens
          },
        },
      ],
    },
  })
  const session = await slot.openSession()
  expect(
    await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: Uint8Array.of(1) }),
  ).toHaveLength(1)
  // Private keys stay hidden until a login.
  expect(await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(1) })).toEqual([])
})

it('changing a returned mechanism list affects that caller only', async () => {
  const { slot, session, card } = await open({ cryptoki: { login: 'on-demand' } })
  const mechanisms = await slot.mechanisms()
  const rsa = mechanisms.get(CKM.SHA256_RSA_PKCS)
  write(() => void (mechanisms as Map<number, unknown>).delete(CKM.SHA256_RSA_PKCS))
  set(rsa as object, 'minKeyBits', 8192)
  const { slot: another } = await open()
  for (const each of [slot, another]) {
    expect((await each.mechanisms()).get(CKM.SHA256_RSA_PKCS)).toMatchObject({ minKeyBits: 1024 })
  }
  const key = await object(session, CKO.PRIVATE_KEY, 1)
  await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, message)
  expect(commands(card).some((command) => command.startsWith('87'))).toBe(true)
})

it('emptying a returned slot list does not affect the next subscriber', async () => {
  const { cryptoki } = await open()
  const slots = await firstValueFrom(cryptoki.slots$)
  write(() => void (slots as unknown[]).splice(0))
  expect(await firstValueFrom(cryptoki.slots$)).toHaveLength(1)
})

it.each([
  ['arrays', (bytes: Uint8Array) => bytes],
  ['Node Buffers', (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString('base64'), 'base64')],
])(
  'a cache that returns %s and overwrites them later does not change any certificate',
  async (_what, shape) => {
    const kept = new Map<string, Uint8Array>()
    const cache = {
      get: async (key: string) => kept.get(key),
      set: async (key: string, bytes: Uint8Array) => void kept.set(key, shape(bytes)),
    }
    for (let time = 0; time < 2; time++) {
      const { session, card } = await open({ cache: cache as unknown as MemoryObjectCache })
      const certificate = await object(session, CKO.CERTIFICATE, 1)
      const before = [...kept].map(([key, bytes]) => [key, Uint8Array.from(bytes)] as const)
      expect(before).toHaveLength(1)
      for (const bytes of kept.values()) bytes.fill(0)
      expect(certificate.get(CKA.VALUE)).toEqual(card.certificateOf('9A'))
      expect((await object(session, CKO.CERTIFICATE, 1)).get(CKA.VALUE)).toEqual(card.certificateOf('9A'))
      for (const [key, bytes] of before) kept.set(key, shape(bytes))
    }
  },
)
