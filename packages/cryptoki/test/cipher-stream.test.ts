/** Ciphers as web streams: any length, back-pressure, and an end that reaches both sides and the key. */
import { createCipheriv } from 'node:crypto'
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  CKU,
  Cryptoki,
  type CryptokiOptions,
  MAX_RESULT_BYTES,
  type OperationEvent,
} from '@webtoki/cryptoki'
import { config, firstValueFrom, Subject } from 'rxjs'
import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const plain = { type: CKM.RSA_PKCS }
const rv = (code: number) => expect.objectContaining({ rv: code })
const secret = Uint8Array.from({ length: 16 }, (_, at) => at)
const iv = Uint8Array.from({ length: 16 }, (_, at) => 0xf0 + at)

async function open(options: Partial<CryptokiOptions> = {}) {
  const driver = new SoftwareDriver()
  const cardSlot = new MemorySlot()
  const cryptoki = new Cryptoki({ sources: [cardSlot], drivers: [driver], login: 'on-demand', ...options })
  onTestFinished(() => cryptoki.close())
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin: () => ({ pin: new TextEncoder().encode('1234') }) })
  const find = async (objectClass: CKO): Promise<CkObject> => {
    const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) }
    const [object] = await session.findObjects(template)
    if (object === undefined) throw new Error('No such object found.')
    return object
  }
  const aes = await session.createObject({
    [CKA.CLASS]: CKO.SECRET_KEY,
    [CKA.KEY_TYPE]: CKK.AES,
    [CKA.VALUE]: secret,
    [CKA.ENCRYPT]: true,
    [CKA.DECRYPT]: true,
  })
  return {
    session,
    cardSlot,
    aes,
    token: driver.token,
    publicKey: await find(CKO.PUBLIC_KEY),
    privateKey: await find(CKO.PRIVATE_KEY),
  }
}

/** A stream that gives `most` chunks on demand, counts its pulls and keeps the reason of its cancellation. */
function counted(chunk: Uint8Array<ArrayBuffer>, most = Infinity) {
  const source = {
    pulls: 0,
    cancelled: undefined as unknown,
    stream: new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        pull: (controller) => {
          if (source.pulls === most) controller.close()
          else {
            source.pulls++
            controller.enqueue(chunk)
          }
        },
        cancel: (reason) => {
          source.cancelled = reason
        },
      },
      { highWaterMark: 0 },
    ),
  }
  return source
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer())
}

const streamOf = (...chunks: readonly Uint8Array<ArrayBuffer>[]) => new Blob([...chunks]).stream()

