/** Tests the virtual USB bus with the browser's own WebHID. */
import { EchoHidDevice } from '@webtoki/simulator'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusBrowser, LabServer } from './bus-browser.ts'
import { chromiumPath } from './demo.ts'

/** The part of WebHID (wicg.github.io/webhid) that this test uses. TypeScript's DOM types do not include it. */
interface HidDevice extends EventTarget {
  readonly productName: string
  readonly productId: number
  readonly collections: readonly { usagePage: number; inputReports: unknown[]; featureReports: unknown[] }[]
  open(): Promise<void>
  sendReport(reportId: number, data: Uint8Array): Promise<void>
  sendFeatureReport(reportId: number, data: Uint8Array): Promise<void>
  receiveFeatureReport(reportId: number): Promise<DataView>
}
declare const navigator: Navigator & {
  readonly hid: EventTarget & { getDevices(): Promise<HidDevice[]> }
}

const plain = new EchoHidDevice({ productId: 0x4100, serialNumber: 'PLAIN' })
const numbered = new EchoHidDevice({ productId: 0x4101, serialNumber: 'NUMBERED', reportId: 5 })

const missing = whatIsMissing([chromiumPath, 'gcc'])
if (missing !== undefined) console.warn(`The tests of WebHID are skipped: ${missing}.`)

describe.skipIf(missing !== undefined)('the browser’s own WebHID', () => {
  let lab: LabServer
  let browser: BusBrowser
  let page: Page
  beforeAll(async () => {
    lab = await LabServer.start()
    browser = await BusBrowser.start({
      grants: [],
      hidGrants: [{ origin: lab.origin, devices: [plain, numbered] }],
    })
    page = await browser.open(lab.url)
  })
  afterEach(async () => {
    for (const device of [plain, numbered]) await browser?.bus.unplugHid(device)
    await waitForDevices(0)
  })
  afterAll(async () => {
    await browser?.stop()
    await lab?.stop()
  })

  /** Waits until the page has that many devices. */
  const waitForDevices = (count: number) =>
    expect.poll(() => page.evaluate(async () => (await navigator.hid.getDevices()).length)).toBe(count)

  it.each([
    { name: 'without report ids', device: plain, reportId: 0 },
    { name: 'with report ids', device: numbered, reportId: 5 },
  ])('transfers output, input and feature reports $name', async ({ device, reportId }) => {
    browser.bus.plugHid(device)
    await waitForDevices(1)
    const received = await page.evaluate(async (id) => {
      const [hid] = await navigator.hid.getDevices()
      if (hid === undefined) throw new Error('There is no device.')
      await hid.open()
      const input = new Promise<{ reportId: number; data: DataView }>((resolve) => {
        hid.addEventListener('inputreport', (event) => resolve(event as never), { once: true })
      })
      await hid.sendReport(
        id,
        Uint8Array.from({ length: 64 }, (_, at) => at),
      )
      const { reportId: from, data } = await input
      await hid.sendFeatureReport(id, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
      const feature = await hid.receiveFeatureReport(id)
      const bytes = (view: DataView) => [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]
      return {
        name: hid.productName,
        usagePage: hid.collections[0]?.usagePage,
        from,
        data: bytes(data),
        feature: bytes(feature),
      }
    }, reportId)
    expect(received).toEqual({
      name: 'Webtoki echo HID',
      usagePage: 0xff00,
      from: reportId,
      data: Array.from({ length: 64 }, (_, at) => at ^ 0xff),
      // Chromium puts the report id in front of a feature report.
      feature: [...(reportId === 0 ? [] : [reportId]), 1, 2, 3, 4, 5, 6, 7, 8],
    })
  })

  it('dispatches events when a device is unplugged and plugged in again', async () => {
    browser.bus.plugHid(plain)
    await waitForDevices(1)
    await page.evaluate(async () => {
      const events: string[] = []
      for (const type of ['connect', 'disconnect'])
        navigator.hid.addEventListener(type, () => events.push(type))
      const [hid] = await navigator.hid.getDevices()
      await hid?.open()
      Object.assign(globalThis, { events })
    })
    await browser.bus.unplugHid(plain)
    await waitForDevices(0)
    browser.bus.plugHid(plain)
    await waitForDevices(1)
    expect(await page.evaluate(() => (globalThis as unknown as { events: string[] }).events)).toEqual([
      'disconnect',
      'connect',
    ])
  })
})
