/** The last attempt: it is announced whenever a card may be down to one, and spent only after an explicit yes. */
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
import { type Between, bytesOf, object, open, type Setup, type SetupOptions, verifies } from './piv-stand.ts'

const ecdsa = { type: CKM.ECDSA_SHA256 }
const one = { triesLeft: 1, lastTry: true }

/** A page that says yes to the last attempt, or does not; keeps what it was told. */
function page(says: 'yes' | 'nothing', pins: string[] = []) {
  const told: { triesLeft: number | undefined; lastTry: boolean }[] = []
  const source: PinSource = async ({ triesLeft, lastTry }: PinRequest) => {
    told.push({ triesLeft, lastTry })
    const pin = bytesOf(pins.shift() ?? '123456')
    return says === 'yes' ? { pin, acceptLastTry: true } : { pin }
  }
  return { told, source, pins }
}

const warnings = async ({ slot }: Setup): Promise<number> =>
  (await slot.tokenInfo()).flags & (CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED)
const final = CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY

async function signWith9c(session: Session): Promise<Uint8Array> {
  return session.sign(ecdsa, await object(session, CKO.PRIVATE_KEY, 2), bytesOf('x')).result()
}

/** A card that refuses VERIFY without data, as older PIV cards do. */
const silent: Between = async (command, card) =>
  command[1] === 0x20 && command[2] === 0 && command.length <= 5
    ? Uint8Array.of(0x67, 0)
    : card.process(command)
/** A card that cannot forget a PIN on request: it is reset. */
const unforgetting: Between = async (command, card) =>
  command[1] === 0x20 && command[2] === 0xff ? Uint8Array.of(0x6a, 0x86) : card.process(command)

