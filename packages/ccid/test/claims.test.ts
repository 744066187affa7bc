/**
 * Claims as a browser grants them: each takes a task of the event loop, and a claim during another one is refused.
 */
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  HandClock,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  type VirtualUsb,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { driverClock, inTime } from './set-up.ts'

type Change = (interfaceNumber: number) => Promise<void>

/** Chromium's "interface state change in progress", which lasts as long as its other process needs. */
async function slowClaims(usb: VirtualUsb): Promise<{ readonly claiming: Promise<void> }> {
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('No device is plugged in.')
  let isChanging = false
  const slow =
    (change: Change): Change =>
    async (interfaceNumber) => {
      if (isChanging)
        throw new DOMException(
          'An operation that changes interface state is in progress.',
          'InvalidStateError',
        )
      isChanging = true
      try {
        await new Promise((resolve) => setImmediate(resolve))
        await change(interfaceNumber)
      } finally {
        isChanging = false
      }
    }
  const claim = slow(device.claimInterface.bind(device))
  device.releaseInterface = slow(device.releaseInterface.bind(device))
  const claiming = new Promise<void>((begins) => {
    device.claimInterface = (interfaceNumber) => {
      begins()
      return claim(interfaceNumber)
    }
  })
  return { claiming }
}

async function slowStand() {
  const clock = new HandClock()
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { clock })
  reader.insert(createEchoCard())
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context()
  const { claiming } = await slowClaims(usb)
  return { clock, reader, bus, usb, claiming, open: () => ccidSlots({ usb, clock: driverClock(clock) }) }
}

describe('a reader', () => {
  it('whose transfers failed is opened again only after the old claim was released', async () => {
    const { clock, reader, bus, open } = await slowStand()
    const source = open()
    const [slot] = await firstValueFrom(source.slots$)
    const connection = await inTime(clock, slot?.connect() ?? Promise.reject(new Error('no slot')))
    bus.suspend(reader)
    expect((await connection.gone).why).toBe('removed')
    const again = await inTime(clock, slot?.connect() ?? Promise.reject(new Error('no slot')))
    await inTime(clock, again.close())
    await source.close()
  })

  it('that a person chooses while it is being opened is opened once and works', async () => {
    const { clock, usb, claiming, open } = await slowStand()
    const choose = usb.requestDevice.bind(usb)
    usb.requestDevice = async (options) => {
      await claiming
      return choose(options)
    }
    const source = open()
    const slots = await inTime(clock, source.requestReader())
    expect(slots?.map(({ name }) => name)).toEqual(['DUALi DE-ABCM6'])
    expect(await firstValueFrom(source.slots$)).toEqual(slots)
    await source.close()
  })

  it('without a serial number is used by one source of a page; the other reports it as in use', async () => {
    const clock = new HandClock()
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { clock, serialNumber: null })
    const card = createEchoCard()
    reader.insert(card)
    const usb = virtualUsb([reader])
    const sources = [
      ccidSlots({ usb, clock: driverClock(clock) }),
      ccidSlots({ usb, clock: driverClock(clock) }),
    ]
    const slots = await Promise.all(sources.map(async ({ slots$ }) => (await firstValueFrom(slots$))[0]))
    const outcomes = await Promise.allSettled(slots.map(async (slot) => slot?.connect()))
    const refused = outcomes.findIndex(({ status }) => status === 'rejected')
    expect(outcomes[refused]).toMatchObject({
      reason: { code: 'reader/in-use', by: 'page', message: expect.stringContaining('this page') },
    })
    await sources[1 - refused]?.close()
    const again = await slots[refused]?.connect()
    const command = Uint8Array.of(0, 0x10, 0, 0, 2, 7, 8, 0)
    const response = await again?.transaction({}, (channel) => channel.transmit(command))
    expect([...(response ?? [])]).toEqual([7, 8, 0x90, 0])
    await sources[refused]?.close()
  })

  it('or any vendor-class device that other code of the page has open stays open after inspection', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
    const usb = virtualUsb([reader])
    const [device] = await usb.getDevices()
    await device?.open()
    const source = ccidSlots({ usb })
    await firstValueFrom(source.slots$)
    await source.close()
    expect(device?.opened).toBe(true)
  })
})
