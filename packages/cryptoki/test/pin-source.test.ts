/** What a PIN source may return, and that only an explicit consent uses the last attempt. */
import { ccidSlots } from '@webtoki/ccid'
import { CKR, CKU, Cryptoki, CryptokiError, type PinSource } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { bytesOf, open, verifies } from './piv-setup.ts'

const notConsent: readonly (readonly [string, unknown])[] = [
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
/** Consent without a PIN is not a PIN. */
const withoutPin = [
  ...notConsent,
  ['true', true],
  ['pin: undefined', { pin: undefined, acceptLastTry: true }],
  ['pin: null', { pin: null, acceptLastTry: true }],
  ['pin: a list of numbers', { pin: [...bytesOf('123456')], acceptLastTry: true }],
  ['pin: a number', { pin: 123456, acceptLastTry: true }],
] as const

describe('a PIN source that gives no PIN', () => {
  it.each(withoutPin)(
    'sends nothing and throws a CryptokiError for %s, returned or resolved',
    async (_name, returned) => {
      const { session, card, cryptoki } = await open({ pin: null })
      for (const source of [async () => returned, () => returned]) {
        const error: unknown = await session
          .login(CKU.USER, source as PinSource)
          .catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(CryptokiError)
        // undefined and null mean that the person cancelled.
        const nothing = returned === undefined || returned === null
        expect((error as CryptokiError).rv).toBe(nothing ? CKR.FUNCTION_CANCELED : CKR.ARGUMENTS_BAD)
      }
      expect([verifies(card), card.pinTriesLeft]).toEqual([0, 3])
      await cryptoki.close()
    },
  )
})

describe('the last attempt', () => {
  it.each(notConsent)('is not used if acceptLastTry is %s', async (_name, acceptLastTry) => {
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

  it.each(notConsent)(
    'is not started on the PIN pad if acceptLastTry is %s',
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
      for (const returned of [acceptLastTry, { pin: new Uint8Array(), acceptLastTry }]) {
        const source = async () => returned
        await expect(session?.login(CKU.USER, source as PinSource)).rejects.toBeInstanceOf(CryptokiError)
      }
      expect([typed, card.pinTriesLeft]).toEqual([2, 1])
      await cryptoki.close()
    },
  )
})