describe('a card whose PIN may be wrong once (retry limit 1)', () => {
  const limitOne: PivCardOptions = { pinTries: 1 }

  it.each<[string, Partial<SetupOptions>]>([
    ['that forgets a PIN by VERIFY with P1 FF', {}],
    ['that has to be reset for it', { between: unforgetting }],
  ])('%s has one at each login, after a right PIN and a logout too', async (_, options) => {
    const { told, source } = page('yes')
    const made = await open({ card: limitOne, pin: source, ...options })
    for (let login = 0; login < 3; login++) {
      await made.session.login(CKU.USER)
      expect(await warnings(made)).toBe(final)
      await made.session.logout()
      expect(await warnings(made)).toBe(final)
    }
    expect(told).toEqual([one, one, one])
    await made.cryptoki.close()
  })

  it('has one attempt for each signature that asks, and a wrong PIN without a yes is not sent', async () => {
    const { told, source } = page('yes')
    const made = await open({ card: limitOne, pin: source })
    await made.session.login(CKU.USER)
    await signWith9c(made.session)
    const careless = page('nothing', ['999999'])
    const signing = made.session.sign(ecdsa, await object(made.session, CKO.PRIVATE_KEY, 2), bytesOf('x'), {
      pin: careless.source,
    })
    await expect(signing).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect([...told, ...careless.told]).toEqual([one, one, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })

  it('has one attempt after it was taken out and put in again', async () => {
    const { told, source } = page('yes')
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
    expect(told).toEqual([one, one])
    await made.cryptoki.close()
  })

  it('is taken to have one even if it tells no count after that', async () => {
    let isSilent = false
    const { told, source } = page('yes')
    const between: Between = (command, card) =>
      (isSilent ? silent : async () => card.process(command))(command, card)
    const made = await open({ card: limitOne, pin: source, between })
    await made.session.login(CKU.USER)
    isSilent = true
    await made.session.logout()
    const careless = page('nothing', ['999999'])
    await expect(made.session.login(CKU.USER, careless.source)).rejects.toMatchObject({
      cause: { code: 'card/last-try' },
    })
    expect([...told, ...careless.told]).toEqual([one, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

describe('a card that allows three wrong PINs', () => {
  it('has three again after a right PIN at the last attempt, as soon as it can be asked', async () => {
    const { told, source } = page('yes', ['999999', '999999', '123456'])
    const before = await open({ pin: source })
    for (let wrong = 0; wrong < 2; wrong++) await before.session.login(CKU.USER).catch(() => {})
    // Taken out: who opens it now has only ever heard of one attempt.
    before.reader.remove()
    await before.session.ended
    before.reader.insert(before.card)
    await firstValueFrom(before.slot.presence$.pipe(filter((presence) => presence === 'present')))
    const session = await before.slot.openSession({ pin: source })
    await session.login(CKU.USER)
    await session.logout()
    await session.login(CKU.USER)
    expect(told.slice(2)).toEqual([one, { triesLeft: 3, lastTry: false }])
    expect(await warnings(before)).toBe(0)
    await before.cryptoki.close()
  })

  it.each([
    { vendorExtensions: true, next: { triesLeft: 3, lastTry: false } },
    { vendorExtensions: false, next: one },
  ])(
    'after a right PIN at the last attempt the next is told as $next.triesLeft (metadata: $vendorExtensions)',
    async (how) => {
      const { told, source } = page('yes')
      const { vendorExtensions } = how
      const made = await open({ card: { vendorExtensions }, pin: source })
      const wrong = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('999999'), 0xff, 0xff)
      for (let spent = 0; spent < 2; spent++) await made.card.process(wrong)
      await made.session.login(CKU.USER)
      await signWith9c(made.session)
      await signWith9c(made.session)
      expect(told).toEqual([one, how.next, how.next])
      // A card that does not know the command is asked once.
      expect(made.card.log.filter(({ ins }) => ins === 0xf7)).toHaveLength(1)
      await made.cryptoki.close()
    },
  )

  it('is asked again after a logout, for somebody else may have used attempts of a PIN that both share', async () => {
    const { told, source } = page('nothing')
    const made = await open({ pin: source })
    await made.session.login(CKU.USER)
    await made.session.logout()
    const wrong = Uint8Array.of(0, 0x20, 0, 0x80, 8, ...bytesOf('99999999'))
    await made.card.process(wrong)
    await made.card.process(wrong)
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(told).toEqual([{ triesLeft: 3, lastTry: false }, one])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

describe('a card that tells its attempts only after a wrong PIN', () => {
  it('is known to have one left after it said so, and after a right PIN it may still have no more', async () => {
    const { told, source, pins } = page('yes', ['999999', '123456'])
    const made = await open({ card: { pinTries: 2 }, pin: source, between: silent })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    await made.session.login(CKU.USER)
    pins.push('123456')
    await signWith9c(made.session)
    expect(told).toEqual([{ triesLeft: undefined, lastTry: false }, one, one])
    await made.cryptoki.close()
  })

  it('may be down to one after an answer that got lost: nothing is sent without a yes', async () => {
    let isLost = false
    const between: Between = async (command, card) => {
      const answer = await silent(command, card)
      return isLost && command[1] === 0x20 && command.length > 5 ? Uint8Array.of(0x6f, 0) : answer
    }
    const { told, source } = page('nothing', ['999999', '999999', '999999'])
    const made = await open({ pin: source, between })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.PIN_INCORRECT })
    isLost = true
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ rv: CKR.DEVICE_ERROR })
    await expect(made.session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(told.map(({ lastTry }) => lastTry)).toEqual([false, false, true])
    expect(made.card.pinTriesLeft).toBe(1)
    await made.cryptoki.close()
  })
})

const actions = ['right', 'wrong', 'log out', 'sign', 'sign wrongly', 'reinsert'] as const
it('no sequence of logins, logouts, signatures and reinsertions blocks a card without a yes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.constantFrom(undefined, unforgetting),
      fc.array(fc.constantFrom(...actions), { minLength: 1, maxLength: 8 }),
      async (pinTries, between, sequence) => {
        let typed = '123456'
        const unannounced: number[] = []
        const source: PinSource = async ({ lastTry, triesLeft }) => {
          if (made.card.pinTriesLeft === 1 && !lastTry) unannounced.push(triesLeft ?? -1)
          // The right one may use the last attempt; a wrong one has nobody's yes.
          const isRight = typed === '123456'
          return { pin: bytesOf(typed), ...(isRight ? { acceptLastTry: true as const } : {}) }
        }
        const made = await open({
          card: { pinTries },
          pin: source,
          cryptoki: { login: 'on-demand' },
          ...(between && { between }),
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

it('the extra look at the counter is one APDU after a logout, and none between two signatures', async () => {
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
