import { EchoHidDevice } from '@webtoki/simulator'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { whatIsMissing } from '../../packages/simulator/test/bus/line-program.ts'
import { BusStand, LabServer } from './bus-stand.ts'
import { chromiumPath } from './stand.ts'

/** Of WebHID's own interfaces (wicg.github.io/webhid), what is used here: TypeScript's DOM has none of them. */
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
if (missing !== undefined) console.warn(`WebHID is not tried: ${missing}.`)

describe.skipIf(missing !== undefined)('the browser’s own WebHID', () => {
  let lab: LabServer
  let stand: BusStand
  let page: Page
  beforeAll(async () => {
    lab = await LabServer.start()
    stand = await BusStand.start({
      grants: [],
      hidGrants: [{ origin: lab.origin, devices: [plain, numbered] }],
    })
    page = await stand.open(lab.url)
  })
  afterEach(async () => {
    for (const device of [plain, numbered]) await stand?.bus.unplugHid(device)
    await seen(0)
  })
  afterAll(async () => {
    await stand?.stop()
    await lab?.stop()
  })

  /** Waits until the page sees so many. */
  const seen = (count: number) =>
    expect.poll(() => page.evaluate(async () => (await navigator.hid.getDevices()).length)).toBe(count)

  it.each([
    { name: 'without numbers', device: plain, reportId: 0 },
    { name: 'with numbers', device: numbered, reportId: 5 },
  ])('carries output, input and feature reports $name', async ({ device, reportId }) => {
    stand.bus.plugHid(device)
    await seen(1)
    const got = await page.evaluate(async (id) => {
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
    expect(got).toEqual({
      name: 'Webtoki echo HID',
      usagePage: 0xff00,
      from: reportId,
      data: Array.from({ length: 64 }, (_, at) => at ^ 0xff),
      // Chromium gives a numbered feature report with its number in front.
      feature: [...(reportId === 0 ? [] : [reportId]), 1, 2, 3, 4, 5, 6, 7, 8],
    })
  })

  it('tells of a device unplugged, and plugged in again', async () => {
    stand.bus.plugHid(plain)
    await seen(1)
    await page.evaluate(async () => {
      const told: string[] = []
      for (const type of ['connect', 'disconnect'])
        navigator.hid.addEventListener(type, () => told.push(type))
      const [hid] = await navigator.hid.getDevices()
      await hid?.open()
      Object.assign(globalThis, { told })
    })
    await stand.bus.unplugHid(plain)
    await seen(0)
    stand.bus.plugHid(plain)
    await seen(1)
    expect(await page.evaluate(() => (globalThis as unknown as { told: string[] }).told)).toEqual([
      'disconnect',
      'connect',
    ])
  })
})
