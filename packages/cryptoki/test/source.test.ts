/** How often a data source can be used, and when its bytes are read: once, and at the call. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { Script } from 'node:vm'
import {
  CKA,
  CKM,
  CKO,
  type CkObject,
  CKR,
  Cryptoki,
  type DataSource,
  type DigestMechanism,
  type OperationSpec,
  type PlainCipherMechanism,
  type Session,
} from '@webtoki/cryptoki'
import {
  asyncScheduler,
  defer,
  delay,
  EMPTY,
  firstValueFrom,
  lastValueFrom,
  map,
  observeOn,
  of,
  repeat,
  retry,
  Subject,
} from 'rxjs'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const sign = { type: CKM.SHA256_RSA_PKCS }
const sha256 = { type: CKM.SHA256 }
const message = new TextEncoder().encode('what is to be signed')
const sha = (...parts: Uint8Array[]): Uint8Array =>
  new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest())
const argumentsBad = expect.objectContaining({ rv: CKR.ARGUMENTS_BAD })

async function open() {
  const driver = new SoftwareDriver()
  const cryptoki = new Cryptoki({
    sources: [new MemorySlot()],
    drivers: [driver],
    login: 'on-demand',
  })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  let requests = 0
  const session = await slot.openSession({
    pin: async () => {
      requests++
      return { pin: new TextEncoder().encode('1234') }
    },
  })
  const find = async (objectClass: CKO): Promise<CkObject> => {
    const template = { [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) }
    const [object] = await session.findObjects(template)
    if (object === undefined) throw new Error('No such object found.')
    return object
  }
  const key = await find(CKO.PRIVATE_KEY)
  const publicKey = await find(CKO.PUBLIC_KEY)
  return { token: driver.token, slot, session, key, publicKey, requests: () => requests }
}

async function* generate(): AsyncGenerator<Uint8Array> {
  yield message
}
const streamed = (): ReadableStream<Uint8Array> => new Blob([message]).stream()

/** Sources that can be used once, after they were used up. */
const spent: readonly (readonly [string, () => DataSource | Promise<DataSource>])[] = [
  [
    'a stream that was read to its end and released',
    async () => {
      const stream = streamed()
      const reader = stream.getReader()
      while (!(await reader.read()).done);
      reader.releaseLock()
      return stream
    },
  ],
  [
    'a stream that was read in part',
    async () => {
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => {
          controller.enqueue(message)
          controller.enqueue(message)
        },
      })
      const reader = stream.getReader()
      await reader.read()
      reader.releaseLock()
      return stream
    },
  ],
  [
    'a stream with another reader',
    () => {
      const stream = streamed()
      stream.getReader()
      return stream
    },
  ],
  [
    'a stream that was cancelled',
    async () => {
      const stream = streamed()
      await stream.cancel()
      return stream
    },
  ],
  [
    'a Node stream that was read to its end',
    async () => {
      const stream = Readable.from([message])
      for await (const _ of stream);
      return stream
    },
  ],
  [
    'a generator that has ended',
    async () => {
      const chunks = generate()
      for await (const _ of chunks);
      return chunks
    },
  ],
  [
    'a generator after a break',
    async () => {
      const chunks = generate()
      for await (const _ of chunks) break
      return chunks
    },
  ],
  [
    'an iterator that has ended',
    () => {
      const chunks = [message].values()
      for (const _ of chunks);
      return chunks
    },
  ],
  [
    'a Subject that has completed',
    () => {
      const subject = new Subject<Uint8Array>()
      subject.complete()
      return subject
    },
  ],
  [
    'a pipe of a Subject that has completed',
    () => {
      const subject = new Subject<Uint8Array>()
      subject.complete()
      return subject.pipe(map((chunk) => chunk))
    },
  ],
]

/** Sources that can be used once, before use. */
const single: readonly (readonly [string, () => DataSource])[] = [
  ['a stream', streamed],
  ['a generator', generate],
  [
    'an iterable that gives the same generator each time',
    () => {
      const chunks = generate()
      return { [Symbol.asyncIterator]: () => chunks }
    },
  ],
  ['an iterator', () => [message].values()],
  [
    'a custom stream with getReader',
    () => {
      const parts = [message]
      return {
        getReader: () => ({
          read: async () => {
            const value = parts.pop()
            return value === undefined ? { done: true } : { done: false, value }
          },
          cancel: async () => {},
          releaseLock: () => {},
        }),
      }
    },
  ],
]

