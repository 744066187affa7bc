/** Logins of several sessions, C's order of a PIN before the data, and what a session tells of its state. */
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
import { openMemory, settled } from './memory-stand.ts'
import {
  bytesOf,
  commands,
  HeldAnswer,
  HeldDialog,
  object,
  open,
  rightPin,
  rv,
  verifies,
} from './piv-stand.ts'

const ecdsa = { type: CKM.ECDSA_SHA256 }
const rsa = { type: CKM.SHA256_RSA_PKCS }
const message = bytesOf('what is to be signed')
const wrongPin: PinSource = async () => ({ pin: bytesOf('654321') })

function fits(signature: Uint8Array, certificate: CkObject): boolean {
  const { publicKey } = new X509Certificate(certificate.get(CKA.VALUE))
  return verifyByNode('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
}

describe('a login while another session waits for its PIN', () => {
  it('waits, and is CKR_USER_ALREADY_LOGGED_IN if the first succeeds', async () => {
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
    ['the first person says no', undefined, CKR.FUNCTION_CANCELED],
  ])('asks for itself if %s', async (_, typed, refusal) => {
    const { session, slot, cryptoki } = await open()
    const other = await slot.openSession()
    let answer!: (pin: { pin: Uint8Array } | undefined) => void
    const first = session.login(CKU.USER, () => new Promise((resolve) => void (answer = resolve)))
    const refused = expect(first).rejects.toEqual(rv(refusal))
    const events: string[] = []
    const second = other.login(CKU.USER, rightPin, { onEvent: ({ phase }) => events.push(phase) })
    await settled()
    answer(typed === undefined ? undefined : { pin: bytesOf(typed) })
    await refused
    await second
    expect(events).toEqual(['awaiting-card', 'awaiting-pin', 'awaiting-card'])
    expect([session.state, other.state]).toEqual([CKS.RO_USER_FUNCTIONS, CKS.RO_USER_FUNCTIONS])
    await cryptoki.close()
  })

  it('leaves the first unharmed if it is aborted, or its session is closed', async () => {
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

  it('ends as removed with it if the card is pulled', async () => {
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

  it('of a third is next in turn, and only one of them is asked at a time', async () => {
    const { session, slot, card, cryptoki } = await open()
    const others = [await slot.openSession(), await slot.openSession()]
    let asked = 0
    let most = 0
    const no: PinSource = async () => {
      asked++
      most = Math.max(most, asked)
      await settled()
      asked--
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
  it('tells its phases, and its signal closes the dialog', async () => {
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

  it('is not lost if a listener throws, which is reported', async () => {
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

  it('whose signal has aborted before asks nobody', async () => {
    const { session, card, cryptoki } = await open()
    let asked = 0
    const pin: PinSource = () => {
      asked++
      return undefined
    }
    const login = session.login(CKU.USER, pin, { signal: AbortSignal.abort() })
    await expect(login).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect([asked, verifies(card)]).toEqual([0, 0])
    await cryptoki.close()
  })

  it('is made again after a wrong PIN for one signature, which took it away', async () => {
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
    // The standard's state was never lost, nor were the handles.
    expect(await session.sign(rsa, nineA, message)).toHaveLength(256)
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.USER_ALREADY_LOGGED_IN))
    await cryptoki.close()
  })

  it('that is made again and given up leaves the session as it was', async () => {
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

describe('logging out while a key that wants its PIN each time signs, with logins on demand,', () => {
  it.each(['the PIN is asked for', 'the card verifies', 'the card signs'])(
    'ends the signature and the handles: while %s',
    async (when) => {
      const held = new HeldAnswer(when === 'the card signs' ? 0x87 : 0x20)
      const { session, card, cryptoki } = await open({
        cryptoki: { login: 'on-demand' },
        ...(when === 'the PIN is asked for' ? {} : { between: held.between }),
      })
      const nineC = await object(session, CKO.PRIVATE_KEY, 2)
      const dialog = new HeldDialog()
      const isAsked = when === 'the PIN is asked for'
      const signing = session.sign(ecdsa, nineC, message, isAsked ? { pin: dialog.source } : {}).result()
      const ended = expect(signing).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
      await (isAsked ? dialog.shown() : held.reached)
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

  it('is CKR_USER_NOT_LOGGED_IN if nobody is logged in and no private key is in use', async () => {
    const { session, cryptoki } = await open({ cryptoki: { login: 'on-demand' } })
    const nineC = await object(session, CKO.PRIVATE_KEY, 2)
    await expect(session.logout()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    expect(await session.sign(ecdsa, nineC, message)).toHaveLength(64)
    await cryptoki.close()
  })
})

describe('a PIN for one operation, given before its data as C has it,', () => {
  async function begun(options: Parameters<typeof open>[0] = {}) {
    const stand = await open(options)
    const { session } = stand
    await session.login(CKU.USER, async () => ({ pin: bytesOf('123456'), acceptLastTry: true }))
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const certificate = await object(session, CKO.CERTIFICATE, 2)
    const [operation] = session.begin({ type: 'sign', mechanism: ecdsa, key })
    if (operation === undefined) throw new Error('Nothing was begun.')
    return { ...stand, key, certificate, operation }
  }

  it('is verified right before the signature, however many parts and size queries come between', async () => {
    const { session, card, operation, certificate, cryptoki } = await begun()
    expect(operation.wantsAuthorisation).toBe(true)
    await session.login(CKU.CONTEXT_SPECIFIC)
    expect(operation.wantsAuthorisation).toBe(false)
    await operation.update(message.subarray(0, 4))
    await operation.update(message.subarray(4))
    expect(operation.outputBytes('final')).toBe(64)
    await expect(operation.final({ maxBytes: 63 })).rejects.toEqual(rv(CKR.BUFFER_TOO_SMALL))
    const signature = await operation.final({ maxBytes: 64 })
    expect(fits(signature, certificate)).toBe(true)
    expect(commands(card).slice(-2)).toEqual(['20 00 80', '87 11 9c'])
    expect(verifies(card)).toBe(2)
    await cryptoki.close()
  })

  it('is wanted once, and by nothing else', async () => {
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

  it('if it is wrong leaves the operation as it was', async () => {
    const { session, operation, certificate, cryptoki } = await begun()
    await operation.update(message.subarray(0, 4))
    await expect(session.login(CKU.CONTEXT_SPECIFIC, wrongPin)).rejects.toEqual(rv(CKR.PIN_INCORRECT))
    expect([operation.phase, operation.wantsAuthorisation]).toEqual(['multi', true])
    await session.login(CKU.CONTEXT_SPECIFIC)
    await operation.update(message.subarray(4))
    expect(fits(await operation.final(), certificate)).toBe(true)
    await cryptoki.close()
  })

  it('if it was the last that the card takes ends the login of all, and the operation', async () => {
    const { session, operation, cryptoki } = await begun({ card: { pinTries: 1 } })
    const last: PinSource = async () => ({ pin: bytesOf('654321'), acceptLastTry: true })
    await expect(session.login(CKU.CONTEXT_SPECIFIC, last)).rejects.toEqual(rv(CKR.PIN_LOCKED))
    expect([session.state, operation.phase]).toEqual([CKS.RO_PUBLIC_SESSION, 'gone'])
    await cryptoki.close()
  })

  it('keeps the card, and a question about the token is answered without it', async () => {
    const { session, slot, card, operation, cryptoki } = await begun()
    await session.login(CKU.CONTEXT_SPECIFIC)
    const sent = card.log.length
    expect((await slot.tokenInfo()).model).toBe('PIV')
    expect(card.log.length).toBe(sent)
    expect(await operation.single(message)).toHaveLength(64)
    expect((await slot.tokenInfo()).model).toBe('PIV')
    await cryptoki.close()
  })

  it('is not asked for by the signature itself if nobody can be asked', async () => {
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

  it('and a card that is pulled end the operation', async () => {
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
    'is asked for no more once the operation is %s',
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

  it('ends while the card signs: the caller is free at once, and the card for the next', async () => {
    const held = new HeldAnswer(0x87)
    const { session, operation, key, cryptoki } = await begun({ between: held.between })
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

it('the security officer is not the user: no private key is used on demand, and the officer stays', async () => {
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

  function heard(session: Session): { states: unknown[] } {
    const states: unknown[] = []
    session.state$.subscribe({ next: (state) => states.push(state), complete: () => states.push('complete') })
    return { states }
  }

  it('is told at once and after each login and logout, until the session is closed', async () => {
    const { session, slot, cryptoki } = await openMemory()
    const writable = await slot.openSession({ readWrite: true })
    const [readOnly, readWrite] = [heard(session), heard(writable)]
    expect(readOnly.states).toEqual([open0])
    await session.login(CKU.USER)
    expect(heard(session).states).toEqual([user0])
    await writable.logout()
    await session.close()
    await writable.login(CKU.SO, async () => ({ pin: bytesOf('1234') }))
    expect(readOnly.states).toEqual([open0, user0, open0, 'complete'])
    expect(readWrite.states).toEqual([open1, user1, open1, officer])
    expect(heard(session).states).toEqual(['complete'])
    await cryptoki.close()
    expect(readWrite.states.at(-1)).toBe('complete')
  })

  it('does not tell of a login that went with the card', async () => {
    const { session, place } = await openMemory()
    await session.login(CKU.USER)
    const { states } = heard(session)
    place.pull()
    await session.ended
    expect(states.at(-1)).toBe('complete')
    expect(heard(session).states).toEqual(['complete'])
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
    if (first === undefined || second === undefined) throw new Error('Nothing was begun.')
    return { session, other, card, cryptoki, first, second }
  }

  it('is verified for the second when the first has signed', async () => {
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

  it('leaves the queue for the card when the second is cancelled, and the first goes on', async () => {
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

  it('is taken by a stream too, which then asks nobody', async () => {
    const { session, card, cryptoki, first } = await two()
    session.cancel()
    expect(first.phase).toBe('gone')
    const data = new Subject<Uint8Array>()
    const key = await object(session, CKO.PRIVATE_KEY, 2)
    const asked: string[] = []
    const pin: PinSource = ({ purpose }) => {
      asked.push(purpose)
      return undefined
    }
    const signing = session.sign(ecdsa, key, data, { pin }).result()
    await session.login(CKU.CONTEXT_SPECIFIC)
    data.next(message)
    data.complete()
    expect(await signing).toHaveLength(64)
    expect([asked, verifies(card)]).toEqual([[], 2])
    await cryptoki.close()
  })
})
