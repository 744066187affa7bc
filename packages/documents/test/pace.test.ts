/** The event loop keeps running while a long document is read, from every type of source. */
import { createHash } from 'node:crypto'
import { digestDocument } from '@webtoki/documents'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

const piece = new Uint8Array(0x10_0000).fill(7)

describe('while a document never ends', () => {
  /**
   * A source of half a gigabyte, unless it is cancelled. `begun` is called after the first piece, when all modules are
   * loaded.
   */
  const endless = (begun: () => void) => {
    const source = {
      isAtEnd: false,
      async *pieces() {
        yield piece
        begun()
        for (let given = 0; given < 512; given++) yield piece
        source.isAtEnd = true
      },
    }
    return source
  }

  it.each([
    ['an iterator', (pieces: AsyncGenerator<Uint8Array>) => pieces],
    [
      'a stream',
      (pieces: AsyncGenerator<Uint8Array>) =>
        new ReadableStream<Uint8Array>({
          pull: async (controller) => {
            const { done, value } = await pieces.next()
            if (done === true) controller.close()
            else controller.enqueue(value)
          },
        }),
    ],
  ])('a timer can cancel the digest of %s', async (_what, make) => {
    const controller = new AbortController()
    const source = endless(() => setTimeout(() => controller.abort(), 0))
    const work = digestDocument(['SHA-256', 'SHA-512'], make(source.pieces()), {
      signal: controller.signal,
    })
    await expect(work).rejects.toMatchObject({ reason: 'cancelled' })
    expect(source.isAtEnd).toBe(false)
  })
})

it('the event loop runs after each slow step within one long piece', async () => {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 20))
  onTestFinished(() => void vi.restoreAllMocks())
  let turns = 0
  let isOver = false
  const count = (): void => {
    turns++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const digests = await digestDocument(['SHA-256'], piece)
  isOver = true
  expect(digests).toEqual({ 'SHA-256': new Uint8Array(createHash('sha256').update(piece).digest()) })
  expect(turns).toBeGreaterThanOrEqual(16)
})

it('a signal that aborts within a piece ends the digest before the next piece is requested', async () => {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 20))
  onTestFinished(() => void vi.restoreAllMocks())
  const controller = new AbortController()
  let requested = 0
  async function* pieces() {
    for (; requested < 3; requested++) {
      setImmediate(() => controller.abort())
      yield piece
    }
  }
  const work = digestDocument(['SHA-256'], pieces(), { signal: controller.signal })
  await expect(work).rejects.toMatchObject({ reason: 'cancelled' })
  expect(requested).toBe(0)
})
