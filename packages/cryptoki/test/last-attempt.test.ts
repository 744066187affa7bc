/**
 * The last attempt: reported whenever the card may have only one left, and used only with explicit consent.
 */
import {
  CKA,
  CKF,
  CKM,
  CKO,
  CKR,
  CKU,
  type PinRequest,
  type PinSource,
  type Session,
} from '@webtoki/cryptoki'
import type { PivCardOptions } from '@webtoki/simulator'
import fc from 'fast-check'
import { filter, firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import {
  type Intercept,
  bytesOf,
  object,
  open,
  type Setup,
  type SetupOptions,
  verifies,
} from './piv-setup.ts'

const ecdsa = { type: CKM.ECDSA_SHA256 }
const one = { triesLeft: 1, lastTry: true }

/** A page that does or does not consent to the last attempt, and records the PIN requests. */
function page(consent: 'yes' | 'nothing', pins: string[] = []) {
  const requests: { triesLeft: number | undefined; lastTry: boolean }[] = []
  const source: PinSource = async ({ triesLeft, lastTry }: PinRequest) => {
    requests.push({ triesLeft, lastTry })
    const pin = bytesOf(pins.shift() ?? '123456')
    return consent === 'yes' ? { pin, acceptLastTry: true } : { pin }
  }
  return { requests, source, pins }
}

const warnings = async ({ slot }: Setup): Promise<number> =>
  (await slot.tokenInfo()).flags & (CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED)
const final = CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY

async function signWith9c(session: Session): Promise<Uint8Array> {
  return session.sign(ecdsa, await object(session, CKO.PRIVATE_KEY, 2), bytesOf('x')).result()
}

/** A card that refuses VERIFY without data, as older PIV cards do. */
const silent: Intercept = async (command, card) =>
  command[1] === 0x20 && command[2] === 0 && command.length <= 5
    ? Uint8Array.of(0x67, 0)
    : card.process(command)
/** A card that cannot end a verification on request and has to be reset. */
const withoutLogout: Intercept = async (command, card) =>
  command[1] === 0x20 && command[2] === 0xff ? Uint8Array.of(0x6a, 0x86) : card.process(command)

describe('a card that allows one wrong PIN (retry limit 1)', () => {
  const limitOne: PivCardOptions = { pinTries: 1 }

  it.each<[string, Partial<SetupOptions>]>([
    ['with logout by VERIFY with P1 FF', {}],
    ['with logout by reset', { intercept: withoutLogout }],
  ])('%s has one attempt at each login, also after a right PIN and a logout', async (_, options) => {
    const { requests, source } = page('yes')
    const made = await open({ card: limitOne, pin: source, ...options })
    for (let login = 0; login < 3; login++) {
      await made.session.login(CKU.USER)
      expect(await warnings(made)).toBe(final)
      await made.session.logout()
      expect(await warnings(made)).toBe(final)
    }
    expect(requests).toEqual([one, one, one])
    await made.cryptoki.close()
  })

  it('has one attempt for each PIN-always signature, and a wrong PIN without consent is not sent', async () => {
    const { requests, source } = page('yes')
    const made = await open({ card: limitOne, pin: source })
    await made.session.login(CKU.USER)
    await signWith9c(made.session)
    const unwilling = page('nothing', ['999999'])
    const signing = made.session.sign(ecdsa, await object(made.session, CKO.PRIVATE_KEY, 2), bytesOf('x'), {
      pin: unwilling.source,
    })
    await expect(signing).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect([...requests, ...unwilling.requests]).toEqual([one, one, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })

  it('has one attempt after it is pulled and inserted again', async () => {
    const { requests, source } = page('yes')
    const made = await open({ card: limitOne, pin: source })
    await made.session.login(CKU.USER)
    made.reader.remove()
    await made.session.ended
    made.reader.insert(made.card)
    await firstValueFrom(made.slot.presence$.pipe(filter((presence) => presence === 'present')))
    const session = await made.slot.openSession({ pin: source })
    expect(await warnings(made)).toBe(final)
    await session.login(CKU.USER)
    expect(await warnings(made)).toBe(final)
    expect(requests).toEqual([one, one])
    await made.cryptoki.close()
  })

  it('is assumed to have one attempt left even if it no longer reports a count', async () => {
    let isSilent = false
    const { requests, source } = page('yes')
    const intercept: Intercept = (command, card) =>
      (isSilent ? silent : async () => card.process(command))(command, card)
    const made = await open({ card: limitOne, pin: source, intercept })
    await made.session.login(CKU.USER)
    isSilent = true
    await made.session.logout()
    const unwilling = page('nothing', ['999999'])
    await expect(made.session.login(CKU.USER, unwilling.source)).rejects.toMatchObject({
      cause: { code: 'card/last-try' },
    })
    expect([...requests, ...unwilling.requests]).toEqual([one, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

describe('a card that allows three wrong PINs', () => {
  it('has three again after a right PIN at the last attempt, once the card reports the counter', async () => {
    const { requests, source } = page('yes', ['999999', '999999', '123456'])
    const before = await open({ pin: source })
    for (let wrong = 0; wrong < 2; wrong++) await before.session.login(CKU.USER).catch(() => {})
    // After a reinsertion the library has only seen one attempt left.
    before.reader.remove()
    await before.session.ended
    before.reader.insert(before.card)
    await firstValueFrom(before.slot.presence$.pipe(filter((presence) => presence === 'present')))
    const session = await before.slot.openSession({ pin: source })
    await session.login(CKU.USER)
    await session.logout()
    await session.login(CKU.USER)
    expect(requests.slice(2)).toEqual([one, { triesLeft: 3, lastTry: false }])
    expect(await warnings(before)).toBe(0)
    await before.cryptoki.close()
  })

  it.each([
    { vendorExtensions: true, next: { triesLeft: 3, lastTry: false } },
    { vendorExtensions: false, next: one },
  ])(
    'reports $next.triesLeft after a right PIN at the last attempt (metadata: $vendorExtensions)',
    async (how) => {
      const { requests, source } = page('yes')
      const { vendorExtensions } = how
      const made = await open({ card: { vendorExtensions }, pin: source })
      const wrong = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('999999'), 0xff, 0xff)
      for (let spent = 0; spent < 2; spent++) await made.card.process(wrong)
      await made.session.login(CKU.USER)
      await signWith9c(made.session)
      await signWith9c(made.session)
      expect(requests).toEqual([one, how.next, how.next])
      // A card that does not know the command gets it once.
      expect(made.card.log.filter(({ ins }) => ins === 0xf7)).toHaveLength(1)
      await made.cryptoki.close()
    },
  )

  it('is queried again after a logout, because others may have used attempts of a shared PIN', async () => {
    const { requests, source } = page('nothing')
    const made = await open({ pin: source })
    await made.session.login(CKU.USER)
    await made.session.logout()
    const wrong = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('99999999'))
    await made.card.process(wrong)
    await made.card.process(wrong)
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(requests).toEqual([{ triesLeft: 3, lastTry: false }, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

describe('a card that reports its attempts only after a wrong PIN', () => {
  it('has one left after reporting it, and is assumed to have one after a right PIN too', async () => {
    const { requests, source, pins } = page('yes', ['999999', '123456'])
    const made = await open({ card: { pinTries: 2 }, pin: source, intercept: silent })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    await made.session.login(CKU.USER)
    pins.push('123456')
    await signWith9c(made.session)
    expect(requests).toEqual([{ triesLeft: undefined, lastTry: false }, one, one])
    await made.cryptoki.close()
  })

  it('may have one left after a lost response: no PIN is sent without consent', async () => {
    let isLost = false
    const intercept: Intercept = async (command, card) => {
      const response = await silent(command, card)
      return isLost && command[1] === 0x20 && command.length > 5 ? Uint8Array.of(0x6f, 0) : response
    }
    const { requests, source } = page('nothing', ['999999', '999999', '999999'])
    const made = await open({ pin: source, intercept })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    isLost = true
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.DEVICE_ERROR })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(requests.map(({ lastTry }) => lastTry)).toEqual([false, false, true])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

const actions = ['right', 'wrong', 'log out', 'sign', 'sign wrongly', 'reinsert'] as const
it('no sequence of logins, logouts, signatures and reinsertions blocks a card without consent', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.constantFrom(undefined, withoutLogout),
      fc.array(fc.constantFrom(...actions), { minLength: 1, maxLength: 8 }),
      async (pinTries, intercept, sequence) => {
        let typed = '123456'
        const unannounced: number[] = []
        const source: PinSource = async ({ lastTry, triesLeft }) => {
          if (made.card.pinTriesLeft === 1 && !lastTry) unannounced.push(triesLeft ?? -1)
          // The right PIN may use the last attempt; a wrong one has no consent.
          const isRight = typed === '123456'
          return { pin: bytesOf(typed), ...(isRight ? { acceptLastTry: true as const } : {}) }
        }
        const made = await open({
          card: { pinTries },
          pin: source,
          cryptoki: { login: 'on-demand' },
          ...(intercept && { intercept }),
        })
        let { session } = made
        for (const action of sequence) {
          typed = action === 'wrong' || action === 'sign wrongly' ? '999999' : '123456'
          if (action === 'right' || action === 'wrong') await session.login(CKU.USER).catch(() => {})
          else if (action === 'log out') await session.logout().catch(() => {})
          else if (action === 'reinsert') {
            made.reader.remove()
            await session.ended
            made.reader.insert(made.card)
            await firstValueFrom(made.slot.presence$.pipe(filter((presence) => presence === 'present')))
            session = await made.slot.openSession({ pin: source })
          } else await signWith9c(session).catch(() => {})
        }
        await made.cryptoki.close()
        expect(unannounced).toEqual([])
        expect(made.card.pinTriesLeft).toBeGreaterThan(0)
      },
    ),
    { numRuns: 40 },
  )
})

it('reading the counter costs one APDU after a logout and none between two signatures', async () => {
  const made = await open()
  await made.session.login(CKU.USER)
  await signWith9c(made.session)
  made.card.log.length = 0
  await signWith9c(made.session)
  expect(made.card.log.map(({ ins }) => ins)).toEqual([0x20, 0x87])
  await made.session.logout()
  made.card.log.length = 0
  await made.session.login(CKU.USER)
  expect(made.card.log.map(({ ins, dataBytes }) => [ins, dataBytes])).toEqual([
    [0x20, 0],
    [0x20, 8],
  ])
  expect(verifies(made.card)).toBe(1)
  expect((await object(made.session, CKO.PRIVATE_KEY, 2)).get(CKA.ALWAYS_AUTHENTICATE)).toBe(true)
  await made.cryptoki.close()
})