const again: readonly (readonly [string, () => DataSource])[] = [
  ['an array', () => message],
  ['a list of chunks', () => [message.slice(0, 4), message.slice(4)]],
  ['a set of chunks', () => new Set([message.slice(0, 4), message.slice(4)])],
  ['a cold Observable', () => of(message.slice(0, 4), message.slice(4))],
  ['a cold Observable that takes its time', () => of(message).pipe(observeOn(asyncScheduler))],
  ['an iterable that starts again each time', () => ({ [Symbol.asyncIterator]: generate })],
]

describe('a source that was used up', () => {
  it.each(spent)('%s is refused before a PIN request', async (_what, make) => {
    const { session, key, token, requests } = await open()
    await expect(session.sign(sign, key, await make())).rejects.toEqual(argumentsBad)
    expect([requests(), token.signatures, session.active]).toEqual([0, 0, []])
    // The session still works.
    expect(await session.sign(sign, key, message)).toEqual(sha(message))
  })

  it.each(spent)('%s is refused for a digest too', async (_what, make) => {
    const { session } = await open()
    await expect(session.digest(sha256, await make())).rejects.toEqual(argumentsBad)
  })
})

describe('a source that can be used once', () => {
  it.each(single)('%s signs once, and is refused by another operation', async (_what, make) => {
    const { session, key, token, requests } = await open()
    const data = make()
    expect(await session.sign(sign, key, data)).toEqual(sha(message))
    const [requestsBefore, signatures] = [requests(), token.signatures]
    await expect(session.sign(sign, key, data)).rejects.toEqual(argumentsBad)
    await expect(session.digest(sha256, data)).rejects.toEqual(argumentsBad)
    expect([requests(), token.signatures]).toEqual([requestsBefore, signatures])
  })

  it.each(single)('%s is refused after an operation that was abandoned', async (_what, make) => {
    const { session, key, token, requests } = await open()
    const data = make()
    session.sign(sign, key, data).events$.subscribe().unsubscribe()
    await expect(session.sign(sign, key, data)).rejects.toEqual(argumentsBad)
    expect([requests(), token.signatures]).toEqual([0, 0])
  })

  it.each(single)('%s is refused on a repeat()', async (_what, make) => {
    const { session } = await open()
    const data = make()
    const digests$ = defer(() => session.digest(sha256, data).events$).pipe(repeat(2))
    await expect(lastValueFrom(digests$)).rejects.toEqual(argumentsBad)
  })

  it.each(single)('%s is refused on a retry() after a wrong PIN', async (_what, make) => {
    const { session, key, token } = await open()
    const login = vi.spyOn(token.pins.user, 'verify').mockRejectedValueOnce(new Error('a wrong PIN'))
    const data = make()
    const signature$ = defer(() => session.sign(sign, key, data).events$).pipe(retry(1))
    await expect(lastValueFrom(signature$)).rejects.toEqual(argumentsBad)
    expect(login).toHaveBeenCalledOnce()
    expect(token.signatures).toBe(0)
  })

  it.each(single)('%s serves the first of two operations at once', async (_what, make) => {
    const { slot, session } = await open()
    const other = await slot.openSession()
    const data = make()
    const first = session.digest(sha256, data).result()
    await expect(other.digest(sha256, data)).rejects.toEqual(argumentsBad)
    expect(await first).toEqual(sha(message))
  })

  it.each(single)('%s can be used after an operation that was refused', async (_what, make) => {
    const { session, key, publicKey } = await open()
    const data = make()
    await expect(session.sign(sign, publicKey, data)).rejects.toMatchObject({
      rv: CKR.KEY_TYPE_INCONSISTENT,
    })
    expect(await session.sign(sign, key, data)).toEqual(sha(message))
  })

  it.each(['verify', 'encrypt', 'decrypt', 'together'] as const)('is refused by `%s` too', async (use) => {
    const { session, key, publicKey } = await open()
    const data = generate()
    await session.digest(sha256, data)
    const encrypt: OperationSpec = { type: 'encrypt', mechanism: { type: CKM.RSA_PKCS }, key: publicKey }
    const run = {
      verify: () => session.verify(sign, publicKey, data, new Uint8Array(256)).result(),
      encrypt: () => session.encrypt(encrypt.mechanism, publicKey, data).result(),
      decrypt: () => session.decrypt(encrypt.mechanism, key, data).result(),
      together: () => session.together({ type: 'digest', mechanism: sha256 }, encrypt, data).result(),
    }
    await expect(run[use]()).rejects.toEqual(argumentsBad)
  })

  it('that is refused ends no other operation under policy abandon', async () => {
    const driver = new SoftwareDriver()
    const cryptoki = new Cryptoki({
      sources: [new MemorySlot()],
      drivers: [driver],
      onConflict: 'abandon',
    })
    const [slot] = await firstValueFrom(cryptoki.slots$)
    const session = (await slot?.openSession()) as Session
    const data = generate()
    await session.digest(sha256, data)
    const live = new Subject<Uint8Array>()
    const first = session.digest(sha256, live).result()
    await expect(session.digest(sha256, data)).rejects.toEqual(argumentsBad)
    live.next(message)
    live.complete()
    expect(await first).toEqual(sha(message))
  })
})

