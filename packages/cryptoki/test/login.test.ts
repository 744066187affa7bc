/** Logins of several sessions, a PIN given before the data as in C, and the state$ of a session. */
import { verify as verifyByNode, X509Certificate } from 'node:crypto'
import {
  CKA,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKS,
  CKU,
  type OperationEvent,
  type PinSource,
  type Session,
} from '@webtoki/cryptoki'
import { config, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { openMemory, settled } from './memory-setup.ts'
import {
  bytesOf,
  commands,
  HeldResponse,
  HeldDialog,
  object,
  open,
  rightPin,
  rv,
  verifies,
} from './piv-setup.ts'

const ecdsa = { type: CKM.ECDSA_SHA256 }
const rsa = { type: CKM.SHA256_RSA_PKCS }
const message = bytesOf('what is to be signed')
const wrongPin: PinSource = async () => ({ pin: bytesOf('654321') })

function matches(signature: Uint8Array, certificate: CkObject): boolean {
  const { publicKey } = new X509Certificate(certificate.get(CKA.VALUE))
  return verifyByNode('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
}

describe('a login while another session waits for its PIN', () => {
  it('waits, and returns CKR_USER_ALREADY_LOGGED_IN if the first one succeeds', async () => {
    const { session, slot, card, cryptoki } = await open()
    const other = await slot.openSession({ pin: rightPin })
    const dialog = new HeldDialog()
    const first = session.login(CKU.USER, dialog.source)
    await dialog.shown()
    const events: OperationEvent<never>[] = []
    const second = other.login(CKU.USER, rightPin, { onEvent: (event) => events.push(event) })
    const outcome = expect(second).rejects.toEqual(rv(CKR.USER_ALREADY_LOGGED_IN))
    await settled()
    expect(events).toEqual([{ phase: 'awaiting-card', why: 'queued' }])
    expect(other.active).toEqual([])
    await dialog.type('123456')
    await first
    await outcome
    expect(verifies(card)).toBe(1)
    await cryptoki.close()
  })

  it.each([
    ['the first PIN is wrong', '654321', CKR.PIN_INCORRECT],
    ['the first dialog is cancelled', undefined, CKR.FUNCTION_CANCELED],
  ])('requests its own PIN if %s', async (_, typed, refusal) => {
    const { session, slot, cryptoki } = await open()
    const other = await slot.openSession()
    let resolvePin!: (pin: { pin: Uint8Array } | undefined) => void
    const first = session.login(CKU.USER, () => new Promise((resolve) => void (resolvePin = resolve)))
    const refused = expect(first).rejects.toEqual(rv(refusal))
    const events: string[] = []
    const second = other.login(CKU.USER, rightPin, { onEvent: ({ phase }) => events.push(phase) })
    await settled()
    resolvePin(typed === undefined ? undefined : { pin: bytesOf(typed) })
    await refused
    await second
    expect(events).toEqual(['awaiting-card', 'awaiting-pin', 'awaiting-card'])
    expect([session.state, other.state]).toEqual([CKS.RO_USER_FUNCTIONS, CKS.RO_USER_FUNCTIONS])
    await cryptoki.close()
  })

  it('does not disturb the first one if it is aborted or its session is closed', async () => {
    const { session, slot, card, cryptoki } = await open()
    const [aborted, closed] = [await slot.openSession(), await slot.openSession()]
    const dialog = new HeldDialog()
    const first = session.login(CKU.USER, dialog.source)
    await dialog.shown()
    const controller = new AbortController()
    const outcomes = Promise.allSettled([
      aborted.login(CKU.USER, rightPin, { signal: controller.signal }),
      closed.login(CKU.USER, rightPin),
    ])
    controller.abort(new Error('enough'))
    await closed.close()
    expect(await outcomes).toMatchObject([
      { reason: { rv: CKR.FUNCTION_CANCELED } },
      { reason: { rv: CKR.SESSION_CLOSED } },
    ])
    expect(dialog.requests[0]?.signal.aborted).toBe(false)
    await dialog.type('123456')
    await first
    expect(verifies(card)).toBe(1)
    expect(aborted.state).toBe(CKS.RO_USER_FUNCTIONS)
    await cryptoki.close()
  })

  it('ends together with it with CKR_DEVICE_REMOVED if the card is pulled', async () => {
    const { session, slot, reader, cryptoki } = await open()
    const other = await slot.openSession()
    const dialog = new HeldDialog()
    const both = Promise.allSettled([session.login(CKU.USER, dialog.source), other.login(CKU.USER, rightPin)])
    await dialog.shown()
    reader.remove()
    for (const outcome of await both)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { rv: CKR.DEVICE_REMOVED } })
    expect(dialog.requests[0]?.signal.aborted).toBe(true)
    await cryptoki.close()
  })

  it('of a third session waits too, and only one PIN is requested at a time', async () => {
    const { session, slot, card, cryptoki } = await open()
    const others = [await slot.openSession(), await slot.openSession()]
    let pending = 0
    let most = 0
    const no: PinSource = async () => {
      pending++
      most = Math.max(most, pending)
      await settled()
      pending--
      return undefined
    }
    const outcomes = await Promise.allSettled([session, ...others].map((each) => each.login(CKU.USER, no)))
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { rv: CKR.FUNCTION_CANCELED } })
    expect(most).toBe(1)
    expect(verifies(card)).toBe(0)
    await cryptoki.close()
  })
})

