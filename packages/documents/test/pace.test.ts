/** Reading a long document leaves turns to everybody else, wherever it comes from. */
import { createHash } from 'node:crypto'
import { digestDocument } from '@webtoki/documents'
import { describe, expect, it, onTestFinished, vi } from 'vitest'

const piece = new Uint8Array(0x10_0000).fill(7)

describe('while a document always has more', () => {
  /** Half a gigabyte, if nobody ends it. `begun` is called when whatever is loaded for it is there. */
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
  ])('a timer cancels the digest of %s', async (_what, make) => {
    const controller = new AbortController()
    const source = endless(() => setTimeout(() => controller.abort(), 0))
    const work = digestDocument(['SHA-256', 'SHA-512'], make(source.pieces()), {
      signal: controller.signal,
    })
    await expect(work).rejects.toMatchObject({ reason: 'cancelled' })
    expect(source.isAtEnd).toBe(false)
  })
})

it('within one long piece everybody gets a turn after each step, if steps are slow', async () => {
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

it('a signal that aborts within a piece ends the digest before the next piece is asked for', async () => {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 20))
  onTestFinished(() => void vi.restoreAllMocks())
  const controller = new AbortController()
  let asked = 0
  async function* pieces() {
    for (; asked < 3; asked++) {
      setImmediate(() => controller.abort())
      yield piece
    }
  }
  const work = digestDocument(['SHA-256'], pieces(), { signal: controller.signal })
  await expect(work).rejects.toMatchObject({ reason: 'cancelled' })
  expect(asked).toBe(0)
})
