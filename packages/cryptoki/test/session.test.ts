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
  if (slot === undefined) throw new Error('There is no slot.')
  const session = await slot.openSession({ pin })
  return { token: driver.token, cardSlot, cryptoki, slot, session }
}

async function find(session: Session, objectClass: CKO): Promise<CkObject> {
  const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) }
  const [object] = await session.findObjects(template)
  if (object === undefined) throw new Error('There is no such object.')
  return object
}

async function keys(session: Session): Promise<{ own: CkObject; open: CkObject }> {
  return { own: await find(session, CKO.PRIVATE_KEY), open: await find(session, CKO.PUBLIC_KEY) }
}

const rv = (code: number) => expect.objectContaining({ rv: code })

describe('operations of one session', () => {
  it('conflict with CKR_OPERATION_ACTIVE before anything is touched, and the first goes on unharmed', async () => {
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
    // Decided before key, mechanism or login are looked at.
    await expect(session.sign({ type: 0x7777 } as never, own, message)).rejects.toEqual(
      rv(CKR.OPERATION_ACTIVE),
    )
    data.next(message)
    data.complete()
    expect(await first).toEqual(sha(message))
    expect(session.active).toEqual([])
  })

  it('the next may begin inside the result, inside completion, and inside an error', async () => {
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

  it('two that make a pair stand beside each other, where the token supports two', async () => {
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

  it('under abandon an init ends exactly what stands in its way, and only when it has succeeded', async () => {
    const { session } = await open({ onConflict: 'abandon' })
    await session.login(CKU.USER)
    const { own, open: publicKey } = await keys(session)
    const digest = session.digest(sha256, new Subject<Uint8Array>()).result()
    const bytes = new Subject<Uint8Array>()
    const encryption = session.encrypt(plain, publicKey, bytes).result()
    // Fails for its mechanism: both go on.
    await expect(session.sign({ type: 0x7777 } as never, own, message)).rejects.toEqual(
      rv(CKR.MECHANISM_INVALID),
    )
    expect(session.active).toEqual(['digest', 'encrypt'])
    // One-call functions never abandon.
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

  it('unsubscribing abandons: the session is free at once, and the source is told to stop', async () => {
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

  it('on two sessions do not know of each other', async () => {
    const { slot, session } = await open()
    const other = await slot.openSession()
    const data = new Subject<Uint8Array>()
    const first = session.digest(sha256, data).result()
    expect(await other.digest(sha256, message)).toEqual(sha(message))
    data.complete()
    expect(await first).toEqual(sha())
  })

  it('tell their phases in order, and a source of any kind gives the same digest', async () => {
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

  it('chunks that are pushed by the hundred thousand before anybody pulls are taken in their order, and soon', async () => {
    const count = 200_000
    const chunks = claimSource(
      from(Array.from({ length: count }, (_, at) => Uint8Array.of(at & 0xff, at >> 8))),
    )()
    const begun = performance.now()
    for (let at = 0; at < count; at++) {
      const { value } = await chunks.next()
      if (value?.[0] !== (at & 0xff) || value[1] !== ((at >> 8) & 0xff))
        throw new Error(`Chunk ${at} is another.`)
    }
    expect(await chunks.next()).toEqual({ done: true })
    // Well below a second; most of a minute where the work grows with the square.
    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  it('a source that fails ends its operation, with the reason as the cause', async () => {
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

  it('digest and encrypt, sign and encrypt see the plain chunks', async () => {
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

  it('decrypt and digest gives the digest of what was decrypted, its last bytes included', async () => {
    const { session } = await open()
    await session.login(CKU.USER)
    const key = await find(session, CKO.PRIVATE_KEY)
    const decrypt = { type: 'decrypt', mechanism: plain, key } as const
    expect(await session.together(decrypt, { type: 'digest', mechanism: sha256 }, secretChunks)).toEqual([
      message,
      sha(message),
    ])
  })

  it('a pair whose second half is refused opens no cipher for the first', async () => {
    const { session, token } = await open()
    await session.login(CKU.USER)
    const { own, open: key } = await keys(session)
    const encrypt = { type: 'encrypt', mechanism: plain, key } as const
    const refused = { type: 'sign', mechanism: { type: CKM.ECDSA }, key: own } as const
    await expect(session.together(encrypt, refused, message)).rejects.toEqual(rv(CKR.MECHANISM_INVALID))
    expect(token.ciphers).toEqual([])
  })

  it('any other pair is refused, and leaves nothing active', async () => {
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
    const born = await slot.openSession()
    expect(born.state).toBe(CKS.RO_USER_FUNCTIONS)
    await expect(session.login(CKU.USER)).rejects.toEqual(rv(CKR.USER_ALREADY_LOGGED_IN))
    await expect(session.login(CKU.SO)).rejects.toEqual(rv(CKR.USER_ANOTHER_ALREADY_LOGGED_IN))
    await expect(session.login(CKU.CONTEXT_SPECIFIC)).rejects.toEqual(rv(CKR.OPERATION_NOT_INITIALIZED))
    await expect(session.login(3 as 1)).rejects.toEqual(rv(CKR.USER_TYPE_INVALID))
    await session.logout()
    expect(writable.state).toBe(CKS.RW_PUBLIC_SESSION)
    await expect(session.logout()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    await session.close()
    await born.close()
    await writable.login(CKU.SO, pin)
    expect(writable.state).toBe(CKS.RW_SO_FUNCTIONS)
    await expect(slot.openSession()).rejects.toEqual(rv(CKR.SESSION_READ_WRITE_SO_EXISTS))
  })

  it('two at once ask one person one time', async () => {
    const { session, cardSlot } = await open()
    const [first, second] = await Promise.allSettled([session.login(CKU.USER), session.login(CKU.USER)])
    expect(first.status).toBe('fulfilled')
    expect(second).toMatchObject({ status: 'rejected', reason: { rv: CKR.USER_ALREADY_LOGGED_IN } })
    expect(cardSlot.card.logins).toBe(1)
  })

  it('closing the last session logs out on the card, and any other does not', async () => {
    const { slot, session, cardSlot } = await open()
    const other = await slot.openSession()
    await session.login(CKU.USER)
    await other.close()
    expect(cardSlot.card.logouts).toBe(0)
    await session.close()
    expect(cardSlot.card.logouts).toBe(1)
  })

  it('logging out ends handles of private objects for good, and the operations that hold one, and no other', async () => {
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

  it('hides private objects until then, unless logins are made on demand', async () => {
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
  it('a pulled card is an error for what runs, and no session for what comes later', async () => {
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

  it('closing ends its operations, and those of no other', async () => {
    const { session, slot } = await open()
    const other = await slot.openSession()
    const data = new Subject<Uint8Array>()
    const running = session.digest(sha256, new Subject<Uint8Array>()).result()
    const beside = other.digest(sha256, data).result()
    await session.close()
    await expect(running).rejects.toEqual(rv(CKR.SESSION_CLOSED))
    expect(await session.ended).toBeUndefined()
    data.complete()
    expect(await beside).toEqual(sha())
  })

  it('a card that goes while its first session is opened is told of as a slot tells: there is no token', async () => {
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

  it('closing all sessions logs out and gives the card back', async () => {
    const { session, slot, cardSlot } = await open()
    await session.login(CKU.USER)
    await slot.closeAllSessions()
    expect(cardSlot.card.logouts).toBe(1)
    expect(cardSlot.card.closed).toBe(1)
    await expect(session.random(1)).rejects.toEqual(rv(CKR.SESSION_HANDLE_INVALID))
  })
})

describe('what is known without the card is refused before it', () => {
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

  it('a key that is none, and a number of random bytes that is none', async () => {
    const { session } = await open()
    for (const none of [null, {}, 1]) {
      await expect(session.sign(sign, none as never, message)).rejects.toEqual(rv(CKR.KEY_HANDLE_INVALID))
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

  it.each(['sign', 'encrypt', 'decrypt'] as const)('a key that may not %s', async (use) => {
    const attributes = { [CKA.SIGN]: false, [CKA.ENCRYPT]: false, [CKA.DECRYPT]: false }
    const { session } = await open({ attributes })
    await session.login(CKU.USER)
    const { own, open: publicKey } = await keys(session)
    const key = use === 'encrypt' ? publicKey : own
    const refused: Promise<unknown> = session[use](plain, key, message).result()
    await expect(refused).rejects.toEqual(rv(CKR.KEY_FUNCTION_NOT_PERMITTED))
  })
})

describe('under the policy "abandon"', () => {
  it('who begins anew on hearing of its end meets the session as it is then', async () => {
    const { cryptoki, session } = await open({ onConflict: 'abandon' })
    await session.login(CKU.USER)
    const key = await find(session, CKO.PRIVATE_KEY)
    const heard: string[] = []
    let again = 0
    const digest = () => session.digest(sha256, new Subject<Uint8Array>()).events$
    digest().subscribe({
      error: () => {
        // Digest and sign are no pair: this one ends the signature, which hears of it.
        digest().subscribe({ error: () => {} })
        again = session.active.length
      },
    })
    session
      .sign(sign, key, new Subject<Uint8Array>())
      .events$.subscribe({ error: (error: CryptokiError) => heard.push(error.rvName) })
    expect(again).toBe(1)
    expect(session.active).toEqual(['digest'])
    expect(heard).toEqual(['CKR_OPERATION_NOT_INITIALIZED'])
    await cryptoki.close()
  })
})
