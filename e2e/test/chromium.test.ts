import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createLoginVerifier, memoryNonceStore, notChecked } from '@webtoki/login/server'
import {
  createPivCard,
  demoCa,
  type PivCard,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { startPcscd } from '@webtoki/simulator/node'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import type { Lab } from '../pages/lab.ts'
import { BusStand, LabServer, type RunningBus, Thinking } from './bus-stand.ts'
import { chromiumPath, type DemoPage, DemoServer } from './stand.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath, 'gcc', 'openssl'])
if (missing !== undefined) console.warn(`The stories on the virtual bus are not told: ${missing}.`)

const GENERAL_AUTHENTICATE = 0x87
const VERIFY = 0x20

/** libccid's list has this sibling of the reader, so pcscd can hold it too. */
const sibling: ReaderProfile = { ...readerProfiles.dualiAbcm6, productId: 0x080c }
const reader = (profile: ReaderProfile, serialNumber: string) => {
  const made = new VirtualCcidReader(profile, { serialNumber })
  const thinking = new Thinking(createPivCard(), GENERAL_AUTHENTICATE)
  made.insert(thinking)
  return { made, thinking }
}

const vendorClass = reader(readerProfiles.dualiAbcm6, 'VENDOR')
const known = reader(sibling, 'KNOWN')
const smartCardClass = reader(readerProfiles.omnikey3021, 'CLASS0B')

let server: DemoServer
let lab_: LabServer
let stand: BusStand
const plugged: VirtualCcidReader[] = []
beforeAll(async () => {
  ;[server, lab_] = await Promise.all([DemoServer.start(), LabServer.start()])
  const devices = [vendorClass.made, known.made, smartCardClass.made]
  stand = await BusStand.start({
    grants: [server.origin, lab_.origin].map((origin) => ({ origin, devices })),
  })
})
afterEach(async () => {
  for (const each of [vendorClass, known, smartCardClass]) each.thinking.resume()
  for (const page of stand?.context.pages().slice(1) ?? []) await page.close()
  for (const device of plugged.splice(0)) await stand.bus.unplug(device)
})
afterAll(async () => {
  await stand?.stop()
  await lab_?.stop()
  await server?.stop()
})

function plug(device: VirtualCcidReader): void {
  stand.bus.plug(device)
  plugged.push(device)
}

async function demoPage(): Promise<DemoPage> {
  const page = await stand.openDemo(server.url)
  await page.page.getByRole('button', { name: 'Connect a reader' }).click()
  return page
}

describe.skipIf(missing !== undefined)('an ordinary page, through the browser’s own USB', () => {
  it('logs in and signs with a vendor-class reader that it was let at before', async () => {
    plug(vendorClass.made)
    const page = await demoPage()
    await page.ready()
    await page.logIn()
    await page.login('You are logged in')
    const letter = new TextEncoder().encode('Dear reader,\n')
    await page.choose('letter.txt', letter)
    await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await page.enterPin('123456')
    await page.signing('Signed')
    const path = await page.download(server.folder)
    const [ca, content] = [join(server.folder, 'ca.pem'), join(server.folder, 'content')]
    writeFileSync(ca, demoCa.pem)
    writeFileSync(content, letter)
    const args = ['cms', '-verify', '-binary', '-inform', 'DER', '-in', path, '-content', content]
    execFileSync('openssl', [...args, '-CAfile', ca, '-purpose', 'any', '-out', '/dev/null'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    expect(page.complaints).toEqual([])
  })

  it('is kept from a reader of class 0x0B, and says what would work', async () => {
    plug(smartCardClass.made)
    const page = await demoPage()
    const readers = page.page.locator('webtoki-readers')
    await readers.getByText('Browsers keep this kind of reader from web pages.').waitFor()
    await readers.getByText('It works in an installed (isolated) app').waitFor()
    expect(page.complaints).toEqual([])
  })

  it('is told of a reader unplugged in the middle of a signature; plugged in, it goes on', async () => {
    plug(vendorClass.made)
    const page = await demoPage()
    await page.ready()
    await page.choose('letter.txt', new TextEncoder().encode('Dear reader,\n'))
    vendorClass.thinking.think()
    await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await page.enterPin('123456')
    await page.signing('The card is working')
    await stand.bus.unplug(vendorClass.made)
    await page.signing('The reader was unplugged.')
    await page.page.locator('webtoki-readers').getByText('No reader is connected.').waitFor()
    vendorClass.thinking.resume()
    stand.bus.plug(vendorClass.made)
    await page.ready()
    await page.logIn()
    await page.login('You are logged in')
    await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await page.enterPin('123456')
    await page.signing('Signed')
    expect(page.complaints).toEqual([])
  })

  it('has the idle reader of another tab and logs in; logged out, the first has it again as soon as a person turns to it', async () => {
    plug(vendorClass.made)
    const first = await demoPage()
    await first.ready()
    const second = await demoPage()
    await second.ready()
    await first.page
      .locator('webtoki-readers')
      .getByText('Another tab of this site is using this reader')
      .waitFor()
    await second.logIn()
    await second.login('You are logged in')
    await second.page.locator('#log-out').click()
    await second.login('You are logged out')
    // Headless pages are all visible all the time: the event stands in for a person's click on the tab.
    await first.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
    await first.ready()
    await first.logIn()
    await first.login('You are logged in')
    expect([first.complaints, second.complaints]).toEqual([[], []])
  })

  it('has the idle reader of a window beside it by a click into its own: no page was hidden, and none comes to sight', async () => {
    plug(vendorClass.made)
    const left = await demoPage()
    await left.ready()
    const right = await demoPage()
    await right.ready()
    const inUse = left.page.locator('webtoki-readers').getByText('Another tab of this site is using')
    await inUse.waitFor()
    // Headless pages all have the focus all the time: the event stands in for a person's click into the window.
    await left.page.evaluate(() => window.dispatchEvent(new Event('focus')))
    await left.ready()
    await left.logIn()
    await left.login('You are logged in')
    expect([left.complaints, right.complaints]).toEqual([[], []])
  })

  it('is told that another tab of the site is logged in and keeps the reader; that tab closed, it goes on by itself', async () => {
    plug(vendorClass.made)
    const first = await demoPage()
    await first.ready()
    await first.logIn()
    await first.login('You are logged in')
    const second = await demoPage()
    await second.page
      .locator('webtoki-readers')
      .getByText('Another tab of this site is using this reader')
      .waitFor()
    // Still logged in: nobody is asked for the PIN again.
    const { log } = vendorClass.thinking.card as PivCard
    const count = (instruction: number) =>
      log.filter(({ ins, dataBytes }) => ins === instruction && dataBytes > 0).length
    const [pins, signatures] = [count(VERIFY), count(GENERAL_AUTHENTICATE)]
    await first.page.getByRole('button', { name: 'Log in with your card' }).click()
    await expect.poll(() => count(GENERAL_AUTHENTICATE), { interval: 20 }).toBe(signatures + 1)
    expect(count(VERIFY)).toBe(pins)
    await first.page.close()
    await second.ready()
    await second.logIn()
    await second.login('You are logged in')
    expect(second.complaints).toEqual([])
  })

  it.skipIf(process.getuid?.() !== 0)(
    'is told that pcscd holds the reader; pcscd ended, it works',
    async () => {
      plug(known.made)
      const pcscd = await startPcscd({ bus: stand.bus })
      await expect
        .poll(() => stand.bus.isClaimed(known.made, 0), { timeout: 10_000, interval: 20 })
        .toBe(true)
      try {
        const page = await demoPage()
        await page.page
          .locator('webtoki-readers')
          .getByText('Another page or program is using this reader')
          .waitFor()
        await page.page.close()
      } finally {
        await pcscd.end()
      }
      const page = await demoPage()
      await page.ready()
      await page.logIn()
      await page.login('You are logged in')
      expect(page.complaints).toEqual([])
    },
  )

  it('logs in by a second Webtoki after the first failed, and is told if the first, logged in, was not closed', async () => {
    plug(vendorClass.made)
    const page = await stand.open(lab_.url)
    const outcomes = await page.evaluate(async () => {
      const click = async (pin: string | undefined): Promise<string> => {
        const answer = pin === undefined ? undefined : { pin: new TextEncoder().encode(pin) }
        const webtoki = new lab.Webtoki({ pin: async () => answer })
        return webtoki.login('n'.repeat(44)).then(
          () => 'logged in',
          (error: { rvName: string; cause?: { by?: string } }) => error.cause?.by ?? error.rvName,
        )
      }
      const all: string[] = []
      // As a page without `finally`: nothing is closed.
      for (const pin of ['654321', undefined, '123456', '123456']) all.push(await click(pin))
      return all
    })
    expect(outcomes).toEqual(['CKR_PIN_INCORRECT', 'CKR_FUNCTION_CANCELED', 'logged in', 'page'])
  })

  it('drives the reader from a dedicated worker', async () => {
    plug(vendorClass.made)
    const page = await stand.open(lab_.url)
    const nonces = memoryNonceStore()
    const nonce = await nonces.issue('one')
    const token = await page.evaluate((each) => lab.loginInWorker(each, '123456'), nonce)
    const anchors = [demoCa.certificate]
    const verifier = createLoginVerifier({ origin: lab_.origin, anchors, revocation: notChecked, nonces })
    const { identity } = await verifier.verify(token, 'one')
    expect(identity.commonName).toBe('Ada Lovelace (demo)')
  })
})

describe.skipIf(missing !== undefined)('devices that lie, and devices that go', () => {
  /** The page's own driver, at a device that a person would have chosen: the chooser is the one thing stood in for. */
  const choose = (page: Page) =>
    page.evaluate(async () => {
      navigator.usb.requestDevice = async () => (await navigator.usb.getDevices())[0] as USBDevice
      const source = lab.ccidSlots()
      try {
        const slots = await source.requestReader()
        return `${slots?.length} slot`
      } catch (error) {
        return (error as { code?: string }).code ?? String(error)
      } finally {
        await source.close()
      }
    })

  /** The good reader's descriptors, changed. */
  function lying(change: (configuration: Uint8Array) => Uint8Array): VirtualCcidReader {
    const { made } = reader(readerProfiles.dualiAbcm6, 'VENDOR')
    const [configuration] = made.configurationDescriptors
    Object.defineProperty(made, 'configurationDescriptors', { value: [change(configuration as Uint8Array)] })
    return made
  }

  const set = (at: number, value: number) => (bytes: Uint8Array) => {
    const changed = bytes.slice()
    changed[at] = value
    return changed
  }

  /** Waits until the page sees exactly these. */
  const sees = (page: Page, ...serialNumbers: readonly string[]) =>
    expect
      .poll(() =>
        page.evaluate(async () => (await navigator.usb.getDevices()).map((device) => device.serialNumber)),
      )
      .toEqual(serialNumbers)

  const outcomes = [
    { lie: 'is cut off in the class descriptor', change: (bytes: Uint8Array) => bytes.slice(0, 40) },
    { lie: 'has a descriptor of length 0, which would loop', change: set(18, 0) },
    { lie: 'has a class descriptor longer than the rest', change: set(18, 0xff) },
    { lie: 'claims to be longer than it is', change: set(2, 0xff), ends: '1 slot' },
    {
      lie: 'has no endpoints where it says three',
      change: (bytes: Uint8Array) => bytes.slice(0, 72),
      ends: 'reader/not-supported',
    },
  ]
  it.each(outcomes.map((each) => ({ outcome: each.ends ?? 'Chromium drops the device', ...each })))(
    'a configuration that $lie: $outcome; the next one works',
    async ({ change, ends }) => {
      const page = await stand.open(lab_.url)
      const liar = lying(change)
      plug(liar)
      if (ends === undefined) {
        // Whoever is plugged in later is seen, and the liar is not.
        plug(known.made)
        await sees(page, 'KNOWN')
        await stand.bus.unplug(plugged.pop() as VirtualCcidReader)
      } else {
        await sees(page, 'VENDOR')
        expect(await choose(page)).toBe(ends)
      }
      await stand.bus.unplug(plugged.pop() as VirtualCcidReader)
      await sees(page)
      plug(vendorClass.made)
      await sees(page, 'VENDOR')
      expect(await choose(page)).toBe('1 slot')
    },
  )

  it('a device that vanishes between the list and its opening is told as gone, and the next one works', async () => {
    plug(vendorClass.made)
    const page = await stand.open(lab_.url)
    await page.evaluate(async () => {
      const [device] = await navigator.usb.getDevices()
      Object.assign(globalThis, { found: device })
    })
    await stand.bus.unplug(plugged.pop() as VirtualCcidReader)
    await sees(page)
    const told = await page.evaluate(async () => {
      const { found } = globalThis as unknown as { found: USBDevice }
      const usb = Object.create(navigator.usb) as USB
      Object.assign(usb, {
        getDevices: async () => [],
        requestDevice: async () => found,
        addEventListener: () => {},
        removeEventListener: () => {},
      })
      const source = lab.ccidSlots({ usb })
      return source.requestReader().then(
        () => 'a reader',
        (error: { code?: string }) => error.code,
      )
    })
    expect(told).toBe('reader/gone')
    plug(vendorClass.made)
    await sees(page, 'VENDOR')
    expect(await choose(page)).toBe('1 slot')
  })

  it('a bus whose process is killed in the middle of a transfer ends in a typed error, and the page lives', async () => {
    const dying = await busProcess()
    const { made } = reader(readerProfiles.dualiAbcm6, 'V0000001')
    const own = await BusStand.on(dying, {
      grants: [{ origin: lab_.origin, devices: [made] }],
    })
    try {
      const page = await own.open(lab_.url)
      await sees(page, 'V0000001')
      let crashed = false
      page.on('crash', () => {
        crashed = true
      })
      await page.evaluate(async () => {
        const cryptoki = new lab.Cryptoki({
          sources: [lab.ccidSlots()],
          drivers: [lab.pivDriver()],
          login: 'on-demand',
        })
        const [slot] = await lab.firstValueFrom(cryptoki.slots$)
        const session = await slot!.openSession({
          pin: async () => ({ pin: new TextEncoder().encode('123456') }),
        })
        const objects = await session.findObjects({ 0: 3, 258: Uint8Array.of(1) } as never)
        const sign = () =>
          session.sign({ type: 0x40 }, objects[0]!, new Uint8Array(1)).then(
            () => 'signed',
            (error: unknown) => (error as { rvName?: string }).rvName,
          )
        Object.assign(globalThis, { sign })
      })
      // Stopped, the bus answers nothing: a transfer stays under way until the process dies.
      dying.child.kill('SIGSTOP')
      const working = page.evaluate(async () => {
        type Transfer = (
          this: USBDevice,
          endpoint: number,
          data: BufferSource,
        ) => Promise<USBOutTransferResult>
        const { transferOut } = USBDevice.prototype as { readonly transferOut: Transfer }
        const { sign } = globalThis as unknown as { readonly sign: () => Promise<string> }
        const underWay = new Promise<void>((resolve) => {
          USBDevice.prototype.transferOut = function (endpoint, data) {
            const sent = transferOut.call(this, endpoint, data)
            resolve()
            return sent
          }
        })
        const signing = sign()
        await underWay
        Object.assign(globalThis, { signing })
      })
      await working
      await dying.close()
      const told = page.evaluate(() => (globalThis as unknown as { signing: Promise<string> }).signing)
      expect(await told).toMatch(/^CKR_DEVICE_(REMOVED|ERROR)$/)
      expect(await page.evaluate(() => document.title)).toBe('Lab')
      expect(crashed).toBe(false)
    } finally {
      await own.stop()
    }
    // A browser meets one bus in its life, as a system has one kernel: the next bus is another browser's.
    plug(vendorClass.made)
    const next = await stand.open(lab_.url)
    await sees(next, 'VENDOR')
    expect(await choose(next)).toBe('1 slot')
  })
})

/** A bus in a process of its own, `webtoki virtual-usb`, which can be killed. */
async function busProcess(): Promise<BusProcess> {
  const webtoki = fileURLToPath(new URL('../../packages/cli/bin/webtoki.js', import.meta.url))
  const child = spawn(process.execPath, [webtoki, 'virtual-usb', '--device', 'dualiAbcm6'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const environment = { LD_PRELOAD: '', WEBTOKI_USB_SOCKET: '', WEBTOKI_USB_ROOT: '' }
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') break
    const [, name = '', value = ''] = /^export (\w+)='(.*)'$/.exec(line) ?? []
    Object.assign(environment, { [name]: value })
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    child,
    environment,
    close: async () => {
      child.kill('SIGKILL')
      await ended
      // Killed, it could tidy up nothing.
      rmSync(environment.WEBTOKI_USB_ROOT, { recursive: true, force: true })
    },
  }
}

interface BusProcess extends RunningBus {
  readonly child: ChildProcess
}
