/** What a failed login and a wrong PIN for one signature leave behind, on the card and with the person. */
import { CKM, CKO, CKR, CKS, CKU, type PinRequest, type PinSource } from '@webtoki/cryptoki'
import { type PivCard, readerProfiles } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { bytesOf, HeldAnswer, HeldDialog, object, open, rightPin, rv, verifies } from './piv-stand.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }
const message = bytesOf('x')
/** VERIFY with P1 FF. */
const logouts = (card: PivCard): number =>
  card.log.filter(({ ins, p1 }) => ins === 0x20 && p1 === 0xff).length

/** A PIN source that remembers what it was asked. */
function asked(): { readonly source: PinSource; readonly requests: PinRequest[] } {
  const requests: PinRequest[] = []
  const source: PinSource = (request) => {
    requests.push(request)
    return rightPin(request)
  }
  return { source, requests }
}

describe('after a login that failed, VERIFY with P1 FF is sent once at most', () => {
  it('never after a wrong PIN: the card has forgotten by itself', async () => {
    const { session, card, cryptoki } = await open({ pin: async () => ({ pin: bytesOf('999999') }) })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([0, false])
  })

  it('never if nobody typed a PIN', async () => {
    const { session, card, cryptoki } = await open({ pin: async () => undefined })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    await cryptoki.close()
    expect(logouts(card)).toBe(0)
  })

  it.each(['abort', 'close', 'close all', 'finalize'] as const)(
    'by %s while the card verifies',
    async (end) => {
      const verify = new HeldAnswer(0x20)
      const { session, card, slot, cryptoki } = await open({ between: verify.between })
      const controller = new AbortController()
      const login = session.login(CKU.USER, rightPin, { signal: controller.signal })
      await verify.reached
      const ending =
        end === 'abort'
          ? controller.abort()
          : end === 'close'
            ? session.close()
            : end === 'close all'
              ? slot.closeAllSessions()
              : cryptoki.close()
      verify.release()
      await expect(login).rejects.toThrow('CKR_')
      await ending
      await cryptoki.close()
      expect([verifies(card), card.pinVerified]).toEqual([1, false])
      expect(logouts(card)).toBeLessThanOrEqual(1)
    },
  )

  it('by an answer to VERIFY that says neither right nor wrong', async () => {
    const { session, card, cryptoki } = await open({
      between: async (command, own) => {
        const answer = await own.process(command)
        return command[1] === 0x20 && command.length > 5 ? Uint8Array.of(0x6f, 0) : answer
      },
    })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.DEVICE_ERROR))
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([1, false])
  })

  it('and a session that is closed after its logout sends none', async () => {
    const { session, card, cryptoki } = await open()
    await session.login(CKU.USER)
    await session.logout()
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([1, false])
  })
})