/** Resolves after everything that needs promises alone. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

describe('a cipher as a web stream', () => {
  it.each([0, 1, 15, 16, 17, 4096, 300_000])(
    'encrypts %i bytes as OpenSSL does, and decrypts them',
    async (length) => {
      const { session, aes } = await open()
      const data = Uint8Array.from({ length }, (_, at) => at * 7)
      const mechanism = { type: CKM.AES_CBC_PAD, iv }
      const encrypted = await bytesOf(streamOf(data).pipeThrough(session.encryptStream(mechanism, aes)))
      const openssl = createCipheriv('aes-128-cbc', secret, iv)
      expect(Buffer.compare(encrypted, Buffer.concat([openssl.update(data), openssl.final()]))).toBe(0)
      expect(session.active).toEqual([])
      const decrypting = session.decryptStream(mechanism, aes)
      expect(session.active).toEqual(['decrypt'])
      const decrypted = await bytesOf(streamOf(Uint8Array.from(encrypted)).pipeThrough(decrypting))
      expect(Buffer.compare(decrypted, data)).toBe(0)
      expect(session.active).toEqual([])
    },
  )

  it('has no limit on the length of its result', async () => {
    const { session, publicKey, token } = await open()
    const piece = new Uint8Array(0x100_0000)
    const pieces = MAX_RESULT_BYTES / piece.length + 1
    const encrypting = session.encryptStream(plain, publicKey)
    const [cipher] = token.ciphers
    if (cipher === undefined) throw new Error('No cipher found.')
    vi.spyOn(cipher, 'update').mockResolvedValue(piece)
    let bytes = 0
    await counted(new Uint8Array(16), pieces)
      .stream.pipeThrough(encrypting)
      .pipeTo(new WritableStream({ write: (output) => void (bytes += output.length) }))
    expect(bytes).toBe(MAX_RESULT_BYTES + piece.length)
  })

  it('takes from its source only what its reader pulls', async () => {
    const { session, publicKey } = await open()
    const source = counted(new Uint8Array(64))
    const reader = source.stream.pipeThrough(session.encryptStream(plain, publicKey)).getReader()
    await nextTurn()
    // One chunk waits in the writable side.
    expect(source.pulls).toBeLessThanOrEqual(1)
    for (let reads = 1; reads <= 20; reads++) {
      await reader.read()
      await nextTurn()
      expect(source.pulls).toBeLessThanOrEqual(reads + 1)
    }
    await reader.cancel()
  })

  it('does not accept all of a large chunk before its reader has pulled it', async () => {
    const { session, aes } = await open()
    const { readable, writable } = session.encryptStream({ type: CKM.AES_CTR, iv }, aes)
    const writer = writable.getWriter()
    const written = vi.fn<() => void>()
    const writing = writer.write(new Uint8Array(0x40_0000)).then(written)
    const reader = readable.getReader()
    let bytes = (await reader.read()).value?.length ?? 0
    await nextTurn()
    expect(bytes).toBeLessThan(0x40_0000)
    expect(written).not.toHaveBeenCalled()
    const closing = writer.close()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      bytes += value.length
    }
    await Promise.all([writing, closing])
    expect(bytes).toBe(0x40_0000)
  })

  it('ends in the call that aborts its writable side, even if nobody reads', async () => {
    const { session, publicKey, token } = await open()
    const { readable, writable } = session.encryptStream(plain, publicKey)
    const writer = writable.getWriter()
    const writing = writer.write(new Uint8Array(8))
    const refused = expect(writing).rejects.toBeDefined()
    await nextTurn()
    expect([session.active, token.ciphers[0]?.isAborted]).toEqual([['encrypt'], false])
    const reason = new Error('changed my mind')
    const aborting = writer.abort(reason)
    expect([session.active, token.ciphers[0]?.isAborted]).toEqual([[], true])
    const next = session.digest({ type: CKM.SHA256 }, new Uint8Array(1)).result()
    await aborting
    await refused
    await expect(readable.getReader().read()).rejects.toMatchObject({
      rv: CKR.FUNCTION_CANCELED,
      cause: reason,
    })
    expect(await next).toHaveLength(32)
  })

  it('ends in the call that cancels its readable side, and cancels its source', async () => {
    const { session, publicKey, token } = await open()
    const source = counted(new Uint8Array(64))
    const reader = source.stream.pipeThrough(session.encryptStream(plain, publicKey)).getReader()
    await reader.read()
    const reason = new Error('seen enough')
    const cancelling = reader.cancel(reason)
    expect([session.active, token.ciphers[0]?.isAborted]).toEqual([[], true])
    await cancelling
    await vi.waitFor(() =>
      expect(source.cancelled).toMatchObject({ rv: CKR.FUNCTION_CANCELED, cause: reason }),
    )
  })

  it('ends if its source fails or the signal of a pipe aborts', async () => {
    const { session, publicKey } = await open()
    const broken = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => controller.error(new Error('broken')),
    })
    const failing = bytesOf(broken.pipeThrough(session.encryptStream(plain, publicKey)))
    await expect(failing).rejects.toMatchObject({ rv: CKR.FUNCTION_CANCELED })
    expect(session.active).toEqual([])
    const controller = new AbortController()
    const piped = counted(new Uint8Array(64)).stream.pipeThrough(
      session.encryptStream(plain, publicKey),
      controller,
    )
    const reading = piped.getReader().read()
    await reading
    controller.abort()
    await vi.waitFor(() => expect(session.active).toEqual([]))
  })

  it.each([
    ['the session is closed', CKR.SESSION_CLOSED, ({ session }) => void session.close()],
    ['the operation is cancelled', CKR.FUNCTION_CANCELED, ({ session }) => session.cancel()],
    ['the card is pulled', CKR.DEVICE_REMOVED, ({ cardSlot }) => cardSlot.pull()],
  ] satisfies readonly (readonly [string, number, (at: Awaited<ReturnType<typeof open>>) => void])[])(
    'both sides error if %s',
    async (_what, code, end) => {
      const opened = await open()
      const { readable, writable } = opened.session.encryptStream(plain, opened.publicKey)
      const reading = readable.getReader().read()
      const writer = writable.getWriter()
      const sides = [reading, writer.closed].map((side) => expect(side).rejects.toEqual(rv(code)))
      end(opened)
      await Promise.all(sides)
      expect(opened.token.ciphers[0]?.isAborted).toBe(true)
    },
  )

  it('of a private key ends if its user logs out', async () => {
    const { session, privateKey } = await open()
    await session.login(CKU.USER)
    const { readable } = session.decryptStream(plain, privateKey)
    const reading = expect(readable.getReader().read()).rejects.toEqual(rv(CKR.USER_NOT_LOGGED_IN))
    await session.logout()
    await reading
  })

  it.each([
    ['a signature mechanism', { type: CKM.SHA256 }, undefined, CKR.MECHANISM_INVALID],
    ['no mechanism', undefined, undefined, CKR.ARGUMENTS_BAD],
    ['options of null', plain, null, CKR.ARGUMENTS_BAD],
    ['no key', plain, undefined, CKR.KEY_HANDLE_INVALID],
  ] as const)(
    'with %s throws nothing, ends no other operation, and both sides error',
    async (what, mechanism, options, code) => {
      const { session, publicKey } = await open({ onConflict: 'abandon' })
      const running = new Subject<Uint8Array>()
      const digest = session.digest({ type: CKM.SHA256 }, running).result()
      const key = what === 'no key' ? undefined : publicKey
      const { readable, writable } = session.encryptStream(mechanism as never, key as never, options as never)
      await expect(readable.getReader().read()).rejects.toEqual(rv(code))
      await expect(writable.getWriter().closed).rejects.toEqual(rv(code))
      expect(session.active).toEqual(['digest'])
      running.next(new Uint8Array(1))
      running.complete()
      await digest
    },
  )

  it('conflicts with an active operation, or waits for it if onConflict says so', async () => {
    const { session, publicKey } = await open({ dualOperations: false })
    const running = new Subject<Uint8Array>()
    const digest = session.digest({ type: CKM.SHA256 }, running).result()
    const refused = session.encryptStream(plain, publicKey)
    await expect(refused.readable.getReader().read()).rejects.toEqual(rv(CKR.OPERATION_ACTIVE))
    const phases: string[] = []
    const onEvent = ({ phase }: OperationEvent<unknown>) => void phases.push(phase)
    const waiting = session.encryptStream(plain, publicKey, { onConflict: 'wait', onEvent })
    const encrypted = bytesOf(streamOf(new Uint8Array(8)).pipeThrough(waiting))
    await nextTurn()
    expect([session.active, phases]).toEqual([['digest'], ['awaiting-card']])
    running.next(new Uint8Array(1))
    running.complete()
    await digest
    expect(await encrypted).toEqual(new Uint8Array(8).fill(0x5a))
  })

  it('ends with CKR_ARGUMENTS_BAD on a chunk that is not bytes', async () => {
    const { session, publicKey } = await open()
    const { readable, writable } = session.encryptStream(plain, publicKey)
    const reading = expect(readable.getReader().read()).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
    await expect(writable.getWriter().write('text' as never)).rejects.toEqual(rv(CKR.ARGUMENTS_BAD))
    await reading
    expect(session.active).toEqual([])
  })

  it('errors its readable side at the end of data that are not ciphertext', async () => {
    const { session, aes } = await open()
    const decrypting = session.decryptStream({ type: CKM.AES_CBC_PAD, iv }, aes)
    await expect(bytesOf(streamOf(new Uint8Array(32)).pipeThrough(decrypting))).rejects.toEqual(
      rv(CKR.ENCRYPTED_DATA_INVALID),
    )
    expect(session.active).toEqual([])
  })
})

describe('a cipher as an operation', () => {
  it('pulls the next chunk after it has processed the last, and aborts when unsubscribed', async () => {
    const { session, publicKey, token } = await open()
    let pulls = 0
    let release!: () => void
    const source = (function* () {
      for (;;) {
        pulls++
        yield new Uint8Array(8)
      }
    })()
    const subscription = session.encrypt(plain, publicKey, source).events$.subscribe()
    const [cipher] = token.ciphers
    if (cipher === undefined) throw new Error('No cipher found.')
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const update = vi.spyOn(cipher, 'update').mockImplementation(async () => {
      await held
      return new Uint8Array(0)
    })
    await nextTurn()
    expect([pulls, update.mock.calls.length]).toEqual([1, 1])
    expect(cipher.isAborted).toBe(false)
    subscription.unsubscribe()
    expect([cipher.isAborted, session.active]).toEqual([true, []])
    release()
    await nextTurn()
    expect(pulls).toBe(1)
  })
})

describe('a listener that throws', () => {
  function unhandled() {
    const reported = vi.fn<(error: unknown) => void>()
    config.onUnhandledError = reported
    onTestFinished(() => {
      config.onUnhandledError = null
    })
    return reported
  }
  const thrown = new Error('in the listener')
  const onEvent = (): never => {
    throw thrown
  }

  it('does not disturb a login', async () => {
    const reported = unhandled()
    const { session, cardSlot } = await open()
    await session.login(CKU.USER, undefined, { onEvent })
    expect(cardSlot.card.logins).toBe(1)
    await vi.waitFor(() => expect(reported).toHaveBeenCalledWith(thrown))
  })

  it('does not disturb a cipher, as a stream or as an operation', async () => {
    const reported = unhandled()
    const { session, publicKey } = await open()
    const encrypted = new Uint8Array(8).fill(0x5a)
    const stream = streamOf(new Uint8Array(8)).pipeThrough(
      session.encryptStream(plain, publicKey, { onEvent }),
    )
    expect(await bytesOf(stream)).toEqual(encrypted)
    expect(await session.encrypt(plain, publicKey, new Uint8Array(8)).result({ onEvent })).toEqual(encrypted)
    await vi.waitFor(() => expect(reported.mock.calls.length).toBeGreaterThan(1))
  })
})

/** Checked by the compiler only. */
export async function types(session: Awaited<ReturnType<typeof open>>['session'], key: CkObject, file: Blob) {
  const decrypted = file.stream().pipeThrough(session.decryptStream({ type: CKM.AES_CTR, iv }, key))
  expectTypeOf((await decrypted.getReader().read()).value).toEqualTypeOf<
    Uint8Array<ArrayBuffer> | undefined
  >()
  await decrypted.pipeTo(new WritableStream<Uint8Array>())
  // @ts-expect-error Text is encoded first, with a TextEncoderStream.
  new ReadableStream<string>().pipeThrough(session.encryptStream({ type: CKM.AES_ECB }, key))
  // @ts-expect-error An encryption never asks for a PIN.
  session.encryptStream({ type: CKM.AES_ECB }, key, { pin: async () => undefined })
}
