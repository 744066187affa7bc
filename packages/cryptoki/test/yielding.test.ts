/** Long operations yield to the event loop: a timer can end them, and the removal of a card is noticed. */
import { createHash } from 'node:crypto'
import { CKA, CKM, CKO, type CkObject, CKR, Cryptoki, type Operation, type Session } from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemorySlot, SoftwareDriver } from './software-token.ts'

const sha256 = { type: CKM.SHA256 }
const sign = { type: CKM.SHA256_RSA_PKCS }
const cipher = { type: CKM.RSA_PKCS }

async function open() {
  const cardSlot = new MemorySlot()
  const cryptoki = new Cryptoki({
    sources: [cardSlot],
    drivers: [new SoftwareDriver()],
    login: 'on-demand',
  })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  const session = (await slot?.openSession({ pin: async () => undefined })) as Session
  const find = async (objectClass: CKO): Promise<CkObject> => {
    const [object] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) })
    return object as CkObject
  }
  return { cardSlot, session, key: await find(CKO.PRIVATE_KEY), publicKey: await find(CKO.PUBLIC_KEY) }
}

/** Long enough that everything loaded lazily for long data has been loaded when it is hashed. */
const first = new Uint8Array(0x2_0000)

/**
 * A source with far more chunks than the test waits for. `begun` is called after the first one was consumed.
 */
function endless(chunkBytes: number, begun: () => void) {
  const source = {
    isAtEnd: false,
    async *[Symbol.asyncIterator]() {
      yield first
      begun()
      const chunk = new Uint8Array(chunkBytes)
      for (let given = 0; given < 2 ** 29 / Math.max(chunkBytes, 1024); given++) yield chunk
      source.isAtEnd = true
    },
  }
  return source
}

type Open = Awaited<ReturnType<typeof open>>
type Source = ReturnType<typeof endless>
const operations: readonly (readonly [string, number, (at: Open, data: Source) => Operation<unknown>])[] = [
  ['a digest', 0x10_0000, ({ session }, data) => session.digest(sha256, data)],
  ['a digest of tiny chunks', 1, ({ session }, data) => session.digest(sha256, data)],
  ['a digest of empty chunks', 0, ({ session }, data) => session.digest(sha256, data)],
  ['a digest by JavaScript', 0x10_0000, ({ session }, data) => session.digest({ type: CKM.SHA3_512 }, data)],
  ['a signature', 0x10_0000, ({ session, key }, data) => session.sign(sign, key, data)],
  [
    'a verification',
    0x10_0000,
    ({ session, publicKey }, data) => session.verify(sign, publicKey, data, new Uint8Array(256)),
  ],
  ['an encryption', 16, ({ session, publicKey }, data) => session.encrypt(cipher, publicKey, data)],
  [
    'a pair',
    0x1000,
    ({ session, publicKey }, data) =>
      session.together(
        { type: 'digest', mechanism: sha256 },
        { type: 'encrypt', mechanism: cipher, key: publicKey },
        data,
      ),
  ],
]

describe('while a source has more data', () => {
  it.each(operations)('a timer can abandon %s', async (_what, chunkBytes, begin) => {
    const at = await open()
    let data: Source | undefined
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        subscription.unsubscribe()
        resolve()
      }
      data = endless(chunkBytes, () => setTimeout(stop, 0))
      const subscription = begin(at, data).events$.subscribe({ complete: resolve, error: reject })
    })
    expect(data?.isAtEnd).toBe(false)
    expect(at.session.active).toEqual([])
  })

  it('a card that is pulled ends the digest', async () => {
    const { cardSlot, session } = await open()
    const data = endless(0x10_0000, () => setTimeout(() => cardSlot.pull(), 0))
    await expect(session.digest(sha256, data)).rejects.toMatchObject({ rv: CKR.DEVICE_REMOVED })
    expect(data.isAtEnd).toBe(false)
  })
})

describe('within one long chunk', () => {
  /** A clock that advances by `stepMs` each time it is read. */
  function advanceClock(stepMs: number): void {
    let now = 0
    vi.spyOn(performance, 'now').mockImplementation(() => (now += stepMs))
    onTestFinished(() => void vi.restoreAllMocks())
  }
  const chunk = new Uint8Array(0x10_0000).fill(7)
  const digest = new Uint8Array(createHash('sha256').update(first).update(chunk).digest())
  async function* chunks(begun: () => void) {
    yield first
    begun()
    yield chunk
  }

  it('the event loop gets a turn after each slow step', async () => {
    const { session } = await open()
    advanceClock(20)
    let turns = 0
    let isOver = false
    const count = (): void => {
      turns++
      if (!isOver) setImmediate(count)
    }
    expect(
      await session.digest(
        sha256,
        chunks(() => setImmediate(count)),
      ),
    ).toEqual(digest)
    isOver = true
    expect(turns).toBeGreaterThanOrEqual(16)
  })

  it('no turn is yielded if the whole chunk takes less than a frame', async () => {
    const { session } = await open()
    advanceClock(0)
    let turns = 0
    await session.digest(
      sha256,
      chunks(() => setImmediate(() => turns++)),
    )
    expect(turns).toBe(0)
  })

  it.each([
    ['a browser without setImmediate', ['setImmediate']],
    ['a platform without setImmediate and MessageChannel', ['setImmediate', 'MessageChannel']],
  ])('turns are yielded on %s', async (_what, missing) => {
    const { session } = await open()
    const turn = setImmediate
    for (const name of missing) vi.stubGlobal(name, undefined)
    onTestFinished(() => void vi.unstubAllGlobals())
    advanceClock(20)
    let turns = 0
    expect(
      await session.digest(
        sha256,
        chunks(() => turn(() => turns++)),
      ),
    ).toEqual(digest)
    expect(turns).toBe(1)
  })
})

it('a hundred thousand empty chunks between others are handled like any other', async () => {
  const { session } = await open()
  const chunks = Array.from({ length: 140_000 }, (_, at) => new Uint8Array(at % 4 === 0 ? 1 : 0))
  expect(await session.digest(sha256, chunks)).toEqual(
    new Uint8Array(createHash('sha256').update(new Uint8Array(35_000)).digest()),
  )
})
