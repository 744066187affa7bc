import { createHash } from 'node:crypto'
import {
  type Attributes,
  CKA,
  CKF,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKS,
  CKU,
  Cryptoki,
  CryptokiError,
  type CryptokiOptions,
  type OperationEvent,
  type PinSource,
  type Session,
  type TokenDriver,
} from '@webtoki/cryptoki'
import { firstValueFrom, from, of, Subject, toArray } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { claimSource } from '../src/source.ts'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const sign = { type: CKM.SHA256_RSA_PKCS }
const plain = { type: CKM.RSA_PKCS }
const sha256 = { type: CKM.SHA256 }
const message = new TextEncoder().encode('what is to be signed')
const sha = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}
const pin: PinSource = async () => ({ pin: new TextEncoder().encode('1234') })

async function open(
  options: Partial<CryptokiOptions> & { readonly isDual?: boolean; readonly attributes?: Attributes } = {},
) {
  const { isDual = true, attributes, ...rest } = options
  const driver = new SoftwareDriver(attributes)
  const cardSlot = new MemorySlot()
  const cryptoki = new Cryptoki({ sources: [cardSlot], drivers: [driver], dualOperations: isDual, ...rest })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin })
  return { token: driver.token, cardSlot, cryptoki, slot, session }
}

async function find(session: Session, objectClass: CKO): Promise<CkObject> {
  const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) }
  const [object] = await session.findObjects(template)
  if (object === undefined) throw new Error('No such object found.')
  return object
}

async function keys(session: Session): Promise<{ own: CkObject; open: CkObject }> {
  return { own: await find(session, CKO.PRIVATE_KEY), open: await find(session, CKO.PUBLIC_KEY) }
}

const rv = (code: number) => expect.objectContaining({ rv: code })

