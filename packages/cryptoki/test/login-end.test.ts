/** What ends a login, also on the card, and PIN dialogs that are no longer needed. */
import { CKA, CKM, CKO, CKR, CKS, CKU, Cryptoki, MemoryObjectCache, type PinSource } from '@webtoki/cryptoki'
import { filter, firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import {
  type Intercept,
  bytesOf,
  HeldResponse,
  HeldDialog,
  object,
  open,
  rightPin,
  rv,
  verifies,
} from './piv-setup.ts'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const message = bytesOf('x')
const rsa = { type: CKM.SHA256_RSA_PKCS }
const ecdsa = { type: CKM.ECDSA_SHA256 }

const isCertificateRead = (command: Uint8Array): boolean =>
  Buffer.from(command).toString('hex').includes('5c035fc105')

/** A card that refuses VERIFY without data, as older PIV cards do. */
const silentOnStatus =
  (intercept: Intercept): Intercept =>
  async (command, card) =>
    command[1] === 0x20 && command[2] === 0 && command.length <= 5
      ? Uint8Array.of(0x67, 0)
      : intercept(command, card)

describe('closing the last session ends the verification on the card', () => {
  it('if only the PIN of one signature was given', async () => {
    const { session, card, cryptoki } = await open({ cryptoki: { login: 'on-demand' } })
    await session.sign(ecdsa, await object(session, CKO.PRIVATE_KEY, 2), message)
    expect(card.pinVerified).toBe(true)
    await session.close()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })

  it('if the signature was abandoned while the card verified', async () => {
    const verify = new HeldResponse(0x20)
    const { session, card, cryptoki } = await open({
      intercept: verify.intercept,
      cryptoki: { login: 'on-demand' },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    const signing = session.sign(rsa, key, message).events$.subscribe({ error: () => {} })
    await verify.reached
    expect(card.pinVerified).toBe(true)
    signing.unsubscribe()
    verify.release()
    await session.close()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })

  it('if a certificate could not be read', async () => {
    const { session, card, cryptoki } = await open({ card: { unreadableCertificates: ['9C'] } })
    await session.login(CKU.USER)
    const found = await session.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
    expect(found.map((each) => each.get(CKA.ID)[0])).toEqual([1, 3, 4])
    await expect(object(session, CKO.CERTIFICATE, 2)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
    await session.close()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })

  it('if the card refuses to report its PIN status', async () => {
    const sign = new HeldResponse(0x87)
    const { session, card, cryptoki } = await open({
      cryptoki: { login: 'on-demand' },
      intercept: silentOnStatus(sign.intercept),
    })
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    const signing = session.sign(ecdsa, nineC, message).events$.subscribe({ error: () => {} })
    await sign.reached
    signing.unsubscribe()
    sign.release()
    const refused = session.sign(ecdsa, nineC, message, { pin: async () => undefined })
    await expect(refused).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    await session.close()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })

  it('by a reset if the card cannot end a verification on request', async () => {
    const { session, card, cryptoki } = await open({
      intercept: async (command, card) =>
        command[1] === 0x20 && command[2] === 0xff ? Uint8Array.of(0x6a, 0x86) : card.process(command),
    })
    await session.login(CKU.USER)
    await session.logout()
    expect(card.pinVerified).toBe(false)
    await session.login(CKU.USER)
    await session.sign(rsa, await object(session, CKO.PRIVATE_KEY, 1), message)
    await session.close()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })
})

it('an abandoned signature keeps the login on a card that refuses to report its PIN status', async () => {
  const sign = new HeldResponse(0x87)
  const { session, cryptoki } = await open({ intercept: silentOnStatus(sign.intercept) })
  await session.login(CKU.USER)
  const nineA = await object(session, CKO.PRIVATE_KEY, 1)
  const signing = session.sign(rsa, nineA, message).events$.subscribe({ error: () => {} })
  await sign.reached
  signing.unsubscribe()
  sign.release()
  expect(await session.sign(rsa, nineA, message)).toHaveLength(256)
  expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
  await cryptoki.close()
})

it('a session opened while all others close waits, and starts on a card without a login', async () => {
  const { session, slot, card, cryptoki } = await open()
  await session.login(CKU.USER)
  const closed = slot.closeAllSessions()
  const next = await slot.openSession({ pin: rightPin })
  await closed
  expect(card.pinVerified).toBe(false)
  expect(next.state).toBe(CKS.RO_PUBLIC_SESSION)
  await next.login(CKU.USER)
  expect(await next.sign(rsa, await object(next, CKO.PRIVATE_KEY, 1), message)).toHaveLength(256)
  await cryptoki.close()
})

it('tokenInfo while the card is released returns CKR_TOKEN_NOT_PRESENT, not a session error', async () => {
  const read = new HeldResponse(0xcb)
  const { slot, cryptoki } = await open({
    intercept: async (command, card) =>
      isCertificateRead(command) ? read.intercept(command, card) : card.process(command),
  })
  const refused = expect(slot.tokenInfo()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
  await read.reached
  const closed = slot.closeAllSessions()
  await refused
  read.release()
  await closed
  await cryptoki.close()
})

it("a logout during another session's login ends it, on the card and in the library", async () => {
  const verify = new HeldResponse(0x20)
  const { session, slot, card, cryptoki } = await open({ intercept: verify.intercept })
  const other = await slot.openSession()
  const login = session.login(CKU.USER)
  await verify.reached
  const logout = other.logout()
  verify.release()
  await Promise.all([login, logout])
  expect(card.pinVerified).toBe(false)
  expect(session.state).toBe(CKS.RO_PUBLIC_SESSION)
  await session.login(CKU.USER)
  expect(card.pinVerified).toBe(true)
  await cryptoki.close()
})

describe('a PIN dialog', () => {
  it('closes with its session, and a PIN typed afterwards costs no attempt', async () => {
    for (const others of [0, 1]) {
      const dialog = new HeldDialog()
      const { session, slot, card, cryptoki } = await open({ pin: dialog.source })
      if (others > 0) await slot.openSession()
      const login = session.login(CKU.USER)
      const refused = expect(login).rejects.toEqual(rv(CKR.SESSION_CLOSED))
      await dialog.shown()
      await session.close()
      await refused
      expect(dialog.requests[0]?.signal.aborted).toBe(true)
      await dialog.type('999999')
      expect(verifies(card)).toBe(0)
      expect(card.pinTriesLeft).toBe(3)
      await cryptoki.close()
    }
  })

  it('closes when the card is pulled', async () => {
    const dialog = new HeldDialog()
    const { session, reader, card, cryptoki } = await open({ pin: dialog.source })
    const refused = expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
    await dialog.shown()
    reader.remove()
    await refused
    expect(dialog.requests[0]?.signal.aborted).toBe(true)
    await dialog.type('123456')
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })

  it("that throws when it is aborted does not disturb the login's end or the slot", async () => {
    // Vitest would count the page's error as its own.
    const runners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const reported = new Promise((resolve) => process.once('uncaughtException', resolve))
    let shown!: () => void
    const isShown = new Promise<void>((resolve) => void (shown = resolve))
    const { session, slot, reader, card, cryptoki } = await open({
      pin: ({ signal }) => {
        signal.addEventListener('abort', () => {
          throw new Error('The dialog is not open.')
        })
        shown()
        return new Promise(() => {})
      },
    })
    const refused = expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
    await isShown
    reader.remove()
    await refused
    expect(await reported).toEqual(new Error('The dialog is not open.'))
    for (const listener of runners) process.on('uncaughtException', listener)
    reader.insert(card)
    await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
    expect((await slot.openSession()).state).toBe(CKS.RO_PUBLIC_SESSION)
    await cryptoki.close()
  })

  it('for one signature leaves the login unchanged if it is cancelled', async () => {
    let requests = 0
    const first = new HeldResponse(0x87)
    const { session, cryptoki } = await open({
      pin: async (request) => (requests++ === 0 ? rightPin(request) : undefined),
      intercept: first.intercept,
    })
    await session.login(CKU.USER)
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    const abandoned = session.sign(rsa, nineA, message).events$.subscribe({ error: () => {} })
    await first.reached
    abandoned.unsubscribe()
    first.release()
    await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await session.sign(rsa, nineA, message)).toHaveLength(256)
    await cryptoki.close()
  })

  it('is shown once if two sessions need the login at the same time', async () => {
    let requests = 0
    const pin: PinSource = async (request) => {
      requests++
      return rightPin(request)
    }
    const { session, slot, card, cryptoki } = await open({ cryptoki: { login: 'on-demand' }, pin })
    const other = await slot.openSession({ pin })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    const signatures = await Promise.all(
      [session, other].map((each) => each.sign(rsa, key, message).result()),
    )
    expect(signatures.map((each) => each.length)).toEqual([256, 256])
    expect([requests, verifies(card)]).toEqual([1, 1])
    await cryptoki.close()
  })

  it('is not shown for a signature that would be refused', async () => {
    let requests = 0
    const { session, card, cryptoki } = await open({
      cryptoki: { login: 'on-demand' },
      pin: async (request) => {
        requests++
        return rightPin(request)
      },
    })
    const key = await object(session, CKO.PRIVATE_KEY, 1)
    await expect(session.sign({ type: CKM.RSA_PKCS_PSS } as never, key, message)).rejects.toEqual(
      rv(CKR.MECHANISM_PARAM_INVALID),
    )
    const tooLong = new Uint8Array(246)
    await expect(session.sign({ type: CKM.RSA_PKCS }, key, tooLong)).rejects.toEqual(rv(CKR.DATA_LEN_RANGE))
    const modulus = key.get(CKA.MODULUS)
    await expect(session.sign({ type: CKM.RSA_X_509 }, key, modulus)).rejects.toEqual(rv(CKR.DATA_INVALID))
    expect(requests).toBe(0)
    expect(verifies(card)).toBe(0)
    const below = modulus.with(255, (modulus[255] as number) - 1)
    expect(await session.sign({ type: CKM.RSA_X_509 }, key, below)).toHaveLength(256)
    await cryptoki.close()
  })

  it('is needed but without a PIN source the signature fails at Init, and the login stays', async () => {
    const { session, card, cryptoki } = await open({ pin: null })
    await session.login(CKU.USER, rightPin)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
    await session.logout()
    expect(card.pinVerified).toBe(false)
    await cryptoki.close()
  })
})

it('a PIN blocked during one signature ends the login of all sessions', async () => {
  let requests = 0
  const { session, cryptoki } = await open({
    pin: async () => ({ pin: bytesOf(requests++ === 0 ? '123456' : '999999'), acceptLastTry: true }),
  })
  await session.login(CKU.USER)
  const nineC = await object(session, CKO.PRIVATE_KEY, 2)
  for (const code of [CKR.PIN_INCORRECT, CKR.PIN_INCORRECT, CKR.PIN_LOCKED])
    await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(code))
  expect(session.state).toBe(CKS.RO_PUBLIC_SESSION)
  await cryptoki.close()
})

it('a wrong PIN is reported as such by a card that does not report attempts', async () => {
  const { session, card, cryptoki } = await open({
    pin: async () => ({ pin: bytesOf('999999') }),
    intercept: silentOnStatus(async (command, card) => {
      const response = await card.process(command)
      return response[0] === 0x63 ? Uint8Array.of(0x63, 0) : response
    }),
  })
  await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
  expect(card.pinTriesLeft).toBe(2)
  await cryptoki.close()
})

it('after a wrong PIN for one signature, on-demand login requests it again and handles stay valid', async () => {
  const pins = ['123456', '999999', '123456']
  const { session, card, cryptoki } = await open({
    cryptoki: { login: 'on-demand' },
    pin: async () => ({ pin: bytesOf(pins.shift() ?? '') }),
  })
  const nineA = await object(session, CKO.PRIVATE_KEY, 1)
  const nineC = await object(session, CKO.PRIVATE_KEY, 2)
  await session.sign(rsa, nineA, message)
  await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
  expect(await session.sign(rsa, nineA, message)).toHaveLength(256)
  expect(verifies(card)).toBe(3)
  await cryptoki.close()
})

it.each([
  [0x6f, 0x00],
  [0x12, 0x34],
])(
  'after an unknown response to VERIFY (%i %i) the last attempt is still known as the last',
  async (...sw) => {
    let isOdd = false
    const lastTries: boolean[] = []
    const { session, card, cryptoki } = await open({
      pin: async ({ lastTry }) => {
        lastTries.push(lastTry)
        return { pin: bytesOf('999999') }
      },
      intercept: async (command, card) => {
        const response = await card.process(command)
        return command[1] === 0x20 && command[2] === 0 && command.length > 5 && isOdd
          ? Uint8Array.from(sw)
          : response
      },
    })
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    isOdd = true
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.DEVICE_ERROR))
    isOdd = false
    await expect(session.login(CKU.USER)).rejects.toMatchObject({ cause: { code: 'card/last-try' } })
    expect(lastTries).toEqual([false, false, true])
    expect(card.pinTriesLeft).toBe(1)
    await cryptoki.close()
  },
)

it('a read-only session cannot be opened while the security officer logs in', async () => {
  const cryptoki = new Cryptoki({
    sources: [new MemorySlot()],
    drivers: [new SoftwareDriver()],
  })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  const writer = await slot?.openSession({ readWrite: true })
  const dialog = new HeldDialog()
  const login = writer?.login(CKU.SO, dialog.source)
  await dialog.shown()
  await expect(slot?.openSession()).rejects.toEqual(rv(CKR.SESSION_READ_WRITE_SO_EXISTS))
  await dialog.type('1234')
  await login
  expect(writer?.state).toBe(CKS.RW_SO_FUNCTIONS)
})

describe('a certificate', () => {
  it('that is garbled once fails with CKR_DEVICE_ERROR, and is read the next time', async () => {
    let isGarbled = true
    const { session, cryptoki } = await open({
      intercept: async (command, card) => {
        const response = await card.process(command)
        if (command[1] === 0xcb && response.length > 400 && isGarbled) {
          isGarbled = false
          response[2] = 0xff
        }
        return response
      },
    })
    await expect(object(session, CKO.CERTIFICATE, 1)).rejects.toMatchObject({
      rv: CKR.DEVICE_ERROR,
      cause: { code: 'wire/malformed' },
    })
    expect((await object(session, CKO.CERTIFICATE, 1)).get(CKA.VALUE).length).toBeGreaterThan(800)
    await cryptoki.close()
  })

  it('is not taken from the cache if the card returned fewer bytes than requested', async () => {
    const cache = new MemoryObjectCache()
    const before = await open({ cache })
    await object(before.session, CKO.CERTIFICATE, 1)
    await before.cryptoki.close()
    const { session, cryptoki } = await open({
      cache,
      intercept: async (command, card) =>
        command[1] === 0xcb && Buffer.from(command).toString('hex').includes('5c035fc105')
          ? Uint8Array.of(0x53, 0x90, 0)
          : card.process(command),
    })
    const [found] = await session
      .findObjects({ [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: Uint8Array.of(1) })
      .result()
      .catch(() => [])
    expect(found).toBeUndefined()
    await cryptoki.close()
  })

  it.each(['short', 'extended'] as const)(
    'is read from a card that requires its own Le, at %s level',
    async (level) => {
      const { session, cryptoki } = await open({ level, card: { wrongLe: '6Cxx' } })
      await session.login(CKU.USER)
      const key = await object(session, CKO.PRIVATE_KEY, 1)
      expect(await session.sign(rsa, key, message)).toHaveLength(256)
      await cryptoki.close()
    },
  )
})
