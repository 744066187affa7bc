/** Tests of the virtual USB bus and of `navigator.usb` as Chromium implements it (USB 2.0, 5.8.3; WebUSB, 4). */
import { describe, expect, it } from 'vitest'
import {
  createEchoCard,
  InQueue,
  type InResult,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  virtualUsb,
} from '../src/index.ts'

const vendor = readerProfiles.dualiAbcm6
const powerOn = Uint8Array.of(0x62, 0, 0, 0, 0, 0, 1, 0, 0, 0)

async function claimed(reader = new VirtualCcidReader(vendor)) {
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context()
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('The bus has no device.')
  await device.open()
  await device.selectConfiguration(1)
  await device.claimInterface(0)
  return { bus, usb, device, reader }
}

const named = (name: string, message?: RegExp) =>
  expect.objectContaining({ name, message: expect.stringMatching(message ?? /./) })

describe('an IN transfer', () => {
  const take = (packets: (number | 'stall')[], lengthBytes: number): InResult | undefined => {
    const queue = new InQueue(64)
    let result: InResult | undefined
    queue.submit(lengthBytes, (got) => void (result = got))
    for (const packet of packets) {
      if (packet === 'stall') queue.sendStall()
      else queue.sendPacket(new Uint8Array(packet))
    }
    return result
  }

  it.each([
    ['with a short packet', [10], 64, 10],
    ['with a short packet after full packets', [64, 64, 1], 512, 129],
    ['with an empty packet after full packets', [64, 64, 0], 512, 128],
    ['with a single empty packet', [0], 64, 0],
    ['with a full buffer', [64, 64], 128, 128],
    ['with a full buffer of one packet', [64], 64, 64],
  ] as const)('ends %s', (_how, packets, lengthBytes, gotBytes) => {
    expect(take([...packets], lengthBytes)).toMatchObject({ status: 'ok', data: new Uint8Array(gotBytes) })
  })

  it('stays pending, as with hardware, after full packets that do not fill its buffer', () => {
    expect(take([64, 64], 512)).toBeUndefined()
  })

  it('ends with babble if the device sends more than requested, and with stall if it stalls', () => {
    expect(take([64], 10)?.status).toBe('babble')
    expect(take(['stall'], 64)?.status).toBe('stall')
  })
})

