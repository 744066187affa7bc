import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPivCard, readerProfiles, VirtualCcidReader } from '@webtoki/simulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusStand } from './bus-stand.ts'
import { chromiumPath, DemoServer } from './stand.ts'

const missing = whatIsMissing([chromiumPath, 'gcc', 'Xvfb', 'xdotool'])
if (missing !== undefined) console.warn(`The real chooser is not tried: ${missing}.`)

describe.skipIf(missing !== undefined)('the browser’s own chooser', () => {
  let display: Display
  let server: DemoServer
  let stand: BusStand
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  beforeAll(async () => {
    ;[display, server] = await Promise.all([startDisplay(), DemoServer.start()])
    stand = await BusStand.start({
      grants: [],
      headless: false,
      environment: { DISPLAY: display.name },
      args: ['--window-size=1000,700', '--window-position=0,0'],
    })
  })
  afterAll(async () => {
    await stand?.stop()
    await server?.stop()
    await display?.end()
  })

  it('lets a person pick the reader and log in with it', async () => {
    reader.insert(createPivCard())
    stand.bus.plug(reader)
    const page = await stand.openDemo(server.url)
    expect(await page.page.evaluate(async () => (await navigator.usb.getDevices()).length)).toBe(0)
    const before = display.look()
    await page.page.getByRole('button', { name: 'Connect a reader' }).click()
    /** Waits until the buttons look otherwise than then, and no longer change; says whether they do in that time. */
    const changes = async (then: string, timeoutMs: number): Promise<boolean> => {
      let latest = then
      const isOtherAndStill = (): boolean => {
        const now = display.look()
        const isStill = now === latest
        latest = now
        return isStill && now !== then
      }
      return await expect
        .poll(isOtherAndStill, { timeout: timeoutMs, interval: 200 })
        .toBe(true)
        .then(
          () => true,
          () => false,
        )
    }
    expect(await changes(before, 15_000)).toBe(true)
    // Cancel has the focus first; the list comes after it, and its first reader is taken by Down. Only then can Connect be
    // pressed, and looks it: a key that came too early is pressed again.
    let isEnabled = false
    for (let times = 0; times < 5 && !isEnabled; times++) {
      const cancel = display.look()
      display.press('Tab')
      await changes(cancel, 2000)
      const disabled = display.look()
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
  /** The pixels where the chooser has its buttons, and the page has nothing. */
  look(): string
  press(...keys: readonly string[]): void
  end(): Promise<void>
}

/** A display that nobody sees, with a number that Xvfb finds free; its pixels stand in a file (XWD, version 7). */
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
    look: () => {
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