describe('a login', () => {
  it('emits its phases, and its signal closes the dialog', async () => {
    const { session, card, cryptoki } = await open()
    const controller = new AbortController()
    const dialog = new HeldDialog()
    const login = session.login(CKU.USER, dialog.source, { signal: controller.signal })
    const aborted = expect(login).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    await dialog.shown()
    controller.abort()
    await aborted
    expect(dialog.requests[0]?.signal.aborted).toBe(true)
    const events: unknown[] = []
    await session.login(CKU.USER, rightPin, { onEvent: (event) => events.push(event) })
    expect(events).toEqual([{ phase: 'awaiting-pin' }, { phase: 'awaiting-card', why: 'working' }])
    expect(verifies(card)).toBe(1)
    await cryptoki.close()
  })

  it('is not lost if a listener throws, and the error is reported', async () => {
    const { session, cryptoki } = await open()
    const reported: unknown[] = []
    config.onUnhandledError = (error) => reported.push(error)
    try {
      const onEvent = (): never => {
        throw new Error('the page is broken')
      }
      await session.login(CKU.USER, rightPin, { onEvent })
      await settled()
      await new Promise((resolve) => setTimeout(resolve))
    } finally {
      config.onUnhandledError = null
    }
    expect(reported[0]).toMatchObject({ message: 'the page is broken' })
    expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
    await cryptoki.close()
  })

  it('whose signal has already aborted requests no PIN', async () => {
    const { session, card, cryptoki } = await open()
    let requests = 0
    const pin: PinSource = () => {
      requests++
      return undefined
    }
    const login = session.login(CKU.USER, pin, { signal: AbortSignal.abort() })
    await expect(login).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect([requests, verifies(card)]).toEqual([0, 0])
    await cryptoki.close()
  })

  it('is made again after a wrong PIN for one signature, which ended it on the card', async () => {
    const { session, card, cryptoki } = await open()
    await session.login(CKU.USER)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    await expect(session.sign(ecdsa, nineC, message, { pin: wrongPin })).rejects.toEqual(
      rv(CKR.PIN_INCORRECT),
    )
    expect([card.pinVerified, session.state]).toEqual([false, CKS.RO_USER_FUNCTIONS])
    await session.login(CKU.USER)
    expect(card.pinVerified).toBe(true)
    // PKCS#11's session state and the handles were never lost.
    expect(await session.sign(rsa, nineA, message)).toHaveLength(256)
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.USER_ALREADY_LOGGED_IN))
    await cryptoki.close()
  })

  it('that is made again and cancelled leaves the session unchanged', async () => {
    const { session, cryptoki } = await open()
    await session.login(CKU.USER)
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await expect(session.sign(ecdsa, nineC, message, { pin: wrongPin })).rejects.toEqual(
      rv(CKR.PIN_INCORRECT),
    )
    await expect(session.login(CKU.USER, () => undefined)).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(session.state).toBe(CKS.RO_USER_FUNCTIONS)
    expect(await session.sign(ecdsa, nineC, message)).toHaveLength(64)
    await cryptoki.close()
  })
})

