/** A slow, silent or failing device delays no other device, and a failure is retried on request. */
import type { CardSlot, Presence } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, HandClock, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { driverClock, inTime } from './set-up.ts'

type Change = (device: USBDevice) => void

/** A bus with one reader and its card. `change` modifies each device before the driver sees it. */
function put(change: Change = () => {}, phone?: USBDevice) {
  const clock = new HandClock()
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { clock, serialNumber: 'A' })
  reader.insert(createEchoCard())
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb: USB = bus.context({ choose: (devices) => devices[0] })
  const list = usb.getDevices.bind(usb)
  const seen = new WeakSet<USBDevice>()
  usb.getDevices = async () => {
    const devices = [...(phone === undefined ? [] : [phone]), ...(await list())]
    for (const device of devices.filter((each) => !seen.has(each))) {
      seen.add(device)
      change(device)
    }
    return devices
  }
  const source = ccidSlots({ usb, clock: driverClock(clock) })
  return { clock, reader, bus, usb, source, list }
}

/** A phone that was permitted for another purpose, and whose open() stays pending. */
const phone = (): USBDevice & { wake(): void } => {
  let wake!: () => void
  const opening = new Promise<void>((resolve) => (wake = resolve))
  const alternates = [{ alternateSetting: 0, interfaceClass: 0xff, endpoints: [] }]
  const configuration = { configurationValue: 1, interfaces: [{ interfaceNumber: 0, alternates }] }
  const device = {
    vendorId: 0x18d1,
    productId: 0x4ee7,
    opened: false,
    configuration: null,
    configurations: [configuration],
    open: () => opening.then(() => void (device.opened = true)),
    close: async () => void (device.opened = false),
    controlTransferIn: async () => ({ status: 'stall' }),
    wake,
  }
  return device as unknown as USBDevice & { wake(): void }
}

const failing =
  (times: number, name = 'NetworkError', message = 'Unable to open device.'): Change =>
  (device) => {
    const open = device.open.bind(device)
    let left = times
    device.open = async () => {
      if (left-- > 0) throw new DOMException(message, name)
      return open()
    }
  }

const settled = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a device that does not respond', () => {
  it('because open() stays pending delays no reader, and becomes a problem after the time limit', async () => {
    const device = phone()
    const { clock, source } = put(() => {}, device)
    const slots = await inTime(clock, firstValueFrom(source.slots$))
    expect(slots.map(({ name }) => name)).toEqual(['DUALi DE-ABCM6'])
    expect(await firstValueFrom(source.problems$)).toEqual([])
    await clock.advance(10_000)
    expect(await firstValueFrom(source.problems$)).toMatchObject([
      { vendorId: 0x18d1, error: { code: 'reader/timeout' } },
    ])
    await inTime(clock, source.close())
  })

  it('is released if it opens after the time limit', async () => {
    const device = phone()
    const { clock, source } = put(() => {}, device)
    await inTime(clock, firstValueFrom(source.slots$))
    await clock.advance(10_000)
    device.wake()
    await settled()
    expect(device.opened).toBe(false)
    await inTime(clock, source.close())
  })

  it('does not delay plug events, even if the device list never arrives', async () => {
    const { bus, reader, clock } = put()
    bus.unplug(reader)
    const usb: USB = bus.context()
    usb.getDevices = () => new Promise(() => {})
    const source = ccidSlots({ usb, clock: driverClock(clock) })
    expect(await inTime(clock, firstValueFrom(source.slots$))).toEqual([])
    bus.plug(reader)
    await settled()
    expect(await firstValueFrom(source.slots$)).toHaveLength(1)
    await clock.advance(10_000)
    expect(await firstValueFrom(source.problems$)).toMatchObject([
      { name: 'WebUSB', error: { code: 'reader/timeout' } },
    ])
    await inTime(clock, source.close())
  })
})

