/** Tests the demo and the driver with the browser's own WebUSB, on a virtual USB bus. */
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
import { BusBrowser, LabServer, type RunningBus, DelayedCard } from './bus-browser.ts'
import { chromiumPath, type DemoPage, DemoServer } from './demo.ts'

declare const lab: Lab

const missing = whatIsMissing([chromiumPath, 'gcc', 'openssl'])
if (missing !== undefined) console.warn(`The tests on the virtual bus are skipped: ${missing}.`)

const GENERAL_AUTHENTICATE = 0x87
const VERIFY = 0x20

/** A similar reader that is in libccid's list, so that pcscd can use it too. */
const knownToLibccid: ReaderProfile = { ...readerProfiles.dualiAbcm6, productId: 0x080c }
const reader = (profile: ReaderProfile, serialNumber: string) => {
  const device = new VirtualCcidReader(profile, { serialNumber })
  const delayedCard = new DelayedCard(createPivCard(), GENERAL_AUTHENTICATE)
  device.insert(delayedCard)
  return { device, delayedCard }
}

const vendorClass = reader(readerProfiles.dualiAbcm6, 'VENDOR')
const known = reader(knownToLibccid, 'KNOWN')
const smartCardClass = reader(readerProfiles.omnikey3021, 'CLASS0B')

let server: DemoServer
let labServer: LabServer
let browser: BusBrowser
const plugged: VirtualCcidReader[] = []
beforeAll(async () => {
  ;[server, labServer] = await Promise.all([DemoServer.start(), LabServer.start()])
  const devices = [vendorClass.device, known.device, smartCardClass.device]
  browser = await BusBrowser.start({
    grants: [server.origin, labServer.origin].map((origin) => ({ origin, devices })),
  })
})
afterEach(async () => {
  for (const each of [vendorClass, known, smartCardClass]) each.delayedCard.resume()
  for (const page of browser?.context.pages().slice(1) ?? []) await page.close()
  for (const device of plugged.splice(0)) await browser.bus.unplug(device)
})
afterAll(async () => {
  await browser?.stop()
  await labServer?.stop()
  await server?.stop()
})

function plug(device: VirtualCcidReader): void {
  browser.bus.plug(device)
  plugged.push(device)
}

async function demoPage(): Promise<DemoPage> {
  const page = await browser.openDemo(server.url)
  await page.page.getByRole('button', { name: 'Connect a reader' }).click()
  return page
}