describe('logging out while a PIN-always key signs, with login: on-demand,', () => {
  it.each(['the PIN is requested', 'the card verifies', 'the card signs'])(
    'ends the signature and the handles while %s',
    async (when) => {
      const held = new HeldResponse(when === 'the card signs' ? 0x87 : 0x20)
      const { session, card, cryptoki } = await open({
        cryptoki: { login: 'on-demand' },
        ...(when === 'the PIN is requested' ? {} : { intercept: held.intercept }),
      })
      const nineC = await object(session, CKO.PRIVATE_KEY, 2)
      const dialog = new HeldDialog()
      const isRequested = when === 'the PIN is requested'
      const signing = session.sign(ecdsa, nineC, message, isRequested ? { pin: dialog.source } : {}).result()
      const ended = expect(signing).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
      await (isRequested ? dialog.shown() : held.reached)
      const logout = session.logout()
      expect(session.active).toEqual([])
      await ended
      held.release()
      await logout
      expect(card.pinVerified).toBe(false)
      await expect(session.sign(ecdsa, nineC, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
      expect(await session.sign(ecdsa, await object(session, CKO.PRIVATE_KEY, 2), message)).toHaveLength(64)
      await cryptoki.close()
    },
  )

  it('returns CKR_USER_NOT_LOGGED_IN without a login and without a private key in use', async () => {
    const { session, cryptoki } = await open({ cryptoki: { login: 'on-demand' } })
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await expect(session.logout()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(await session.sign(ecdsa, nineC, message)).toHaveLength(64)
    await cryptoki.close()
  })
})

describe('a PIN for one operation, given before its data as in C,', () => {
  async function begun(options: Parameters<typeof open>[0] = {}) {
    const setup = await open(options)
    const { session } = setup
    await session.login(CKU.USER, async () => ({ pin: bytesOf('123456'), acceptLastTry: true }))
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const certificate = await object(session, CKO.CERTIFICATE, 2)
    const [operation] = session.begin({ type: 'sign', mechanism: ecdsa, key })
    if (operation === undefined) throw new Error('An operation should be active.')
    return { ...setup, key, certificate, operation }
  }

  it('is verified right before the signature, after any number of parts and size queries', async () => {
    const { session, card, operation, certificate, cryptoki } = await begun()
    expect(operation.needsAuthorisation).toBe(true)
    await session.login(CKU.CONTEXT_SPECIFIC)
    expect(operation.needsAuthorisation).toBe(false)
    await operation.update(message.subarray(0, 4))
    await operation.update(message.subarray(4))
    expect(operation.outputBytes('final')).toBe(64)
    await expect(operation.final({ maxBytes: 63 })).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
    const signature = await operation.final({ maxBytes: 64 })
    expect(matches(signature, certificate)).toBe(true)
    expect(commands(card).slice(-2)).toEqual(['20 00 80', '87 11 9c'])
    expect(verifies(card)).toBe(2)
    await cryptoki.close()
  })

  it('is accepted once, and by this operation alone', async () => {
    const { session, operation, cryptoki } = await begun()
    await session.login(CKU.CONTEXT_SPECIFIC)
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(await operation.single(message)).toHaveLength(64)
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    const nineA = await object(session, CKO.PRIVATE_KEY, 1)
    const [unharmed] = session.begin({ type: 'sign', mechanism: rsa, key: nineA })
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    await expect(unharmed?.authorise(rightPin)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(await unharmed?.single(message)).toHaveLength(256)
    await cryptoki.close()
  })

  it('leaves the operation unchanged if it is wrong', async () => {
    const { session, operation, certificate, cryptoki } = await begun()
    await operation.update(message.subarray(0, 4))
    await expect(session.login(CKU.CONTEXT_SPECIFIC, wrongPin)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect([operation.phase, operation.needsAuthorisation]).toEqual(['multi', true])
    await session.login(CKU.CONTEXT_SPECIFIC)
    await operation.update(message.subarray(4))
    expect(matches(await operation.final(), certificate)).toBe(true)
    await cryptoki.close()
  })

  it('ends the login of all sessions and the operation if the card is then blocked', async () => {
    const { session, operation, cryptoki } = await begun({ card: { pinTries: 1 } })
    const last: PinSource = async () => ({ pin: bytesOf('654321'), acceptLastTry: true })
    await expect(session.login(CKU.CONTEXT_SPECIFIC, last)).rejects.toEqual(rv(CKR.PIN_LOCKED))
    expect([session.state, operation.phase]).toEqual([CKS.RO_PUBLIC_SESSION, 'gone'])
    await cryptoki.close()
  })

  it("keeps the card's lock, and tokenInfo needs no command meanwhile", async () => {
    const { session, slot, card, operation, cryptoki } = await begun()
    await session.login(CKU.CONTEXT_SPECIFIC)
    const sent = card.log.length
    expect((await slot.tokenInfo()).model).toBe('PIV')
    expect(card.log.length).toBe(sent)
    expect(await operation.single(message)).toHaveLength(64)
    expect((await slot.tokenInfo()).model).toBe('PIV')
    await cryptoki.close()
  })

  it('is not requested by the signature itself without a PIN source', async () => {
    const { session, operation, cryptoki } = await begun({ pin: null })
    await expect(operation.single(message)).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect([operation.phase, session.state]).toEqual(['gone', CKS.RO_USER_FUNCTIONS])
    await cryptoki.close()
  })

  it.each([
    'the operation is cancelled',
    'the session is closed',
    'the user logs out',
    'the data are refused',
  ])('holds the card until %s', async (how) => {
    const { session, slot, operation, cryptoki } = await begun()
    const other = await slot.openSession()
    await session.login(CKU.CONTEXT_SPECIFIC)
    let isFound = false
    const found = other
      .findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })
      .result()
      .then(() => (isFound = true))
    found.catch(() => {})
    await settled()
    expect(isFound).toBe(false)
    if (how === 'the operation is cancelled') session.cancel()
    else if (how === 'the session is closed') await session.close()
    else if (how === 'the user logs out') await session.logout()
    else {
      await operation.update(message)
      await expect(operation.single(message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    }
    await found.catch(() => {})
    expect(isFound || how === 'the user logs out').toBe(true)
    expect(operation.phase).toBe('gone')
    expect(await other.findObjects({ [CKA.CLASS]: CKO.CERTIFICATE })).toHaveLength(4)
    await cryptoki.close()
  })

  it('ends with its operation if the card is pulled', async () => {
    const { session, reader, operation, cryptoki } = await begun()
    await session.login(CKU.CONTEXT_SPECIFIC)
    const call = operation.update(message)
    reader.remove()
    await session.ended
    await call.catch(() => {})
    await expect(operation.final()).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    await cryptoki.close()
  })

  it.each(['cancelled', 'closed with its session'])(
    'is no longer requested after the operation is %s',
    async (how) => {
      const { session, card, operation, cryptoki } = await begun()
      const dialog = new HeldDialog()
      const login = session.login(CKU.CONTEXT_SPECIFIC, dialog.source)
      const code = how === 'cancelled' ? CKR.FUNCTION_CANCELED : CKR.SESSION_CLOSED
      const refused = expect(login).rejects.toEqual(rv(code))
      await dialog.shown()
      if (how === 'cancelled') operation.cancel(Object.assign(new Error('x'), { name: 'AbortError' }))
      await session.close()
      await refused.catch(() => {})
      expect(dialog.requests[0]?.signal.aborted).toBe(true)
      await dialog.type('123456')
      expect(verifies(card)).toBe(1)
      await cryptoki.close()
    },
  )

  it('is dropped if it is cancelled while the card signs, and the card is free for the next', async () => {
    const held = new HeldResponse(0x87)
    const { session, operation, key, cryptoki } = await begun({ intercept: held.intercept })
    await session.login(CKU.CONTEXT_SPECIFIC)
    const call = operation.single(message)
    const refused = expect(call).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    await held.reached
    session.cancel()
    await refused
    held.release()
    expect(await session.sign(ecdsa, key, message)).toHaveLength(64)
    await cryptoki.close()
  })
})

it('a security officer cannot use private keys on demand, and stays logged in', async () => {
  const { session, slot, token } = await openMemory({ login: 'on-demand' })
  const writable = await slot.openSession({ readWrite: true, pin: async () => ({ pin: bytesOf('1234') }) })
  await session.close()
  await writable.login(CKU.SO)
  const [key] = await writable.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })
  const signing = writable.sign(rsa, key as CkObject, message)
  await expect(signing).rejects.toEqual(rv(CKR.USER_ANOTHER_ALREADY_LOGGED_IN))
  expect([token.signatures, writable.state]).toEqual([0, CKS.RW_SO_FUNCTIONS])
})

describe('the state of a session', () => {
  const { RO_PUBLIC_SESSION: open0, RO_USER_FUNCTIONS: user0, RW_SO_FUNCTIONS: officer } = CKS
  const { RW_PUBLIC_SESSION: open1, RW_USER_FUNCTIONS: user1 } = CKS

  function record(session: Session): { states: unknown[] } {
    const states: unknown[] = []
    session.state$.subscribe({ next: (state) => states.push(state), complete: () => states.push('complete') })
    return { states }
  }

  it('is emitted at once and after each login and logout, until the session is closed', async () => {
    const { session, slot, cryptoki } = await openMemory()
    const writable = await slot.openSession({ readWrite: true })
    const [readOnly, readWrite] = [record(session), record(writable)]
    expect(readOnly.states).toEqual([open0])
    await session.login(CKU.USER)
    expect(record(session).states).toEqual([user0])
    await writable.logout()
    await session.close()
    await writable.login(CKU.SO, async () => ({ pin: bytesOf('1234') }))
    expect(readOnly.states).toEqual([open0, user0, open0, 'complete'])
    expect(readWrite.states).toEqual([open1, user1, open1, officer])
    expect(record(session).states).toEqual(['complete'])
    await cryptoki.close()
    expect(readWrite.states.at(-1)).toBe('complete')
  })

  it('does not emit a logout for a card that was pulled', async () => {
    const { session, cardSlot } = await openMemory()
    await session.login(CKU.USER)
    const { states } = record(session)
    cardSlot.pull()
    await session.ended
    expect(states.at(-1)).toBe('complete')
    expect(record(session).states).toEqual(['complete'])
  })
})

describe('a PIN for one operation, given before its data, in two sessions at once', () => {
  async function two() {
    const { session, slot, card, cryptoki } = await open()
    const other = await slot.openSession({ pin: rightPin })
    await session.login(CKU.USER)
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const [first] = session.begin({ type: 'sign', mechanism: ecdsa, key })
    const [second] = other.begin({ type: 'sign', mechanism: ecdsa, key })
    if (first === undefined || second === undefined) throw new Error('Two operations should be active.')
    return { session, other, card, cryptoki, first, second }
  }

  it('is verified for the second one after the first one has signed', async () => {
    const { session, other, card, cryptoki, first, second } = await two()
    await session.login(CKU.CONTEXT_SPECIFIC)
    const later = other.login(CKU.CONTEXT_SPECIFIC)
    await settled()
    expect(await first.single(message)).toHaveLength(64)
    await later
    expect(await second.single(message)).toHaveLength(64)
    expect(commands(card).slice(-4)).toEqual(['20 00 80', '87 11 9c', '20 00 80', '87 11 9c'])
    await cryptoki.close()
  })

  it('leaves the queue for the card if the second one is cancelled, and the first one continues', async () => {
    const { session, other, card, cryptoki, first } = await two()
    await session.login(CKU.CONTEXT_SPECIFIC)
    const later = other.login(CKU.CONTEXT_SPECIFIC)
    const refused = later.catch((error: unknown) => error)
    await settled()
    other.cancel()
    expect(await refused).toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(await first.single(message)).toHaveLength(64)
    expect(verifies(card)).toBe(2)
    await cryptoki.close()
  })

  it('is accepted by a stream too, which then requests no PIN', async () => {
    const { session, card, cryptoki, first } = await two()
    session.cancel()
    expect(first.phase).toBe('gone')
    const data = new Subject<Uint8Array>()
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const purposes: string[] = []
    const pin: PinSource = ({ purpose }) => {
      purposes.push(purpose)
      return undefined
    }
    const signing = session.sign(ecdsa, key, data, { pin }).result()
    await session.login(CKU.CONTEXT_SPECIFIC)
    data.next(message)
    data.complete()
    expect(await signing).toHaveLength(64)
    expect([purposes, verifies(card)]).toEqual([[], 2])
    await cryptoki.close()
  })
})
