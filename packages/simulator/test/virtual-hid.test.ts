/** Tests of `navigator.hid` with virtual devices, as Chromium implements it (WebHID, 5 to 8). */
import {
  EchoHidDevice,
  type HidDeviceModel,
  type VirtualHidInputReportEvent,
  virtualHid,
} from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'

const echo = (reportId?: number) =>
  new EchoHidDevice({
    productId: 0x4100,
    serialNumber: 'H1',
    ...(reportId === undefined ? {} : { reportId }),
  })

/** A device with one collection and an output report of 64 bytes. */
function device(usagePage: number, usage: number, productId = 1): HidDeviceModel {
  return {
    vendorId: 0x1050,
    productId,
    product: 'Key',
    serialNumber: 'K1',
    reportDescriptor: Uint8Array.of(
      ...[0x06, usagePage & 0xff, usagePage >> 8, 0x09, usage, 0xa1, 0x01],
      ...[0x75, 0x08, 0x95, 0x40, 0x09, 0x21, 0x91, 0x02, 0xc0],
    ),
    plugged: () => {},
    unplugged: () => {},
    output: () => {},
    setFeature: () => 'stall',
    getFeature: () => 'stall',
  }
}

describe('a virtual HID device in a page', () => {
  it.each([undefined, 5])(
    'responds to an output report with an input report (report ID %s)',
    async (reportId) => {
      const hid = virtualHid([echo(reportId)])
      const [found] = await hid.getDevices()
      if (found === undefined) throw new Error('The page has no device.')
      await found.open()
      const came = new Promise<VirtualHidInputReportEvent>((resolve) => {
        found.oninputreport = resolve
      })
      await found.sendReport(reportId ?? 0, Uint8Array.of(1, 2, 3))
      const { data, reportId: number } = await came
      expect(number).toBe(reportId ?? 0)
      expect([...new Uint8Array(data.buffer)].slice(0, 3)).toEqual([0xfe, 0xfd, 0xfc])
      expect(found.collections).toMatchObject([{ usagePage: 0xff00, usage: 1 }])
    },
  )

  it('returns a stored feature report after its report ID', async () => {
    const [found] = await virtualHid([echo(7)]).getDevices()
    await found?.open()
    await found?.sendFeatureReport(7, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
    const data = await found?.receiveFeatureReport(7)
    expect([...new Uint8Array(data?.buffer as ArrayBuffer)]).toEqual([7, 1, 2, 3, 4, 5, 6, 7, 8])
    await expect(found?.receiveFeatureReport(8)).rejects.toMatchObject({ name: 'NotAllowedError' })
  })

  it('must be opened before use, cannot be opened twice, and is closed when it is unplugged', async () => {
    const model = echo()
    const hid = virtualHid([model])
    const [found] = await hid.getDevices()
    if (found === undefined) throw new Error('The page has no device.')
    await expect(found.sendReport(0, new Uint8Array(1))).rejects.toMatchObject({ name: 'InvalidStateError' })
    await found.open()
    await expect(found.open()).rejects.toMatchObject({ name: 'InvalidStateError' })
    const events: string[] = []
    hid.addEventListener('disconnect', () => events.push('disconnect'))
    hid.addEventListener('connect', () => events.push('connect'))
    hid.unplug(model)
    expect(found.opened).toBe(false)
    await expect(found.open()).rejects.toMatchObject({ name: 'NotAllowedError' })
    hid.plug(model)
    await Promise.resolve()
    expect(events).toEqual(['disconnect', 'connect'])
    expect(await hid.getDevices()).toHaveLength(1)
  })
})

describe('a device with a protected usage', () => {
  it.each([
    ['FIDO', 0xf1d0, 0x01],
    ['keyboard', 0x01, 0x06],
    ['mouse', 0x01, 0x02],
    ['system control', 0x01, 0x80],
  ])('%s is hidden from the page and from the chooser', async (_, usagePage, usage) => {
    const hid = virtualHid([device(usagePage, usage)])
    expect(await hid.getDevices()).toEqual([])
    expect(await hid.requestDevice({ filters: [] })).toEqual([])
    const free = virtualHid([device(usagePage, usage)], { protectedUsages: false })
    expect(await free.getDevices()).toHaveLength(1)
  })
})

describe('the HID device chooser', () => {
  it('shows the devices that match the filters, and grants permission for the chosen one', async () => {
    const hid = virtualHid([device(0xffa0, 1, 1), device(0xff00, 1, 2)], { granted: 'none' })
    expect(await hid.getDevices()).toEqual([])
    const [chosen] = await hid.requestDevice({ filters: [{ usagePage: 0xff00 }] })
    expect(chosen?.productId).toBe(2)
    expect(await hid.getDevices()).toEqual([chosen])
    await chosen?.forget()
    expect(await hid.getDevices()).toEqual([])
  })

  it('resolves to an empty array if the person chooses no device', async () => {
    const hid = virtualHid([echo()], { granted: 'none', choose: () => undefined })
    expect(await hid.requestDevice({ filters: [] })).toEqual([])
  })

  it.each([[{}], [{ productId: 1 }], [{ usage: 1 }]])(
    'rejects the filter %j with TypeError',
    async (filter) => {
      await expect(virtualHid([echo()]).requestDevice({ filters: [filter] })).rejects.toBeInstanceOf(
        TypeError,
      )
    },
  )
})