describe('navigator.usb with the behaviour of Chromium 156', () => {
  it('rejects claimInterface for a protected class with the message of the browser', async () => {
    const usb = virtualUsb([new VirtualCcidReader(readerProfiles.yubikey4)])
    const [device] = await usb.getDevices()
    await device?.open()
    await expect(device?.claimInterface(0)).rejects.toEqual(
      named('SecurityError', /The requested interface implements a protected class\.$/),
    )
    const free = virtualUsb([new VirtualCcidReader(readerProfiles.yubikey4)], { protectedClasses: false })
    const [inApp] = await free.getDevices()
    await inApp?.open()
    await expect(inApp?.claimInterface(0)).resolves.toBeUndefined()
  })

  it('can read the configuration descriptor even if an interface cannot be claimed', async () => {
    const usb = virtualUsb([new VirtualCcidReader(readerProfiles.yubikey4)])
    const [device] = await usb.getDevices()
    await device?.open()
    const setup = {
      requestType: 'standard',
      recipient: 'device',
      request: 6,
      value: 0x0200,
      index: 0,
    } as const
    const result = await device?.controlTransferIn(setup, 512)
    expect(result?.data?.getUint8(1)).toBe(2)
    expect(result?.data?.byteLength).toBe(9 + 9 + 54 + 21)
  })

  it('rejects a standard OUT request, and returns stall for an unknown class request', async () => {
    const { device } = await claimed()
    const setConfiguration = {
      requestType: 'standard',
      recipient: 'device',
      request: 9,
      value: 1,
      index: 0,
    } as const
    await expect(device.controlTransferOut(setConfiguration)).rejects.toEqual(
      named('SecurityError', /The transfer was not allowed/),
    )
    const unknown = {
      requestType: 'class',
      recipient: 'interface',
      request: 0x7f,
      value: 0,
      index: 0,
    } as const
    expect((await device.controlTransferIn(unknown, 4)).status).toBe('stall')
  })

  it('rejects transfers if the device is closed, or the endpoint is unclaimed or missing', async () => {
    const usb = virtualUsb([new VirtualCcidReader(vendor)])
    const [device] = await usb.getDevices()
    await expect(device?.transferIn(1, 64)).rejects.toEqual(named('InvalidStateError'))
    await device?.open()
    await expect(device?.transferIn(1, 64)).rejects.toEqual(named('NotFoundError'))
    await device?.claimInterface(0)
    await expect(device?.transferOut(9, powerOn)).rejects.toEqual(named('NotFoundError'))
  })

  it('rejects claimInterface with the same error if another page or another program is the owner', async () => {
    const { bus, device, reader } = await claimed()
    const [other] = await bus.context().getDevices()
    await other?.open()
    await expect(other?.claimInterface(0)).rejects.toEqual(
      named('NetworkError', /Unable to claim interface\.$/),
    )
    await device.close()
    await expect(other?.claimInterface(0)).resolves.toBeUndefined()
    await other?.close()
    bus.occupy(reader, 0)
    await device.open()
    await expect(device.claimInterface(0)).rejects.toEqual(
      named('NetworkError', /Unable to claim interface\.$/),
    )
  })

  it('rejects a pending transfer at release, close and unplugging, with a different error each', async () => {
    const released = await claimed()
    const first = released.device.transferIn(3, 8)
    await Promise.all([
      expect(first).rejects.toEqual(named('NetworkError', /A transfer error has occurred/)),
      released.device.releaseInterface(0),
    ])
    const closed = await claimed()
    const second = closed.device.transferIn(3, 8)
    await Promise.all([
      expect(second).rejects.toEqual(named('AbortError', /The transfer was cancelled/)),
      closed.device.close(),
    ])
    const pulled = await claimed()
    const third = pulled.device.transferIn(3, 8)
    let isDisconnected = false
    pulled.usb.addEventListener('disconnect', () => void (isDisconnected = true))
    pulled.bus.unplug(pulled.reader)
    await expect(third).rejects.toEqual(named('AbortError'))
    expect(isDisconnected).toBe(true)
    expect(pulled.device.opened).toBe(false)
    expect(await pulled.usb.getDevices()).toEqual([])
  })

  it('fires connect with a new object for a device that is plugged in again', async () => {
    const { bus, usb, device, reader } = await claimed()
    const arrived = new Promise<unknown>((resolve) =>
      usb.addEventListener('connect', (event) => resolve(event.device)),
    )
    bus.unplug(reader)
    bus.plug(reader)
    expect(await arrived).not.toBe(device)
    const [again] = await usb.getDevices()
    expect(await arrived).toBe(again)
  })

  it('shows the devices that match the filters in the chooser, and rejects if none is chosen', async () => {
    const readers = [new VirtualCcidReader(vendor), new VirtualCcidReader(readerProfiles.yubikey4)]
    const shown: (string | null)[][] = []
    const usb = virtualUsb(readers, {
      granted: 'none',
      choose: (candidates) => {
        shown.push(candidates.map(({ productName }) => productName))
        return undefined
      },
    })
    await expect(usb.requestDevice({ filters: [{ classCode: 0x0b }] })).rejects.toEqual(
      named('NotFoundError'),
    )
    await expect(usb.requestDevice({ filters: [] })).rejects.toEqual(named('NotFoundError'))
    expect(shown).toEqual([['YubiKey CCID'], ['DE-ABCM6', 'YubiKey CCID']])
    await expect(usb.requestDevice({ filters: [{ productId: 1 }] })).rejects.toBeInstanceOf(TypeError)
  })

  it('resolves a stalled transfer with status stall until clearHalt is called', async () => {
    const reader = new VirtualCcidReader(vendor)
    reader.insert(createEchoCard())
    const { device } = await claimed(reader)
    await device.transferOut(2, powerOn)
    await device.transferIn(1, 512)
    reader.faults.schedule({ kind: 'stall-out', ends: 'once' })
    const block = Uint8Array.of(0x6f, 5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0x12, 0, 1, 1)
    expect(await device.transferOut(2, block)).toEqual({ status: 'stall', bytesWritten: 0 })
    expect((await device.transferOut(2, block)).status).toBe('stall')
    await device.clearHalt('out', 2)
    expect((await device.transferOut(2, block)).status).toBe('ok')
    expect((await device.transferIn(1, 512)).data?.byteLength).toBe(13)
  })
})
