/** What a page may answer when it is asked for a PIN, and that only an explicit yes spends anything. */
import { ccidSlots } from '@webtoki/ccid'
import { CKR, CKU, Cryptoki, CryptokiError, type PinSource } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { bytesOf, open, verifies } from './piv-setup.ts'

const unclear: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['false', false],
  ['{}', {}],
  ['[]', []],
  ["''", ''],
  ["'no'", 'no'],
  ["'true'", 'true'],
  ['0', 0],
  ['1', 1],
  ['NaN', Number.NaN],
]
/** A yes without a PIN is no PIN either. */
const pinless = [
  ...unclear,
  ['true', true],
  ['pin: undefined', { pin: undefined, acceptLastTry: true }],
  ['pin: null', { pin: null, acceptLastTry: true }],
  ['pin: a list of numbers', { pin: [...bytesOf('123456')], acceptLastTry: true }],
  ['pin: a number', { pin: 123456, acceptLastTry: true }],
] as const

describe('a PIN source that gives no PIN', () => {
  it.each(pinless)(
    'answers %s, at once or later: nothing is sent, and the error is typed',
    async (_name, answer) => {
      const { session, card, cryptoki } = await open({ pin: null })
      for (const source of [async () => answer, () => answer]) {
        const error: unknown = await session
          .login(CKU.USER, source as PinSource)
          .catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(CryptokiError)
        // Who cancels says so with nothing at all.
        const nothing = answer === undefined || answer === null
        expect((error as CryptokiError).rv).toBe(nothing ? CKR.FUNCTION_CANCELED : CKR.ARGUMENTS_BAD)
      }
      expect([verifies(card), card.pinTriesLeft]).toEqual([0, 3])
      await cryptoki.close()
    },
  )
})

describe('the last try', () => {
  it.each(unclear)('is not spent where the page says %s', async (_name, acceptLastTry) => {
    const { session, card, cryptoki } = await open({ pin: async () => ({ pin: bytesOf('999999') }) })
    for (let tries = 0; tries < 2; tries++) await session.login(CKU.USER).catch(() => {})
    const before = verifies(card)
    const source = async () => ({ pin: bytesOf('123456'), acceptLastTry })
    await expect(session.login(CKU.USER, source as PinSource)).rejects.toMatchObject({
      cause: { code: 'card/last-try' },
    })
    expect([verifies(card), card.pinTriesLeft]).toEqual([before, 1])
    await cryptoki.close()
  })

  it.each(unclear)(
    'is not begun on the reader’s keys where the page says %s',
    async (_name, acceptLastTry) => {
      const reader = new VirtualCcidReader(readerProfiles.cherrySt2000)
      const card = createPivCard()
      reader.insert(card)
      let typed = 0
      reader.person = async () => (typed++, { digits: '999999' })
      const usb = virtualUsb([reader])
      const cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()] })
      const [slot] = await firstValueFrom(cryptoki.slots$)
      const session = await slot?.openSession()
      for (let tries = 0; tries < 2; tries++)
        await session?.login(CKU.USER, async () => undefined).catch(() => {})
      expect(card.pinTriesLeft).toBe(1)
      for (const answer of [acceptLastTry, { pin: new Uint8Array(), acceptLastTry }]) {
        const source = async () => answer
        await expect(session?.login(CKU.USER, source as PinSource)).rejects.toBeInstanceOf(CryptokiError)
      }
      expect([typed, card.pinTriesLeft]).toEqual([2, 1])
      await cryptoki.close()
    },
  )
})