describe('a Subject', () => {
  it('that has emitted a chunk is refused: its beginning would be missing', async () => {
    const { session, key, requests } = await open()
    const data = new Subject<Uint8Array>()
    const first = session.sign(sign, key, data).events$.subscribe()
    data.next(message)
    first.unsubscribe()
    const second = session.sign(sign, key, data).result()
    data.complete()
    await expect(second).rejects.toEqual(argumentsBad)
    expect(requests()).toBe(0)
  })

  it('that has emitted nothing can be subscribed to again, and may stay empty', async () => {
    const { session } = await open()
    const data = new Subject<Uint8Array>()
    session.digest(sha256, data).events$.subscribe().unsubscribe()
    const second = session.digest(sha256, data).result()
    data.complete()
    expect(await second).toEqual(sha())
  })

  it('behind operators is refused if it is empty where it emitted chunks before', async () => {
    const { session } = await open()
    const subject = new Subject<Uint8Array>()
    const data = subject.pipe(delay(0))
    const first = session.digest(sha256, data).result()
    subject.next(message)
    subject.complete()
    expect(await first).toEqual(sha(message))
    await expect(session.digest(sha256, data)).rejects.toEqual(argumentsBad)
  })
})

describe('an empty message', () => {
  it.each([
    ['an array', () => new Uint8Array(0)],
    ['a list of no chunks', () => []],
    ['an empty chunk', () => of(new Uint8Array(0))],
    ['a fresh stream without bytes', () => new Blob([]).stream()],
    ['an iterable that starts again', () => ({ async *[Symbol.asyncIterator]() {} })],
  ])('can be given as %s', async (_what, make) => {
    const { session } = await open()
    expect(await session.digest(sha256, make())).toEqual(sha())
  })

  it.each([
    ['a generator that gives nothing', async function* () {}],
    ['an Observable that completes at once', () => EMPTY],
  ])('cannot be given as %s, which looks like a source that was used up', async (_what, make) => {
    const { session } = await open()
    await expect(session.digest(sha256, make())).rejects.toEqual(argumentsBad)
  })
})

describe('a source that can be used again', () => {
  it.each(again)('%s gives the same result for each await', async (_what, make) => {
    const { session, key } = await open()
    const operation = session.sign(sign, key, make())
    expect(await operation).toEqual(sha(message))
    expect(await operation).toEqual(sha(message))
  })
})

it('without `Response`, streams that are locked or were used here are still refused', async () => {
  vi.stubGlobal('Response', undefined)
  onTestFinished(() => void vi.unstubAllGlobals())
  const { session } = await open()
  const data = streamed()
  const locked = streamed()
  locked.getReader()
  expect(await session.digest(sha256, data)).toEqual(sha(message))
  for (const each of [data, locked]) {
    await expect(session.digest(sha256, each)).rejects.toEqual(argumentsBad)
  }
})