describe('operations of one session', () => {
  it('conflict with CKR_OPERATION_ACTIVE before anything is used, and the first one continues', async () => {
    const { session } = await open()
    await session.login(CKU.USER)
    const { own } = await keys(session)
    const data = new Subject<Uint8Array>()
    const first = session.sign(sign, own, data).result()
    expect(session.active).toEqual(['sign'])
    await expect(session.sign(sign, own, message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    await expect(session.digest(sha256, message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    await expect(session.findObjects()).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    await expect(session.random(4)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    // The conflict is detected before key, mechanism and login are checked.
    await expect(session.sign({ type: 0x7777 } as never, own, message)).rejects.toEqual(
      rv(CKR.OPERATION_ACTIVE),
    )
    data.next(message)
    data.complete()
    expect(await first).toEqual(sha(message))
    expect(session.active).toEqual([])
  })

  it('can begin inside the result, the completion or the error of the previous one', async () => {
    const { session } = await open()
    const inside: Promise<Uint8Array>[] = []
    await new Promise<void>((resolve) => {
      session.digest(sha256, message).events$.subscribe({
        next: ({ phase }) => {
          if (phase === 'done') inside.push(session.digest(sha256, message).result())
        },
        complete: resolve,
      })
    })
    expect(await inside[0]).toEqual(sha(message))
    await new Promise<void>((resolve) => {
      session.digest(sha256, message).events$.subscribe({
        complete: () => {
          inside.push(session.digest(sha256, message).result())
          resolve()
        },
      })
    })
    expect(await inside[1]).toEqual(sha(message))
    const bad = of('not bytes') as unknown as Iterable<Uint8Array>
    await new Promise<void>((resolve) => {
      session.digest(sha256, bad).events$.subscribe({
        error: (error) => {
          expect(error).toEqual(rv(CKR.ARGUMENTS_BAD))
          inside.push(session.digest(sha256, message).result())
          resolve()
        },
      })
    })
    expect(await inside[2]).toEqual(sha(message))
  })

  it('can be active as a pair if the token supports two operations', async () => {
    const dual = await open()
    await dual.session.login(CKU.USER)
    const { open: publicKey } = await keys(dual.session)
    const digested = new Subject<Uint8Array>()
    const encrypted = new Subject<Uint8Array>()
    const digest = dual.session.digest(sha256, digested).result()
    const encryption = dual.session.encrypt(plain, publicKey, encrypted).result()
    expect(dual.session.active).toEqual(['digest', 'encrypt'])
    await expect(dual.session.findObjects()).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    digested.next(message)
    digested.complete()
    encrypted.complete()
    expect(await digest).toEqual(sha(message))
    expect(await encryption).toEqual(new Uint8Array(0))

    const single = await open({ isDual: false })
    const key = await find(single.session, CKO.PUBLIC_KEY)
    const waiting = single.session.digest(sha256, new Subject<Uint8Array>()).result()
    await expect(single.session.encrypt(plain, key, message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    single.session.cancel()
    await expect(waiting).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
  })

  it('with policy abandon end exactly the conflicting ones, and only after a successful Init', async () => {
    const { session } = await open({ onConflict: 'abandon' })
    await session.login(CKU.USER)
    const { own, open: publicKey } = await keys(session)
    const digest = session.digest(sha256, new Subject<Uint8Array>()).result()
    const bytes = new Subject<Uint8Array>()
    const encryption = session.encrypt(plain, publicKey, bytes).result()
    // This Init fails because of its mechanism: both continue.
    await expect(session.sign({ type: 0x7777 } as never, own, message)).rejects.toEqual(
      rv(CKR.MECHANISM_INVALID),
    )
    expect(session.active).toEqual(['digest', 'encrypt'])
    // Single-part functions never abandon.
    await expect(session.random(4)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    const data = new Subject<Uint8Array>()
    const signature = session.sign(sign, own, data).result()
    await expect(digest).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    expect(session.active).toEqual(['encrypt', 'sign'])
    bytes.complete()
    data.complete()
    expect(await encryption).toEqual(new Uint8Array(0))
    expect(await signature).toEqual(sha())
  })

  it('are abandoned by unsubscribing: the session is free at once, and the source is stopped', async () => {
    const { session } = await open()
    let isStopped = false
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield message
      } finally {
        isStopped = true
      }
    }
    const first = session.digest(sha256, endless())
    await new Promise<void>((resolve) => {
      const subscription = first.events$.subscribe(({ phase }) => {
        if (phase !== 'collecting') return
        subscription.unsubscribe()
        resolve()
      })
    })
    expect(session.active).toEqual([])
    expect(await session.digest(sha256, message)).toEqual(sha(message))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isStopped).toBe(true)
  })

  it('of two sessions are independent', async () => {
    const { slot, session } = await open()
    const other = await slot.openSession()
    const data = new Subject<Uint8Array>()
    const first = session.digest(sha256, data).result()
    expect(await other.digest(sha256, message)).toEqual(sha(message))
    data.complete()
    expect(await first).toEqual(sha())
  })

  it('emit their phases in order, and every kind of source gives the same digest', async () => {
    const { session } = await open()
    const [head, tail] = [message.slice(0, 5), message.slice(5)]
    const sources = [
      message,
      [head, tail],
      of(head, tail),
      (async function* () {
        yield head
        yield tail
      })(),
      new Blob([head, tail]).stream(),
    ]
    for (const source of sources) {
      const events = await firstValueFrom(session.digest(sha256, source).events$.pipe(toArray()))
      expect(events.at(-1)).toEqual({ phase: 'done', value: sha(message) })
      const collected = events.filter(
        (event): event is OperationEvent<Uint8Array> & { bytes: number } => event.phase === 'collecting',
      )
      expect(collected.at(-1)?.bytes).toBe(message.length)
    }
  })

  it('take hundreds of thousands of chunks pushed in advance in order, in linear time', async () => {
    const count = 200_000
    const chunks = claimSource(
      from(Array.from({ length: count }, (_, at) => Uint8Array.of(at & 0xff, at >> 8))),
    )()
    const begun = performance.now()
    for (let at = 0; at < count; at++) {
      const { value } = await chunks.next()
      if (value?.[0] !== (at & 0xff) || value[1] !== ((at >> 8) & 0xff))
        throw new Error(`Chunk ${at} is out of order.`)
    }
    expect(await chunks.next()).toEqual({ done: true })
    // Well below a second; most of a minute if the time were quadratic.
    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  it('end with the reason as the cause if their source fails', async () => {
    const { session } = await open()
    const broken = new Error('the file vanished')
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield message
      throw broken
    }
    await expect(session.digest(sha256, failing())).rejects.toMatchObject({ cause: broken })
    expect(session.active).toEqual([])
  })
})

describe('the dual functions', () => {
  const secret = message.map((byte) => byte ^ 0x5a)
  const chunks = [message.slice(0, 3), message.slice(3, 4), message.slice(4)]
  const secretChunks = [secret.slice(0, 3), secret.slice(3)]

  it('process the plaintext chunks in digest+encrypt and sign+encrypt', async () => {
    const { session } = await open()
    await session.login(CKU.USER)
    const { own, open: key } = await keys(session)
    const encrypt = { type: 'encrypt', mechanism: plain, key } as const
    expect(await session.together({ type: 'digest', mechanism: sha256 }, encrypt, chunks)).toEqual([
      sha(message),
      secret,
    ])
    const both = session.together(encrypt, { type: 'sign', mechanism: sign, key: own }, chunks)
    const events = await firstValueFrom(both.events$.pipe(toArray()))
    expect(events.at(-1)).toEqual({ phase: 'done', value: [secret, sha(message)] })
    const output = events.flatMap((event) => (event.phase === 'output' ? [...event.chunk] : []))
    expect(Uint8Array.from(output)).toEqual(secret)
  })

  it('digest all of the plaintext in decrypt+digest, its last bytes included', async () => {
    const { session } = await open()
    await session.login(CKU.USER)
    const key = await find(session, CKO.PRIVATE_KEY)
    const decrypt = { type: 'decrypt', mechanism: plain, key } as const
    expect(await session.together(decrypt, { type: 'digest', mechanism: sha256 }, secretChunks)).toEqual([
      message,
      sha(message),
    ])
  })

  it('open no cipher if the other operation is refused', async () => {
    const { session, token } = await open()
    await session.login(CKU.USER)
    const { own, open: key } = await keys(session)
    const encrypt = { type: 'encrypt', mechanism: plain, key } as const
    const refused = { type: 'sign', mechanism: { type: CKM.ECDSA }, key: own } as const
    await expect(session.together(encrypt, refused, message)).rejects.toEqual(rv(CKR.MECHANISM_INVALID))
    expect(token.ciphers).toEqual([])
  })

  it('refuse any other pair and leave nothing active', async () => {
    const { session } = await open({ onConflict: 'abandon' })
    const key = await find(session, CKO.PUBLIC_KEY)
    const encrypt = { type: 'encrypt', mechanism: plain, key } as const
    const decrypt = { type: 'decrypt', mechanism: plain, key } as const
    await expect(session.together(encrypt, decrypt as never, message)).rejects.toEqual(
      rv(CKR.OPERATION_ACTIVE),
    )
    const digest = { type: 'digest', mechanism: sha256 } as const
    await expect(session.together(digest, digest as never, message)).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    expect(session.active).toEqual([])
  })
})

describe('login', () => {
  it('moves all sessions of the token through the five states', async () => {
    const { slot, session } = await open()
    const writable = await slot.openSession({ readWrite: true })
    expect([session.state, writable.state]).toEqual([CKS.RO_PUBLIC_SESSION, CKS.RW_PUBLIC_SESSION])
    await expect(writable.login(CKU.SO, pin)).rejects.toEqual(rv(CKR.SESSION_READ_ONLY_EXISTS))
    await writable.login(CKU.USER, pin)
    expect([session.state, writable.state]).toEqual([CKS.RO_USER_FUNCTIONS, CKS.RW_USER_FUNCTIONS])
    const opened = await slot.openSession()
    expect(opened.state).toBe(CKS.RO_USER_FUNCTIONS)
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.USER_ALREADY_LOGGED_IN))
    await expect(session.login(CKU.SO)).rejects.toEqual(rv(CKR.USER_ANOTHER_ALREADY_LOGGED_IN))
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    await expect(session.login(3 as 1)).rejects.toEqual(rv(CKR.USER_TYPE_INVALID))
    await session.logout()
    expect(writable.state).toBe(CKS.RW_PUBLIC_SESSION)
    await expect(session.logout()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    await session.close()
    await opened.close()
    await writable.login(CKU.SO, pin)
    expect(writable.state).toBe(CKS.RW_SO_FUNCTIONS)
    await expect(slot.openSession()).rejects.toEqual(rv(CKR.SESSION_READ_WRITE_SO_EXISTS))
  })

  it('by two calls at once requests one PIN', async () => {
    const { session, cardSlot } = await open()
    const [first, second] = await Promise.allSettled([session.login(CKU.USER), session.login(CKU.USER)])
    expect(first.status).toBe('fulfilled')
    expect(second).toMatchObject({ status: 'rejected', reason: { rv: CKR.USER_ALREADY_LOGGED_IN } })
    expect(cardSlot.card.logins).toBe(1)
  })

  it('ends on the card when the last session closes, and not before', async () => {
    const { slot, session, cardSlot } = await open()
    const other = await slot.openSession()
    await session.login(CKU.USER)
    await other.close()
    expect(cardSlot.card.logouts).toBe(0)
    await session.close()
    expect(cardSlot.card.logouts).toBe(1)
  })

  it('ends with logout, as do handles of private objects and operations with one, but no others', async () => {
    const { session, slot } = await open()
    const other = await slot.openSession()
    await session.login(CKU.USER)
    const { own } = await keys(session)
    const signature = session.sign(sign, own, new Subject<Uint8Array>()).result()
    const data = new Subject<Uint8Array>()
    const digest = other.digest(sha256, data).result()
    await session.logout()
    await expect(signature).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    data.complete()
    expect(await digest).toEqual(sha())
    await session.login(CKU.USER)
    await expect(session.sign(sign, own, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    const { own: found } = await keys(session)
    expect(await session.sign(sign, found, message)).toEqual(sha(message))
  })

  it('is needed to find private objects, unless it is made on demand', async () => {
    const { session } = await open()
    expect(await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })).toEqual([])
    const lazy = await open({ login: 'on-demand' })
    const { own } = await keys(lazy.session)
    expect(lazy.cardSlot.card.logins).toBe(0)
    const phases: string[] = []
    await new Promise<void>((resolve, reject) => {
      lazy.session.sign(sign, own, message).events$.subscribe({
        next: ({ phase }) => phases.push(phase),
        complete: resolve,
        error: reject,
      })
    })
    expect(lazy.cardSlot.card.logins).toBe(1)
    expect(phases).toContain('awaiting-pin')
    expect(phases.at(-1)).toBe('done')
  })
})

describe('the end of a session', () => {
  it('by pulling the card is an error for running operations, and later calls get no session', async () => {
    const { session, cardSlot, token, slot } = await open()
    await session.login(CKU.USER)
    const { own } = await keys(session)
    token.signing = new Promise(() => {})
    const running = session.sign(sign, own, message).result()
    cardSlot.pull()
    await expect(running).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
    expect(await session.ended).toEqual(rv(CKR.DEVICE_REMOVED))
    expect(() => session.state).toThrow(CryptokiError)
    await expect(session.digest(sha256, message)).rejects.toEqual(rv(CKR.SESSION_HANDLE_INVALID))
    await expect(session.logout()).rejects.toEqual(rv(CKR.SESSION_HANDLE_INVALID))
    const again = await slot.openSession()
    expect(again.state).toBe(CKS.RO_PUBLIC_SESSION)
    await expect(again.sign(sign, own, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
  })

  it('by close ends its operations and no others', async () => {
    const { session, slot } = await open()
    const other = await slot.openSession()
    const data = new Subject<Uint8Array>()
    const running = session.digest(sha256, new Subject<Uint8Array>()).result()
    const concurrent = other.digest(sha256, data).result()
    await session.close()
    await expect(running).rejects.toEqual(rv(CKR.SESSION_CLOSED))
    expect(await session.ended).toBeUndefined()
    data.complete()
    expect(await concurrent).toEqual(sha())
  })

  it('during openSession, because the card is pulled, returns CKR_TOKEN_NOT_PRESENT', async () => {
    const cardSlot = new MemorySlot()
    const driver = new SoftwareDriver()
    const pulled: TokenDriver = {
      name: 'pulled',
      open: async (connection) => {
        cardSlot.pull()
        return driver.open(connection)
      },
    }
    const [slot] = await firstValueFrom(new Cryptoki({ sources: [cardSlot], drivers: [pulled] }).slots$)
    await expect(slot?.openSession()).rejects.toEqual(rv(CKR.TOKEN_NOT_PRESENT))
  })

  it('by closeAllSessions logs out and releases the card', async () => {
    const { session, slot, cardSlot } = await open()
    await session.login(CKU.USER)
    await slot.closeAllSessions()
    expect(cardSlot.card.logouts).toBe(1)
    expect(cardSlot.card.closed).toBe(1)
    await expect(session.random(1)).rejects.toEqual(rv(CKR.SESSION_HANDLE_INVALID))
  })
})

describe('checks that need no card come first: refused are', () => {
  it('a key that the search did not find', async () => {
    const { session } = await open()
    const [key] = await session.findObjects({ [CKA.ID]: Uint8Array.of(77) })
    await expect(session.sign(sign, key as CkObject, message)).rejects.toMatchObject({
      rv: CKR.KEY_HANDLE_INVALID,
      message: expect.stringContaining('the search found none') as string,
    })
  })

  it('mechanism, key type, key use', async () => {
    const { session, token } = await open()
    await session.login(CKU.USER)
    const { own, open: publicKey } = await keys(session)
    await expect(session.digest({ type: 0x7777 } as never, message)).rejects.toEqual(
      rv(CKR.MECHANISM_INVALID),
    )
    await expect(session.sign(sign, publicKey, message)).rejects.toEqual(rv(CKR.KEY_TYPE_INCONSISTENT))
    await expect(session.verify(sign, own, message, message)).rejects.toEqual(rv(CKR.KEY_TYPE_INCONSISTENT))
    await expect(session.sign({ type: CKM.ECDSA_SHA256 }, own, message)).rejects.toEqual(
      rv(CKR.MECHANISM_INVALID),
    )
    expect(token.signatures).toBe(0)
    expect(session.active).toEqual([])
  })

  it('a key that is not a key, and a number of random bytes that is not one', async () => {
    const { session } = await open()
    for (const notKey of [null, {}, 1]) {
      await expect(session.sign(sign, notKey as never, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
    }
    for (const bytes of [-1, 0.5, Number.NaN]) {
      await expect(session.random(bytes)).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
    }
  })

  it('a mechanism that the token has for another use', async () => {
    const { session, token } = await open()
    const publicKey = await find(session, CKO.PUBLIC_KEY)
    Object.defineProperty(token, 'mechanisms', {
      value: new Map([[CKM.RSA_PKCS, { minKeyBits: 0, maxKeyBits: 0, flags: CKF.SIGN }]]),
    })
    await expect(session.encrypt(plain, publicKey, message)).rejects.toEqual(rv(CKR.MECHANISM_INVALID))
  })

  it.each([
    ['smaller', 1024],
    ['larger', 8192],
  ])('a key %s than the mechanism takes', async (_, keyBits) => {
    const { session, token } = await open({ attributes: { [CKA.MODULUS_BITS]: keyBits } })
    await session.login(CKU.USER)
    const { own } = await keys(session)
    Object.defineProperty(token, 'mechanisms', {
      value: new Map([[CKM.RSA_PKCS, { minKeyBits: 2048, maxKeyBits: 4096, flags: CKF.SIGN }]]),
    })
    await expect(session.sign(plain, own, message)).rejects.toEqual(rv(CKR.KEY_SIZE_RANGE))
  })

  it.each(['sign', 'encrypt', 'decrypt'] as const)('a key that must not %s', async (use) => {
    const attributes = { [CKA.SIGN]: false, [CKA.ENCRYPT]: false, [CKA.DECRYPT]: false }
    const { session } = await open({ attributes })
    await session.login(CKU.USER)
    const { own, open: publicKey } = await keys(session)
    const key = use === 'encrypt' ? publicKey : own
    const refused: Promise<unknown> = session[use](plain, key, message).result()
    await expect(refused).rejects.toEqual(rv(CKR.KEY_FUNCTION_NOT_PERMITTED))
  })
})

describe('policy abandon', () => {
  it('lets a listener begin an operation when it is notified of the end of its own', async () => {
    const { cryptoki, session } = await open({ onConflict: 'abandon' })
    await session.login(CKU.USER)
    const key = await find(session, CKO.PRIVATE_KEY)
    const errors: string[] = []
    let again = 0
    const digest = () => session.digest(sha256, new Subject<Uint8Array>()).events$
    digest().subscribe({
      error: () => {
        // Digest and sign are not a pair, so this one ends the signature.
        digest().subscribe({ error: () => {} })
        again = session.active.length
      },
    })
    session
      .sign(sign, key, new Subject<Uint8Array>())
      .events$.subscribe({ error: (error: CryptokiError) => errors.push(error.rvName) })
    expect(again).toBe(1)
    expect(session.active).toEqual(['digest'])
    expect(errors).toEqual(['CKR_OPERATION_NOT_INITIALIZED'])
    await cryptoki.close()
  })
})