describe('a wrong PIN for one signature', () => {
  /** In the page, or on the keys of the reader. */
  const places = ['page', 'pad'] as const
  async function at(place: (typeof places)[number], pins: string[], acceptLastTry = true) {
    const requests: PinRequest[] = []
    const consent = acceptLastTry ? ({ acceptLastTry } as const) : {}
    const pin: PinSource = async (request) => {
      requests.push(request)
      return { pin: bytesOf(request.pinPad ? '' : (pins.shift() ?? '')), ...consent }
    }
    const made = await open({
      pin,
      cryptoki: { login: 'on-demand' },
      ...(place === 'pad' && { profile: readerProfiles.cherrySt2000 }),
    })
    made.reader.person = async () => ({ digits: pins.shift() ?? '' })
    return { ...made, requests }
  }

  it.each(places)(
    'is told in the next request, with the attempts left, until one is right (%s)',
    async (place) => {
      const { session, card, requests, cryptoki } = await at(place, ['999999', '123456', '123456'])
      const key = await object(session, CKO.PRIVATE_KEY, 2)
      await expect(session.sign(ecdsa, key, message)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
      for (let round = 0; round < 2; round++) await session.sign(ecdsa, key, message)
      const told = requests.map(({ purpose, attempt, previousWasWrong, triesLeft }) => [
        purpose,
        attempt,
        previousWasWrong,
        triesLeft,
      ])
      expect(told).toEqual(
        place === 'pad'
          ? []
          : [
              ['signature', 1, false, 3],
              ['signature', 2, true, 2],
              ['signature', 1, false, 3],
            ],
      )
      expect([verifies(card), card.pinTriesLeft]).toEqual([3, 3])
      await cryptoki.close()
    },
  )

  it.each(places)(
    'asks for a yes before the last attempt, and sends nothing without one (%s)',
    async (place) => {
      const { session, card, requests, cryptoki } = await at(place, ['999999', '999999', '123456'], false)
      const key = await object(session, CKO.PRIVATE_KEY, 2)
      for (let round = 0; round < 2; round++)
        await expect(session.sign(ecdsa, key, message)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
      await expect(session.sign(ecdsa, key, message)).rejects.toMatchObject({
        cause: { code: 'card/last-try' },
      })
      expect(requests.at(-1)).toMatchObject({
        purpose: 'signature',
        lastTry: true,
        previousWasWrong: true,
        attempt: 3,
      })
      expect([verifies(card), card.pinTriesLeft]).toEqual([2, 1])
      await cryptoki.close()
    },
  )

  it.each(places)('that blocks the PIN ends the login of all sessions (%s)', async (place) => {
    const { session, slot, card, cryptoki } = await at(place, ['123456', '999999', '999999', '999999'])
    const other = await slot.openSession({ pin: rightPin })
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await session.sign(rsa, nineA, message)
    for (const code of [CKR.PIN_INCORRECT, CKR.PIN_INCORRECT, CKR.PIN_LOCKED])
      await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(code))
    expect([session.state, other.state]).toEqual([CKS.RO_PUBLIC_SESSION, CKS.RO_PUBLIC_SESSION])
    const sent = verifies(card)
    await expect(other.login(CKU.USER)).rejects.toEqual(rv(CKR.PIN_LOCKED))
    expect([verifies(card), card.pinTriesLeft]).toEqual([sent, 0])
    await cryptoki.close()
  })

  it('typed for C_Login leaves the operation as it was, and the next PIN serves it', async () => {
    const { session, card, cryptoki } = await open({ pin: null })
    await session.login(CKU.USER, rightPin)
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const [operation] = session.begin({ type: 'sign', mechanism: ecdsa, key })
    const wrong: PinSource = async () => ({ pin: bytesOf('999999') })
    await expect(session.login(CKU.CONTEXT_SPECIFIC, wrong)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect(session.active).toEqual(['sign'])
    await session.login(CKU.CONTEXT_SPECIFIC, rightPin)
    await operation?.update(message)
    expect(await operation?.final()).toHaveLength(64)
    expect(card.pinTriesLeft).toBe(3)
    await cryptoki.close()
  })

  it('learned from a refusal on a PIN pad is typed there: one entry for each use', async () => {
    const { source, requests } = asked()
    const { session, card, cryptoki, reader } = await open({
      card: { policies: { '9A': { pin: 'always' } } },
      pin: source,
      cryptoki: { login: 'on-demand' },
      profile: readerProfiles.cherrySt2000,
    })
    let typed = 0
    reader.person = async () => {
      typed++
      return { digits: '123456' }
    }
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    for (let round = 0; round < 2; round++) expect(await session.sign(rsa, key, message)).toHaveLength(256)
    expect([typed, verifies(card), requests.length]).toEqual([2, 2, 0])
    await cryptoki.close()
  })
})

it('a dialog that is aborted sends no VERIFY, neither the PIN nor P1 FF', async () => {
  const dialog = new HeldDialog()
  const { session, card, cryptoki } = await open({ pin: dialog.source })
  const controller = new AbortController()
  const login = session.login(CKU.USER, undefined, { signal: controller.signal })
  await dialog.shown()
  controller.abort()
  await expect(login).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
  await dialog.type('123456')
  await cryptoki.close()
  expect([verifies(card), logouts(card)]).toEqual([0, 0])
})
