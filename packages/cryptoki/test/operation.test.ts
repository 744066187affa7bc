/**
 * Operations as applications use them: awaited, subscribed to, shared, abandoned, retried. Each runs once.
 */
import { createHash } from 'node:crypto'
import {
  CKA,
  CKM,
  CKO,
  type CkObject,
  CKR,
  Cryptoki,
  CryptokiError,
  Operation,
  type OperationEvent,
  type PinSource,
  type Session,
} from '@webtoki/cryptoki'
import {
  config,
  defer,
  EMPTY,
  firstValueFrom,
  from,
  lastValueFrom,
  type Observable,
  of,
  retry,
  Subject,
  switchMap,
  toArray,
} from 'rxjs'
import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest'
import { object, open as openPiv } from './piv-setup.ts'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const sha256 = { type: CKM.SHA256 }
const sign = { type: CKM.SHA256_RSA_PKCS }
const message = new TextEncoder().encode('what is to be signed')
const digestOfMessage = new Uint8Array(createHash('sha256').update(message).digest())
const rv = (code: number) => expect.objectContaining({ rv: code })
const runsOnce = expect.objectContaining({
  rv: CKR.ARGUMENTS_BAD,
  message: expect.stringMatching(/runs once.*defer\(\(\) => session\.sign\(…\)\.events\$\)/),
})

async function open(pin: PinSource = async () => ({ pin: new TextEncoder().encode('1234') })) {
  const driver = new SoftwareDriver()
  const cardSlot = new MemorySlot()
  const cryptoki = new Cryptoki({
    sources: [cardSlot],
    drivers: [driver],
    login: 'on-demand',
  })
  onTestFinished(() => cryptoki.close())
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin })
  const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(1) })
  if (key === undefined) throw new Error('No key found.')
  return { token: driver.token, cardSlot, session, key }
}

/** A digest that runs until `data` completes. */
function openDigest(session: Session) {
  const data = new Subject<Uint8Array>()
  const finish = (): void => {
    data.next(message)
    data.complete()
  }
  return { operation: session.digest(sha256, data), finish }
}

/** Collects the unhandled rejections of this test, with the listeners of the test runner removed. */
function unhandledRejections(): unknown[] {
  const reported: unknown[] = []
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => reported.push(error))
  onTestFinished(() => {
    process.removeAllListeners('unhandledRejection')
    for (const each of others) process.on('unhandledRejection', each)
  })
  return reported
}

