/** Tests the browser's own device chooser, on a virtual display with real key presses. */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPivCard, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusBrowser } from './bus-browser.ts'
import { chromiumPath, DemoServer } from './demo.ts'

const missing = whatIsMissing([chromiumPath, 'gcc', 'Xvfb', 'xdotool'])
if (missing !== undefined) console.warn(`The tests of the browser's device chooser are skipped: ${missing}.`)

describe.skipIf(missing !== undefined)('the browser’s own device chooser', () => {
  let display: Display
  let server: DemoServer
  let browser: BusBrowser
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  beforeAll(async () => {
    ;[display, server] = await Promise.all([startDisplay(), DemoServer.start()])
    browser = await BusBrowser.start({
      grants: [],
      headless: false,
      environment: { DISPLAY: display.name },
      args: ['--window-size=1000,700', '--window-position=0,0'],
    })
  })
  afterAll(async () => {
    await browser?.stop()
    await server?.stop()
    await display?.end()
  })

  it('lets a person choose the reader and log in with it', async () => {
    reader.insert(createPivCard())
    browser.bus.plug(reader)
    const page = await browser.openDemo(server.url)
    expect(await page.page.evaluate(async () => (await navigator.usb.getDevices()).length)).toBe(0)
    const before = display.digest()
    await page.page.getByRole('button', { name: 'Connect a reader' }).click()
    /** Waits until the buttons differ from `previous` and no longer change. Resolves to false after the time-out. */
    const changes = async (previous: string, timeoutMs: number): Promise<boolean> => {
      let latest = previous
      const hasSettled = (): boolean => {
        const current = display.digest()
        const isStable = current === latest
        latest = current
        return isStable && current !== previous
      }
      return await expect
        .poll(hasSettled, { timeout: timeoutMs, interval: 200 })
        .toBe(true)
        .then(
          () => true,
          () => false,
        )
    }
    expect(await changes(before, 15_000)).toBe(true)
    // The focus is on Cancel first. Tab moves it to the list, Down selects the first reader, and the Connect button changes when
    // it is enabled. A key that came too early has no effect, so the keys are repeated.
    let isEnabled = false
    for (let times = 0; times < 5 && !isEnabled; times++) {
      const cancel = display.digest()
      display.press('Tab')
      await changes(cancel, 2000)
      const disabled = display.digest()
      display.press('Down')
      isEnabled = await changes(disabled, 3000)
      if (!isEnabled) display.press('shift+Tab')
    }
    expect(isEnabled).toBe(true)
    display.press('Return')
    await page.ready()
    await page.logIn()
    await page.login('You are logged in')
    expect(page.complaints).toEqual([])
  })
})

interface Display {
  readonly name: string
  /** Returns a hash of the pixels at the chooser's buttons, where the page has no content. */
  digest(): string
  press(...keys: readonly string[]): void
  end(): Promise<void>
}

/** Starts Xvfb with a free display number. It stores its pixels in a file in XWD format, version 7. */
async function startDisplay(): Promise<Display> {
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-display-'))
  const args = ['-displayfd', '3', '-screen', '0', '1280x800x24', '-nolisten', 'tcp', '-fbdir', folder]
  const child = spawn('Xvfb', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const number = await new Promise<string>((resolve, reject) => {
    child.stdio[3]?.once('data', (chunk: Buffer) => resolve(chunk.toString().trim()))
    child.once('exit', (code) => reject(new Error(`Xvfb ended with ${code}.`)))
  })
  const name = `:${number}`
  return {
    name,
    digest: () => {
      const file = readFileSync(join(folder, 'Xvfb_screen0'))
      const [pixelsAt, bytesPerLine] = [
        file.readUInt32BE(0) + 12 * file.readUInt32BE(76),
        file.readUInt32BE(48),
      ]
      const hash = createHash('sha256')
      for (let line = 470; line < 505; line++) {
        const at = pixelsAt + line * bytesPerLine
        hash.update(file.subarray(at + 4 * 470, at + 4 * 540))
      }
      return hash.digest('hex')
    },
    press: (...keys) => {
      for (const key of keys)
        execFileSync('xdotool', ['key', key], { env: { ...process.env, DISPLAY: name } })
    },
    end: async () => {
      child.kill()
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
