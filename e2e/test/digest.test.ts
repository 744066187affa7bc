/** Tests digests in a browser: streams that were already read, and whether the page stays responsive. */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import type { Lab } from '../pages/lab.ts'
import { LabBrowser } from './lab-browser.ts'
import { chromiumPath } from './demo.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath])
if (missing !== undefined) console.warn(`The tests of digests in a browser are skipped: ${missing}.`)

describe.skipIf(missing !== undefined)('digestDocument in Chromium', () => {
  let browser: LabBrowser
  let page: Page
  beforeAll(async () => {
    browser = await LabBrowser.start()
    page = await browser.open()
  })
  afterAll(() => browser?.stop())

  it('refuses a stream that was read, teed or cancelled, and accepts a new one', async () => {
    const outcomes = await page.evaluate(async () => {
      const { digestDocument } = await lab.documents()
      const fresh = (): ReadableStream<Uint8Array> => new Blob(['Dear reader,']).stream()
      const readSome = async (all: boolean): Promise<ReadableStream<Uint8Array>> => {
        const stream = fresh()
        const reader = stream.getReader()
        while (!(await reader.read()).done && all);
        reader.releaseLock()
        return stream
      }
      const teed = fresh()
      teed.tee()
      const cancelled = fresh()
      await cancelled.cancel()
      const streams = [
        await readSome(true),
        await readSome(false),
        teed,
        cancelled,
        fresh(),
        new Blob([]).stream(),
      ]
      return Promise.all(
        streams.map((stream) =>
          digestDocument(['SHA-256'], stream).then(
            (digests) => digests['SHA-256'].length,
            (error: { reason?: string }) => error.reason,
          ),
        ),
      )
    })
    expect(outcomes).toEqual(['already-read', 'already-read', 'already-read', 'already-read', 32, 32])
  })

  it('lets timers fire and the page repaint during a long digest, so that a timer can cancel it', async () => {
    const outcome = await page.evaluate(async () => {
      const { digestDocument } = await lab.documents()
      const controller = new AbortController()
      const piece = new Uint8Array(0x10_0000)
      const seen = { frames: 0, isAtEnd: false }
      async function* pieces(): AsyncGenerator<Uint8Array> {
        yield piece
        const frame = (): void => {
          // A timer that is set after the third frame cancels the digest.
          if (++seen.frames === 3) setTimeout(() => controller.abort(), 0)
          else requestAnimationFrame(frame)
        }
        requestAnimationFrame(frame)
        for (let given = 0; given < 4096; given++) yield piece
        seen.isAtEnd = true
      }
      const reason = await digestDocument(['SHA-256'], pieces(), { signal: controller.signal }).then(
        () => 'digested',
        (error: { reason?: string }) => error.reason,
      )
      return { reason, ...seen }
    })
    expect(outcome).toEqual({ reason: 'cancelled', frames: 3, isAtEnd: false })
  })
})