/** Node reports unhandled rejections between this turn and the next. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

describe('the one run of an operation', () => {
  it('an unused operation begins nothing', async () => {
    const { session, token, key } = await open()
    session.sign(sign, key, message)
    await nextTurn()
    expect([session.active, token.signatures]).toEqual([[], 0])
  })

  it.each([
    ['result()', (operation: Operation<Uint8Array>) => operation.result()],
    ['then()', (operation: Operation<Uint8Array>) => operation.then()],
    ['a subscription', (operation: Operation<Uint8Array>) => lastValueFrom(operation.events$)],
  ])('%s calls Init synchronously', async (_what, use) => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const used = use(operation)
    expect(session.active).toEqual(['digest'])
    finish()
    await used
  })

  it('awaiting twice, Promise.all and result() share one run and its result', async () => {
    const { session, key, token } = await open()
    const operation = session.sign(sign, key, message)
    const results = await Promise.all([operation, operation, operation.result(), operation.then()])
    results.push(await operation, await operation.result())
    expect([...new Set(results)]).toEqual([digestOfMessage])
    expect(token.signatures).toBe(1)
  })

  it('a failed Init counts as the run: every awaiter gets its error', async () => {
    const { session } = await open()
    const { operation: first, finish } = openDigest(session)
    const digest = first.result()
    const second = session.digest(sha256, message)
    await expect(second).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    finish()
    expect(await digest).toEqual(digestOfMessage)
    await expect(second).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
  })

  it('a second subscription is refused, and the first one continues', async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const first = lastValueFrom(operation.events$)
    await expect(lastValueFrom(operation.events$)).rejects.toEqual(runsOnce)
    finish()
    expect(await first).toEqual({ phase: 'done', value: digestOfMessage })
    await expect(lastValueFrom(operation.events$)).rejects.toEqual(runsOnce)
  })

  it('a subscription is refused after result(), which still resolves', async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const first = operation.result()
    await expect(lastValueFrom(operation.events$)).rejects.toEqual(runsOnce)
    finish()
    expect(await first).toEqual(digestOfMessage)
    await expect(lastValueFrom(operation.events$)).rejects.toEqual(runsOnce)
  })

  it('await and result() are refused after a subscription, which continues', async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const first = lastValueFrom(operation.events$)
    await expect(operation).rejects.toEqual(runsOnce)
    await expect(operation.result()).rejects.toEqual(runsOnce)
    finish()
    expect(await first).toEqual({ phase: 'done', value: digestOfMessage })
  })

  it('an operator that resubscribes does not request a second PIN', async () => {
    const { session, key, token } = await open()
    const login = vi.spyOn(token.pins.user, 'verify').mockRejectedValue(new Error('a wrong PIN'))
    const retried$ = session.sign(sign, key, message).events$.pipe(retry(1))
    await expect(lastValueFrom(retried$)).rejects.toEqual(runsOnce)
    expect(login).toHaveBeenCalledOnce()
  })

  it('defer creates a new operation for each attempt', async () => {
    const { session, key, token } = await open()
    const login = vi.spyOn(token.pins.user, 'verify').mockRejectedValueOnce(new Error('a wrong PIN'))
    const retried$ = defer(() => session.sign(sign, key, message).events$).pipe(retry(1))
    expect(await lastValueFrom(retried$)).toEqual({ phase: 'done', value: digestOfMessage })
    expect(login).toHaveBeenCalledTimes(2)
  })

  it('a pulled card rejects it with CKR_DEVICE_REMOVED', async () => {
    const { session, cardSlot } = await open()
    const digest = openDigest(session).operation.result()
    cardSlot.pull()
    await expect(digest).rejects.toEqual(rv(CKR.DEVICE_REMOVED))
  })

  it('events that complete without a result reject it', async () => {
    await expect(new Operation(EMPTY)).rejects.toThrow('without a result')
  })
})

describe('the signal of result()', () => {
  it('frees the session in that call, and rejects with CKR_FUNCTION_CANCELED and the reason', async () => {
    const { session, key } = await open(() => new Promise(() => {}))
    const controller = new AbortController()
    const signature = session.sign(sign, key, message).result({ signal: controller.signal })
    expect(session.active).toEqual(['sign'])
    const cause = new Error('changed my mind')
    controller.abort(cause)
    expect(session.active).toEqual([])
    const next = session.digest(sha256, message).result()
    await expect(signature).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause })
    expect(await next).toEqual(digestOfMessage)
  })

  it('that has already aborted begins nothing, and the operation can still be awaited', async () => {
    const { session } = await open()
    const operation = session.digest(sha256, message)
    const cause = new Error('too late')
    const refused = operation.result({ signal: AbortSignal.abort(cause) })
    expect(session.active).toEqual([])
    await expect(refused).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause })
    expect(await operation).toEqual(digestOfMessage)
  })

  it("ends one caller's wait, and the run continues for another caller", async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const controller = new AbortController()
    const leaving = operation.result({ signal: controller.signal })
    const staying = operation.result()
    controller.abort()
    await expect(leaving).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(session.active).toEqual(['digest'])
    finish()
    expect(await staying).toEqual(digestOfMessage)
    // The run has a result, so later callers get it.
    expect(await operation).toEqual(digestOfMessage)
  })

  it('abandons the run when the last caller aborts, and it does not run a second time', async () => {
    const { session } = await open()
    const { operation } = openDigest(session)
    const controllers = [new AbortController(), new AbortController()]
    const waiting = controllers.map(({ signal }) => operation.result({ signal }))
    const canceled = Promise.all(
      waiting.map((each) => expect(each).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))),
    )
    controllers[1]?.abort()
    expect(session.active).toEqual(['digest'])
    controllers[0]?.abort()
    expect(session.active).toEqual([])
    await canceled
    await expect(operation).rejects.toEqual(runsOnce)
    expect(session.active).toEqual([])
  })

  it('frees the session in that call even if an event during Init aborts it', async () => {
    const { session } = await open()
    const controller = new AbortController()
    const active: (readonly string[])[] = []
    const search = session.findObjects().result({
      signal: controller.signal,
      onEvent: () => {
        active.push(session.active)
        controller.abort()
        active.push(session.active)
      },
    })
    await expect(search).rejects.toEqual(rv(CKR.FUNCTION_CANCELED))
    expect(active).toEqual([['search'], []])
  })

  it('has no listener left after a result or an error, and an abort after the end does nothing', async () => {
    const { session, token, key } = await open()
    const controller = new AbortController()
    const { signal } = controller
    const added = vi.spyOn(signal, 'addEventListener')
    const removed = vi.spyOn(signal, 'removeEventListener')
    const digest = session.digest(sha256, message)
    await digest.result({ signal })
    token.signing = Promise.reject(new Error('a broken card'))
    // The promise is not awaited before the login, so its rejection needs a handler.
    token.signing.catch(() => {})
    await expect(session.sign(sign, key, message).result({ signal })).rejects.toEqual(rv(CKR.FUNCTION_FAILED))
    expect(added).toHaveBeenCalledTimes(2)
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(
      added.mock.calls.map(([, listener]) => listener),
    )
    controller.abort()
    expect(await digest).toEqual(digestOfMessage)
  })
})

describe('the events of an operation', () => {
  it('reach onEvent in order including done; a late caller gets the latest event', async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const [first, second]: [string[], string[]] = [[], []]
    const digest = operation.result({ onEvent: ({ phase }) => first.push(phase) })
    finish()
    await digest
    await operation.result({ onEvent: ({ phase }) => second.push(phase) })
    expect([first, second]).toEqual([['collecting', 'done'], ['done']])
  })

  it('an error thrown by onEvent is reported and disturbs neither the result nor other callers', async () => {
    const reported = vi.fn<(error: unknown) => void>()
    config.onUnhandledError = reported
    onTestFinished(() => {
      config.onUnhandledError = null
    })
    const { session } = await open()
    const operation = session.digest(sha256, message)
    const thrown = new Error('in the listener')
    const phases: string[] = []
    const failing = operation.result({
      onEvent: () => {
        throw thrown
      },
    })
    const other = operation.result({ onEvent: ({ phase }) => phases.push(phase) })
    expect(await failing).toEqual(digestOfMessage)
    expect(await other).toEqual(digestOfMessage)
    expect(phases.at(-1)).toBe('done')
    await vi.waitFor(() => expect(reported).toHaveBeenCalledTimes(2))
    expect(reported.mock.calls).toEqual([[thrown], [thrown]])
  })

  it('come after the session is free: the next operation can begin in next, complete and then', async () => {
    const { session } = await open()
    const digest = () => session.digest(sha256, message)
    const inNext = await new Promise<Uint8Array>((resolve) => {
      digest().events$.subscribe(({ phase }) => {
        if (phase === 'done') resolve(digest().result())
      })
    })
    const inComplete = await new Promise<Uint8Array>((resolve) => {
      digest().events$.subscribe({ complete: () => resolve(digest().result()) })
    })
    const inThen = await digest().then(() => digest())
    const inOnEvent: Promise<Uint8Array>[] = []
    await digest().result({
      onEvent: ({ phase }) => {
        if (phase === 'done') inOnEvent.push(digest().result())
      },
    })
    expect([inNext, inComplete, inThen, ...(await Promise.all(inOnEvent))]).toEqual(
      Array.from({ length: 4 }, () => digestOfMessage),
    )
  })

  it('an error comes after the session is free: the next operation can begin in error and catch', async () => {
    const { session } = await open()
    const digest = () => session.digest(sha256, message)
    const broken = () => session.digest(sha256, of('no bytes') as unknown as Iterable<Uint8Array>)
    const inError = await new Promise<Uint8Array>((resolve) => {
      broken().events$.subscribe({ error: () => resolve(digest().result()) })
    })
    const inThen = await broken().then(undefined, () => digest())
    expect([inError, inThen]).toEqual([digestOfMessage, digestOfMessage])
  })
})

describe('an operation among RxJS operators', () => {
  it('from(operation) emits the result', async () => {
    const { session } = await open()
    expect(await lastValueFrom(from(session.digest(sha256, message)).pipe(toArray()))).toEqual([
      digestOfMessage,
    ])
  })

  it('firstValueFrom(events$) resolves to the first event and abandons the rest', async () => {
    const { session } = await open()
    const { operation, finish } = openDigest(session)
    const first = firstValueFrom(operation.events$)
    finish()
    expect(await first).toEqual({ phase: 'collecting', bytes: message.length })
    expect(session.active).toEqual([])
  })

  it('unsubscribing at an event during Init frees the session', async () => {
    const { session } = await open()
    const phases: string[] = []
    const subscription = session.findObjects().events$.subscribe(({ phase }) => phases.push(phase))
    subscription.unsubscribe()
    const first = firstValueFrom(session.findObjects().events$)
    expect([phases, session.active]).toEqual([['awaiting-card'], []])
    expect(await first).toEqual({ phase: 'awaiting-card', why: 'working' })
  })

  it('switchMap to events$ cancels the operation before the next one begins', async () => {
    const { session } = await open()
    const clicks = new Subject<Operation<Uint8Array>>()
    const events: OperationEvent<Uint8Array>[] = []
    clicks.pipe(switchMap((operation) => operation.events$)).subscribe((event) => events.push(event))
    clicks.next(openDigest(session).operation)
    const { operation, finish } = openDigest(session)
    clicks.next(operation)
    expect(session.active).toEqual(['digest'])
    finish()
    await vi.waitFor(() => expect(events.at(-1)).toEqual({ phase: 'done', value: digestOfMessage }))
  })

  it('switchMap to the operation itself does not cancel it: the next Init conflicts', async () => {
    const { session } = await open()
    const clicks = new Subject<Operation<Uint8Array>>()
    const errors: unknown[] = []
    clicks.pipe(switchMap((operation) => operation)).subscribe({ error: (error) => errors.push(error) })
    const { operation, finish } = openDigest(session)
    clicks.next(operation)
    clicks.next(session.digest(sha256, message))
    await vi.waitFor(() => expect(errors).toEqual([rv(CKR.OPERATION_ACTIVE)]))
    expect(session.active).toEqual(['digest'])
    finish()
    expect(await operation).toEqual(digestOfMessage)
  })
})

describe('an unhandled rejection', () => {
  it('does not occur if every promise of the operation is handled', async () => {
    const reported = unhandledRejections()
    const { session } = await open()
    const busy = openDigest(session)
    const digest = busy.operation.result()
    const refused = session.digest(sha256, message)
    await expect(refused).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    await refused.then(undefined, () => {})
    const controller = new AbortController()
    const search = session.findObjects().result({ signal: controller.signal })
    controller.abort()
    await expect(search).rejects.toBeInstanceOf(CryptokiError)
    busy.finish()
    await digest
    await nextTurn()
    expect(reported).toEqual([])
  })

  it('occurs once for each promise that was returned and not handled', async () => {
    const reported = unhandledRejections()
    const { session } = await open()
    const busy = openDigest(session)
    const digest = busy.operation.result()
    const refused = session.digest(sha256, message)
    void refused.result()
    void refused.then(() => {})
    await nextTurn()
    expect(reported).toEqual([rv(CKR.OPERATION_ACTIVE), rv(CKR.OPERATION_ACTIVE)])
    busy.finish()
    await digest
  })
})

describe('a verification', () => {
  it('resolves to true, or rejects with CKR_SIGNATURE_INVALID', async () => {
    const { session, cryptoki } = await openPiv({ cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const signature = await session.sign(sign, await object(session, CKO.PRIVATE_KEY, 1), message)
    const publicKey = await object(session, CKO.PUBLIC_KEY, 1)
    expect(await session.verify(sign, publicKey, message, signature)).toBe(true)
    signature[0] = (signature[0] as number) ^ 1
    await expect(session.verify(sign, publicKey, message, signature)).rejects.toEqual(
      rv(CKR.SIGNATURE_INVALID),
    )
  })
})

/** Checked by the compiler only: never called. */
export async function types(session: Session, key: CkObject, operations$: Observable<Operation<Uint8Array>>) {
  const signing = session.sign(sign, key, message)
  const searching = session.findObjects()
  expectTypeOf(await signing).toEqualTypeOf<Uint8Array>()
  expectTypeOf(await session.digest(sha256, message).result()).toEqualTypeOf<Uint8Array>()
  expectTypeOf(await session.verify(sign, key, message, message)).toEqualTypeOf<true>()
  expectTypeOf(await searching).toEqualTypeOf<readonly CkObject[]>()
  expectTypeOf(
    await session.together(
      { type: 'digest', mechanism: sha256 },
      { type: 'encrypt', mechanism: { type: CKM.RSA_PKCS }, key },
      message,
    ),
  ).toEqualTypeOf<readonly [Uint8Array, Uint8Array]>()
  expectTypeOf(await Promise.all([signing, searching])).toEqualTypeOf<[Uint8Array, readonly CkObject[]]>()
  expectTypeOf(await Promise.allSettled([signing])).toEqualTypeOf<[PromiseSettledResult<Uint8Array>]>()
  expectTypeOf(signing.then((bytes) => bytes.length)).toEqualTypeOf<Promise<number>>()
  expectTypeOf(signing.then(undefined, (error: CryptokiError) => error.rvName)).toEqualTypeOf<
    Promise<Uint8Array | string>
  >()
  expectTypeOf(from(signing)).toEqualTypeOf<Observable<Uint8Array>>()
  expectTypeOf(operations$.pipe(switchMap((operation) => operation))).toEqualTypeOf<Observable<Uint8Array>>()
  expectTypeOf(operations$.pipe(switchMap(({ events$ }) => events$))).toEqualTypeOf<
    Observable<OperationEvent<Uint8Array>>
  >()
  expectTypeOf(await firstValueFrom(signing.events$)).toEqualTypeOf<OperationEvent<Uint8Array>>()
  expectTypeOf(signing).toExtend<PromiseLike<Uint8Array>>()
  expectTypeOf(signing).toExtend<Operation<unknown>>()
  await signing.result({ signal: new AbortController().signal, onEvent: undefined })
  // @ts-expect-error An operation is not an Observable; use events$.
  signing.subscribe()
  // @ts-expect-error An operation is not a Promise; use result().
  signing.catch(() => {})
  // @ts-expect-error The value of a digest is bytes.
  await session.digest(sha256, message).result({ onEvent: (_event: OperationEvent<string>) => {} })
  // @ts-expect-error The option is the signal, not its controller.
  await signing.result({ signal: new AbortController() })
}
