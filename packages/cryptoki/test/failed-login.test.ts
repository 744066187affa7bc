/** What a failed login or a wrong PIN for one signature leaves on the card and in the next PIN request. */
import { CKM, CKO, CKR, CKS, CKU, type PinRequest, type PinSource } from '@webtoki/cryptoki'
import { type PivCard, readerProfiles } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { bytesOf, HeldResponse, HeldDialog, object, open, rightPin, rv, verifies } from './piv-setup.ts'

const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }
const message = bytesOf('x')
/** Counts VERIFY with P1 FF, which logs out. */
const logouts = (card: PivCard): number =>
  card.log.filter(({ ins, p1 }) => ins === 0x20 && p1 === 0xff).length

/** A PIN source that records its requests. */
function recordingPin(): { readonly source: PinSource; readonly requests: PinRequest[] } {
  const requests: PinRequest[] = []
  const source: PinSource = (request) => {
    requests.push(request)
    return rightPin(request)
  }
  return { source, requests }
}

describe('after a failed login, VERIFY with P1 FF is sent', () => {
  it('never after a wrong PIN: the card has reset the verification itself', async () => {
    const { session, card, cryptoki } = await open({ pin: async () => ({ pin: bytesOf('999999') }) })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([0, false])
  })

  it('never if no PIN was entered', async () => {
    const { session, card, cryptoki } = await open({ pin: async () => undefined })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    await cryptoki.close()
    expect(logouts(card)).toBe(0)
  })

  it.each(['abort', 'close', 'close all', 'finalize'] as const)(
    'at most once if %s happens while the card verifies',
    async (end) => {
      const verify = new HeldResponse(0x20)
      const { session, card, slot, cryptoki } = await open({ intercept: verify.intercept })
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

  it('once after a response to VERIFY that is neither success nor a wrong PIN', async () => {
    const { session, card, cryptoki } = await open({
      intercept: async (command, virtualCard) => {
        const response = await virtualCard.process(command)
        return command[1] === 0x20 && command.length > 5 ? Uint8Array.of(0x6f, 0) : response
      },
    })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.DEVICE_ERROR))
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([1, false])
  })

  it('not again when the session closes after a logout', async () => {
    const { session, card, cryptoki } = await open()
    await session.login(CKU.USER)
    await session.logout()
    await session.close()
    await cryptoki.close()
    expect([logouts(card), card.pinVerified]).toEqual([1, false])
  })
})

describe('a wrong PIN for one signature', () => {
  /** The PIN is entered in the page or on the reader's PIN pad. */
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
    'is reported in the next request, with the attempts left, until a PIN is right (%s)',
    async (place) => {
      const { session, card, requests, cryptoki } = await at(place, ['999999', '123456', '123456'])
      const key = await object(session, CKO.PRIVATE_KEY, 2)
      await expect(session.sign(ecdsa, key, message)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
      for (let round = 0; round < 2; round++) await session.sign(ecdsa, key, message)
      const reported = requests.map(({ purpose, attempt, previousWasWrong, triesLeft }) => [
        purpose,
        attempt,
        previousWasWrong,
        triesLeft,
      ])
      expect(reported).toEqual(
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
    'requires consent before the last attempt, and sends nothing without it (%s)',
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

  it('given to C_Login leaves the operation active, and the next PIN serves it', async () => {
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

  it('is avoided on a PIN pad once a refusal shows that the key needs a PIN for each use: one entry a use', async () => {
    const { source, requests } = recordingPin()
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

it('aborting a PIN dialog sends no VERIFY, neither with the PIN nor with P1 FF', async () => {
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
