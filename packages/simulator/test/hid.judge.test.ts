/** Checks virtual HID devices with a program that uses Linux's hidraw interface. */
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EchoHidDevice, type HidDeviceModel, hasNumberedReports } from '../src/index.ts'
import { startBus, type VirtualUsbBus } from '../src/node/index.ts'
import { compileAlone, LineProgram, whatIsMissing } from './bus/line-program.ts'

const missing = whatIsMissing(['gcc'])
if (missing !== undefined) console.warn(`Virtual HID devices are not checked with hidraw: ${missing}.`)

const report = (length: number, first?: number): string =>
  Buffer.from([...(first === undefined ? [] : [first]), ...Array.from({ length }, (_, at) => at)]).toString(
    'hex',
  )
const echoed = (length: number, first?: number): string =>
  Buffer.from([
    ...(first === undefined ? [] : [first]),
    ...Array.from({ length }, (_, at) => at ^ 0xff),
  ]).toString('hex')

describe.skipIf(missing !== undefined)('a program on hidraw', () => {
  let bus: VirtualUsbBus
  let host: LineProgram
  beforeEach(async () => {
    bus = await startBus()
    host = new LineProgram(
      await compileAlone(join(import.meta.dirname, 'bus/hid-host.c')),
      [],
      bus.environment,
    )
  })
  afterEach(async () => {
    await host.end()
    await bus.close()
  })

  const plug = (device: HidDeviceModel): HidDeviceModel => {
    bus.plugHid(device)
    return device
  }

  it('reads the identity and the report descriptor of a device', async () => {
    const device = plug(new EchoHidDevice({ productId: 0x4100, serialNumber: 'H1' }))
    expect(await host.ask('open /dev/hidraw0')).toBe('ok')
    expect(await host.ask('descriptor')).toBe(`ok ${Buffer.from(device.reportDescriptor).toString('hex')}`)
    // struct hidraw_devinfo: bus 3 (USB), vendor, product.
    expect(await host.ask('info')).toBe('ok 03000000feca0041')
    expect(await host.ask('name')).toBe(`ok ${Buffer.from('Webtoki echo HID\0').toString('hex')}`)
  })

  it.each([
    { how: 'without a report ID', reportId: undefined },
    { how: 'with a report ID', reportId: 5 },
  ])('writes and reads input, output and feature reports $how', async ({ reportId }) => {
    plug(
      new EchoHidDevice({
        productId: 0x4100,
        serialNumber: 'H1',
        ...(reportId === undefined ? {} : { reportId }),
      }),
    )
    await host.ask('open /dev/hidraw0')
    const number = reportId ?? 0
    expect(await host.ask(`write ${report(64, number)}`)).toBe('ok')
    expect(await host.ask('read')).toBe(`ok ${echoed(64, reportId)}`)
    expect(await host.ask(`set-feature ${report(8, number)}`)).toBe('ok')
    const first = Buffer.of(number).toString('hex')
    expect(await host.ask(`get-feature ${first}`)).toBe(`ok ${report(8, number)}`)
  })

  it('gets a write error after the device was unplugged, and can open it again', async () => {
    const device = plug(new EchoHidDevice({ productId: 0x4100, serialNumber: 'H1' }))
    await host.ask('open /dev/hidraw0')
    await bus.unplugHid(device)
    const wrote = async () => await host.ask(`write ${report(64, 0)}`)
    await expect.poll(wrote, { timeout: 5000 }).toBe('Broken pipe')
    expect(await host.ask('info')).toBe('No such device')
    plug(device)
    expect(await host.ask('open /dev/hidraw1')).toBe('ok')
    expect(await host.ask('info')).toBe('ok 03000000feca0041')
  })
})

describe('a report descriptor', () => {
  it.each([
    ['a Report ID item', '85 05', true],
    ['no Report ID item', '06 00 ff 09 01', false],
    ['data that looks like a Report ID item', '06 85 05', false],
    ['a long item before a Report ID item', 'fe 02 00 85 05 85 01', true],
  ])('with %s (%s) has numbered reports: %s', (_, text, expected) => {
    expect(hasNumberedReports(Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex')))).toBe(expected)
  })
})