describe('lookAgain', () => {
  it('opens a reader whose first open() failed', async () => {
    const { source } = put(failing(1))
    expect(await firstValueFrom(source.slots$)).toEqual([])
    expect(await firstValueFrom(source.problems$)).toMatchObject([{ error: { code: 'reader/transfer' } }])
    await source.lookAgain()
    expect(await firstValueFrom(source.slots$)).toHaveLength(1)
    expect(await firstValueFrom(source.problems$)).toEqual([])
    await source.close()
  })

  it('leaves a reader to another source that has it, while the chooser requests it', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
    reader.insert(createEchoCard())
    const bus = new VirtualBus()
    bus.plug(reader)
    const usb: USB = bus.context({ choose: (devices) => devices[0] })
    const [first, second] = [ccidSlots({ usb }), ccidSlots({ usb })]
    await firstValueFrom(first.slots$)
    const [slot] = await firstValueFrom(second.slots$)
    const presence = (): Promise<Presence | undefined> =>
      firstValueFrom((slot as CardSlot).presence$, { defaultValue: undefined })
    expect(await presence()).toEqual({ inUse: 'page' })
    await first.close()
    const asked = reader.counters.messages.get('GetSlotStatus')
    await second.lookAgain()
    expect(await presence()).toEqual({ inUse: 'page' })
    expect(reader.counters.messages.get('GetSlotStatus')).toBe(asked)
    expect(await second.requestReader()).toEqual([slot])
    expect(await presence()).toBe('present')
    await second.close()
  })

  it('reports the problem of a vendor-class reader that still cannot be opened', async () => {
    const { source } = put(failing(9, 'SecurityError', 'Access denied.'))
    await source.lookAgain()
    expect(await firstValueFrom(source.slots$)).toEqual([])
    expect(await firstValueFrom(source.problems$)).toMatchObject([
      { name: 'DUALi DE-ABCM6', error: { code: 'reader/not-granted' } },
    ])
    await source.close()
  })

  it('finds a device whose plug event was lost', async () => {
    const { source, usb, bus, reader } = put()
    await firstValueFrom(source.slots$)
    usb.dispatchEvent = () => true
    bus.unplug(reader)
    const other = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'B' })
    bus.plug(other)
    await settled()
    // The removal of the first reader shows only in its transfers.
    expect(await firstValueFrom(source.slots$)).toEqual([])
    await source.lookAgain()
    const slots = await firstValueFrom(source.slots$)
    expect(slots.map(({ id }) => id)).toEqual(['1db2:0600:B/0.0'])
    await source.close()
  })

  it('reads the presence of a card in a reader whose idle transfer failed', async () => {
    const { source, bus, reader, clock } = put()
    const [slot] = await firstValueFrom(source.slots$)
    const seen: Presence[] = []
    await settled()
    slot?.presence$.subscribe((presence) => seen.push(presence))
    bus.suspend(reader)
    await settled()
    await inTime(clock, source.lookAgain())
    expect(seen).toEqual(['present'])
    await expect(
      inTime(clock, slot?.connect() ?? Promise.reject(new Error('no slot'))),
    ).resolves.toBeDefined()
    await inTime(clock, source.close())
  })

  it('does nothing on a closed source, or without access to readers', async () => {
    const { source } = put()
    await firstValueFrom(source.slots$)
    await source.close()
    await source.lookAgain()
    const none = ccidSlots()
    expect([none.support, await firstValueFrom(none.slots$)]).toEqual(['no-api', []])
    await none.lookAgain()
    await expect(none.requestReader()).rejects.toMatchObject({ code: 'reader/unreachable', why: 'no-api' })
    await none.close()
  })
})

describe('a page that may not use USB', () => {
  const forbidden = (): USB => {
    const usb: USB = new VirtualBus().context()
    const refuse = (): Promise<never> => {
      const message = 'Access to the feature "usb" is disallowed by permissions policy.'
      return Promise.reject(new DOMException(message, 'SecurityError'))
    }
    usb.getDevices = refuse
    usb.requestDevice = refuse
    return usb
  }

  it('has no slots, and reports the reason in support and in the chooser’s error', async () => {
    const source = ccidSlots({ usb: forbidden() })
    expect(await firstValueFrom(source.slots$)).toEqual([])
    expect(source.support).toBe('policy')
    await expect(source.requestReader()).rejects.toMatchObject({ code: 'reader/unreachable', why: 'policy' })
    await source.close()
  })

  it('is distinguished from a chooser call without a user gesture', async () => {
    const { source, usb } = put()
    usb.requestDevice = () =>
      Promise.reject(new DOMException('Must be handling a user gesture.', 'SecurityError'))
    await expect(source.requestReader()).rejects.toMatchObject({ code: 'reader/not-granted' })
    expect(source.support).toBe('available')
    await source.close()
  })
})

describe('a source that its page closes', () => {
  it('completes its slots without "unreadable", and later calls reject with reader/closed', async () => {
    const { source } = put()
    const [slot] = await firstValueFrom(source.slots$)
    const seen: unknown[] = []
    slot?.presence$.subscribe({
      next: (presence) => seen.push(presence),
      complete: () => seen.push('complete'),
    })
    await settled()
    await source.close()
    expect(seen).toEqual(['present', 'complete'])
    await expect(slot?.connect()).rejects.toMatchObject({ code: 'reader/closed' })
    await expect(source.requestReader()).rejects.toMatchObject({ code: 'reader/closed' })
  })
})