describe('bytes in other types', () => {
  const realm = new Script('(bytes) => new Uint8Array(bytes)').runInNewContext() as (
    bytes: Uint8Array,
  ) => Uint8Array
  const padded = (): ArrayBuffer => Uint8Array.of(1, ...message, 2).buffer
  const shapes: readonly (readonly [string, () => ArrayBuffer | ArrayBufferView])[] = [
    ['an ArrayBuffer', () => Uint8Array.from(message).buffer],
    ['a DataView at an offset', () => new DataView(padded(), 1, message.length)],
    ['an array of another realm', () => realm(message)],
    ['a Node Buffer', () => Buffer.from(Buffer.from(message).toString('base64'), 'base64')],
  ]

  it.each(shapes)('%s is accepted as data and as a chunk, pushed or pulled', async (_what, make) => {
    const { session, publicKey } = await open()
    const chunk = make() as Uint8Array
    for (const data of [chunk, [chunk], of(chunk), [chunk].values()]) {
      expect(await session.digest(sha256, data)).toEqual(sha(message))
    }
    // 21 bytes are not a signature of this key; that is found after they were accepted as bytes.
    const verifying = session.verify(sign, publicKey, message, chunk).result()
    await expect(verifying).rejects.not.toEqual(argumentsBad)
  })

  it.each(shapes)('%s is accepted as a chunk of a cipher stream', async (_what, make) => {
    const { session, publicKey } = await open()
    const chunk = make() as Uint8Array
    const { readable, writable } = session.encryptStream({ type: CKM.RSA_PKCS }, publicKey)
    const writer = writable.getWriter()
    const written = Promise.all([writer.write(chunk), writer.close()])
    const output = new Uint8Array(await new Response(readable).arrayBuffer())
    await written
    expect(output).toEqual(message.map((byte) => byte ^ 0x5a))
  })

  it('an array of another realm is accepted as an identifier in a template', async () => {
    const { session } = await open()
    const found = await session.findObjects({ [CKA.ID]: realm(Uint8Array.of(2)) })
    expect(found.map((object) => object.get(CKA.ID)[0])).toEqual([2])
  })
})

describe('the bytes are copied at the call:', () => {
  const bytes = (): Uint8Array => Uint8Array.from(message)
  const pooled = (): Buffer => Buffer.from(Buffer.from(message).toString('base64'), 'base64')

  it.each([
    ['an array', bytes],
    ['a Node Buffer', pooled],
  ])('%s to sign', async (_what, make) => {
    const { session, key } = await open()
    const data = make()
    const operation = session.sign(sign, key, data)
    data.fill(0)
    const signature = operation.result()
    data.fill(1)
    expect(await signature).toEqual(sha(message))
  })

  it('a list of chunks', async () => {
    const { session } = await open()
    const chunks = [bytes(), bytes()]
    const operation = session.digest(sha256, chunks)
    for (const chunk of chunks) chunk.fill(0)
    chunks.pop()
    expect(await operation).toEqual(sha(message, message))
  })

  it('a chunk that is pushed', async () => {
    const { session } = await open()
    const data = new Subject<Uint8Array>()
    const digest = session.digest(sha256, data).result()
    const buffer = pooled()
    data.next(buffer)
    buffer.fill(0)
    data.next(buffer)
    data.complete()
    buffer.fill(1)
    expect(await digest).toEqual(sha(message, new Uint8Array(message.length)))
  })

  it('the mechanism, its parameters and the operations of a pair', async () => {
    const { session, key, publicKey } = await open()
    const mechanism = { type: sign.type as typeof sign.type | typeof CKM.RSA_PKCS }
    const signature = session.sign(mechanism, key, message)
    mechanism.type = CKM.RSA_PKCS
    expect(await signature).toEqual(sha(message))

    const digest = { type: 'digest' as const, mechanism: { type: sha256.type as DigestMechanism['type'] } }
    const encrypt = {
      type: 'encrypt' as const,
      mechanism: { type: CKM.RSA_PKCS as PlainCipherMechanism['type'] },
      key: publicKey,
    }
    const both = session.together(digest, encrypt, message)
    digest.mechanism.type = CKM.SHA512
    encrypt.mechanism.type = CKM.AES_ECB
    expect(await both).toEqual([sha(message), message.map((byte) => byte ^ 0x5a)])
  })

  it('a template for a search', async () => {
    const { session } = await open()
    const id = Uint8Array.of(2)
    const search = session.findObjects({ [CKA.ID]: id })
    id.fill(1)
    const found = await search
    expect(found.map((object) => object.get(CKA.ID)[0])).toEqual([2])
  })
})

it('overwriting the output of a decryption in a listener does not change its digest', async () => {
  const { session, key } = await open()
  const decrypt = { type: 'decrypt', mechanism: { type: CKM.RSA_PKCS }, key } as const
  const both = session.together(decrypt, { type: 'digest', mechanism: sha256 }, message)
  let digest: unknown
  await new Promise<void>((complete, error) => {
    both.events$.subscribe({
      next: (event) => {
        if (event.phase === 'output') event.chunk.fill(0)
        if (event.phase === 'done') digest = event.value[1]
      },
      error,
      complete,
    })
  })
  expect(digest).toEqual(sha(message.map((byte) => byte ^ 0x5a)))
})