describe.skipIf(missing !== undefined)('an ordinary page with the browser’s own WebUSB', () => {
  it('logs in and signs with a vendor-class reader that it has permission for', async () => {
    plug(vendorClass.device)
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

  it('cannot use a reader of class 0x0B, and explains what would work', async () => {
    plug(smartCardClass.device)
    const page = await demoPage()
    const readers = page.page.locator('webtoki-readers')
    await readers.getByText('Browsers do not let web pages use this kind of reader.').waitFor()
    await readers.getByText('Use another reader, an installed (isolated) app').waitFor()
    expect(page.complaints).toEqual([])
  })

  it('reports a reader that is unplugged during a signature, and continues after it is plugged in', async () => {
    plug(vendorClass.device)
    const page = await demoPage()
    await page.ready()
    await page.choose('letter.txt', new TextEncoder().encode('Dear reader,\n'))
    vendorClass.delayedCard.delay()
    await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await page.enterPin('123456')
    await page.signing('The card is working')
    await browser.bus.unplug(vendorClass.device)
    await page.signing('The reader was unplugged.')
    await page.page.locator('webtoki-readers').getByText('No reader is connected.').waitFor()
    vendorClass.delayedCard.resume()
    browser.bus.plug(vendorClass.device)
    await page.ready()
    await page.logIn()
    await page.login('You are logged in')
    await page.page.getByRole('button', { name: 'Sign', exact: true }).click()
    await page.enterPin('123456')
    await page.signing('Signed')
    expect(page.complaints).toEqual([])
  })

  it('takes the idle reader of another tab, which gets it back when it becomes visible', async () => {
    plug(vendorClass.device)
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
    // Headless pages are always visible, so the event replaces a person's click on the tab.
    await first.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
    await first.ready()
    await first.logIn()
    await first.login('You are logged in')
    expect([first.complaints, second.complaints]).toEqual([[], []])
  })

  it('takes the idle reader of another visible window when its own window gets the focus', async () => {
    plug(vendorClass.device)
    const left = await demoPage()
    await left.ready()
    const right = await demoPage()
    await right.ready()
    const inUse = left.page.locator('webtoki-readers').getByText('Another tab of this site is using')
    await inUse.waitFor()
    // Headless pages always have the focus, so the event replaces a person's click into the window.
    await left.page.evaluate(() => window.dispatchEvent(new Event('focus')))
    await left.ready()
    await left.logIn()
    await left.login('You are logged in')
    expect([left.complaints, right.complaints]).toEqual([[], []])
  })

  it('cannot take the reader of a tab that is logged in, and gets it when that tab is closed', async () => {
    plug(vendorClass.device)
    const first = await demoPage()
    await first.ready()
    await first.logIn()
    await first.login('You are logged in')
    const second = await demoPage()
    await second.page
      .locator('webtoki-readers')
      .getByText('Another tab of this site is using this reader')
      .waitFor()
    // The first tab is still logged in, so it logs in again without the PIN.
    const { log } = vendorClass.delayedCard.card as PivCard
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
    'reports that pcscd uses the reader, and works after pcscd has ended',
    async () => {
      plug(known.device)
      const pcscd = await startPcscd({ bus: browser.bus })
      await expect
        .poll(() => browser.bus.isClaimed(known.device, 0), { timeout: 10_000, interval: 20 })
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

  it('logs in with a new Webtoki after others failed, but not after one that is still logged in', async () => {
    plug(vendorClass.device)
    const page = await browser.open(labServer.url)
    const outcomes = await page.evaluate(async () => {
      const click = async (pin: string | undefined): Promise<string> => {
        const entered = pin === undefined ? undefined : { pin: new TextEncoder().encode(pin) }
        const webtoki = new lab.Webtoki({ pin: async () => entered })
        return webtoki.login('n'.repeat(44)).then(
          () => 'logged in',
          (error: { rvName: string; cause?: { by?: string } }) => error.cause?.by ?? error.rvName,
        )
      }
      const all: string[] = []
      // Like a page without `finally`, this never closes a Webtoki.
      for (const pin of ['654321', undefined, '123456', '123456']) all.push(await click(pin))
      return all
    })
    expect(outcomes).toEqual(['CKR_PIN_INCORRECT', 'CKR_FUNCTION_CANCELED', 'logged in', 'page'])
  })

  it('logs in from a dedicated worker', async () => {
    plug(vendorClass.device)
    const page = await browser.open(labServer.url)
    const nonces = memoryNonceStore()
    const nonce = await nonces.issue('one')
    const token = await page.evaluate((each) => lab.loginInWorker(each, '123456'), nonce)
    const anchors = [demoCa.certificate]
    const verifier = createLoginVerifier({
      origin: labServer.origin,
      anchors,
      revocation: notChecked,
      nonces,
    })
    const { identity } = await verifier.verify(token, 'one')
    expect(identity.commonName).toBe('Ada Lovelace (demo)')
  })
})

describe.skipIf(missing !== undefined)('the driver in a page with the browser’s own WebUSB', () => {
  /** Requests a reader. Replaces the browser's chooser, which a headless browser lacks, by the first permitted device. */
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

  /** Returns a reader with a changed configuration descriptor. */
  function malformed(change: (configuration: Uint8Array) => Uint8Array): VirtualCcidReader {
    const { device } = reader(readerProfiles.dualiAbcm6, 'VENDOR')
    const [configuration] = device.configurationDescriptors
    Object.defineProperty(device, 'configurationDescriptors', {
      value: [change(configuration as Uint8Array)],
    })
    return device
  }

  const set = (at: number, value: number) => (bytes: Uint8Array) => {
    const changed = bytes.slice()
    changed[at] = value
    return changed
  }

  /** Waits until the page has exactly these devices. */
  const waitForDevices = (page: Page, ...serialNumbers: readonly string[]) =>
    expect
      .poll(() =>
        page.evaluate(async () => (await navigator.usb.getDevices()).map((device) => device.serialNumber)),
      )
      .toEqual(serialNumbers)

  const outcomes = [
    { fault: 'ends within the class descriptor', change: (bytes: Uint8Array) => bytes.slice(0, 40) },
    { fault: 'contains a descriptor of length 0', change: set(18, 0) },
    { fault: 'contains a class descriptor that is longer than the rest', change: set(18, 0xff) },
    { fault: 'states a longer length than it has', change: set(2, 0xff), ends: '1 slot' },
    {
      fault: 'lacks the three endpoints that it states',
      change: (bytes: Uint8Array) => bytes.slice(0, 72),
      ends: 'reader/not-supported',
    },
  ]
  it.each(outcomes.map((each) => ({ outcome: each.ends ?? 'Chromium drops the device', ...each })))(
    'gets "$outcome" if the configuration descriptor $fault, and the next device works',
    async ({ change, ends }) => {
      const page = await browser.open(labServer.url)
      plug(malformed(change))
      if (ends === undefined) {
        // When a device that is plugged in later has appeared, the malformed one will not appear any more.
        plug(known.device)
        await waitForDevices(page, 'KNOWN')
        await browser.bus.unplug(plugged.pop() as VirtualCcidReader)
      } else {
        await waitForDevices(page, 'VENDOR')
        expect(await choose(page)).toBe(ends)
      }
      await browser.bus.unplug(plugged.pop() as VirtualCcidReader)
      await waitForDevices(page)
      plug(vendorClass.device)
      await waitForDevices(page, 'VENDOR')
      expect(await choose(page)).toBe('1 slot')
    },
  )

  it('reports reader/gone for a device that is unplugged before it is opened, and the next one works', async () => {
    plug(vendorClass.device)
    const page = await browser.open(labServer.url)
    await page.evaluate(async () => {
      const [device] = await navigator.usb.getDevices()
      Object.assign(globalThis, { found: device })
    })
    await browser.bus.unplug(plugged.pop() as VirtualCcidReader)
    await waitForDevices(page)
    const outcome = await page.evaluate(async () => {
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
    expect(outcome).toBe('reader/gone')
    plug(vendorClass.device)
    await waitForDevices(page, 'VENDOR')
    expect(await choose(page)).toBe('1 slot')
  })

  it('fails with a typed error if the bus is killed during a transfer, and the page does not crash', async () => {
    const bus = await busProcess()
    const { device } = reader(readerProfiles.dualiAbcm6, 'V0000001')
    const own = await BusBrowser.on(bus, {
      grants: [{ origin: labServer.origin, devices: [device] }],
    })
    try {
      const page = await own.open(labServer.url)
      await waitForDevices(page, 'V0000001')
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
      // A stopped process completes no transfer, so one stays pending until the process is killed.
      bus.child.kill('SIGSTOP')
      const working = page.evaluate(async () => {
        type Transfer = (
          this: USBDevice,
          endpoint: number,
          data: BufferSource,
        ) => Promise<USBOutTransferResult>
        const { transferOut } = USBDevice.prototype as { readonly transferOut: Transfer }
        const { sign } = globalThis as unknown as { readonly sign: () => Promise<string> }
        const isPending = new Promise<void>((resolve) => {
          USBDevice.prototype.transferOut = function (endpoint, data) {
            const sent = transferOut.call(this, endpoint, data)
            resolve()
            return sent
          }
        })
        const signing = sign()
        await isPending
        Object.assign(globalThis, { signing })
      })
      await working
      await bus.close()
      const outcome = page.evaluate(() => (globalThis as unknown as { signing: Promise<string> }).signing)
      expect(await outcome).toMatch(/^CKR_DEVICE_(REMOVED|ERROR)$/)
      expect(await page.evaluate(() => document.title)).toBe('Lab')
      expect(crashed).toBe(false)
    } finally {
      await own.stop()
    }
    // A browser process uses one bus for its lifetime, so the next device is tested in the other browser.
    plug(vendorClass.device)
    const next = await browser.open(labServer.url)
    await waitForDevices(next, 'VENDOR')
    expect(await choose(next)).toBe('1 slot')
  })
})

/** Starts `webtoki virtual-usb`, a bus in a separate process that can be killed. */
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
      // The killed process could not delete its folder.
      rmSync(environment.WEBTOKI_USB_ROOT, { recursive: true, force: true })
    },
  }
}

interface BusProcess extends RunningBus {
  readonly child: ChildProcess
}
