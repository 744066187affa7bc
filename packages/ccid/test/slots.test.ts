import type { CardSlot, Presence } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

describe('the list of readers', () => {
  it('follows plugging and unplugging', async () => {
    const { source, bus, reader, slot } = setUp()
    const lists: string[][] = []
    source.slots$.subscribe((slots) => lists.push(slots.map(({ name }) => name)))
    const cardSlot = await slot()
    let isComplete = false
    cardSlot.presence$.subscribe({ complete: () => void (isComplete = true) })
    bus.unplug(reader)
    await settled()
    expect(isComplete).toBe(true)
    bus.plug(reader)
    await settled()
    expect(lists).toEqual([['DUALi DE-ABCM6'], [], ['DUALi DE-ABCM6']])
    await source.close()
  })

  it('loses a reader whose permission is revoked, and has it again after a new permission', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'A' })
    reader.insert(createEchoCard())
    const bus = new VirtualBus()
    bus.plug(reader)
    const usb = bus.context({ choose: (devices) => devices[0] })
    const source = ccidSlots({ usb })
    const [cardSlot] = await firstValueFrom(source.slots$)
    const connection = await cardSlot?.connect()
    const [device] = await usb.getDevices()
    await device?.forget()
    expect((await connection?.gone)?.why).toBe('reader-gone')
    await settled()
    expect(await firstValueFrom(source.slots$)).toEqual([])
    const [again] = (await source.requestReader()) ?? []
    const echo = Uint8Array.of(0, 0x10, 0, 0, 1, 9, 0)
    const secondConnection = await again?.connect()
    expect(await secondConnection?.transaction({}, (channel) => channel.transmit(echo))).toEqual(
      Uint8Array.of(9, 0x90, 0),
    )
    await source.close()
  })

  it('numbers identical readers, and keeps the name of a reader that returns', async () => {
    const bus = new VirtualBus()
    const [first, second] = ['A', 'B'].map(
      (serialNumber) => new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber }),
    ) as [VirtualCcidReader, VirtualCcidReader]
    bus.plug(first)
    bus.plug(second)
    const source = ccidSlots({ usb: bus.context() })
    const names = async (): Promise<string[]> =>
      (await firstValueFrom(source.slots$)).map(({ id, name }) => `${name} ${id}`)
    expect(await names()).toEqual(['DUALi DE-ABCM6 1db2:0600:A/0.0', 'DUALi DE-ABCM6 2 1db2:0600:B/0.0'])
    bus.unplug(first)
    bus.plug(first)
    await settled()
    expect((await names()).sort()).toEqual([
      'DUALi DE-ABCM6 1db2:0600:A/0.0',
      'DUALi DE-ABCM6 2 1db2:0600:B/0.0',
    ])
    await source.close()
  })

  it('finds the class descriptor after the last endpoint', async () => {
    const profile = { ...readerProfiles.dualiAbcm6, descriptorPlace: 'after-endpoints' } as const
    const { source, slot } = setUp({ profile, card: createEchoCard() })
    expect((await slot()).name).toBe('DUALi DE-ABCM6')
    await source.close()
  })

  it('states why a reader of the protected class is not available to an ordinary page', async () => {
    const { source, usb } = setUp({ profile: readerProfiles.yubikey4, protectedClasses: true })
    expect(await firstValueFrom(source.slots$)).toEqual([])
    const [problem] = await firstValueFrom(source.problems$)
    expect(problem).toMatchObject({
      name: 'Yubico YubiKey CCID',
      vendorId: 0x1050,
      error: { code: 'reader/protected-class' },
    })
    await expect(source.requestReader()).rejects.toMatchObject({ code: 'reader/protected-class' })
    const [device] = await usb.getDevices()
    expect(device?.opened).toBe(false)
    await source.close()
  })

  it.each([0, 10, 14])(
    'refuses a reader whose messages of %i bytes are too short for a command',
    async (size) => {
      const { ccidDescriptor } = readerProfiles.dualiAbcm6
      const lengthHex = size.toString(16).padStart(2, '0').padEnd(8, '0')
      const profile = {
        ...readerProfiles.dualiAbcm6,
        ccidDescriptor: `${ccidDescriptor.slice(0, 88)}${lengthHex}${ccidDescriptor.slice(96)}`,
      }
      const { source } = setUp({ profile, card: createEchoCard() })
      expect(await firstValueFrom(source.slots$)).toEqual([])
      const [problem] = await firstValueFrom(source.problems$)
      expect(problem?.error).toMatchObject({
        code: 'reader/not-supported',
        message: expect.stringContaining('too short'),
      })
      await source.close()
    },
  )

  it('shows a reader that another program has, and opens it when it is free', async () => {
    const bus = new VirtualBus()
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
    reader.insert(createEchoCard())
    bus.plug(reader)
    const giveBack = bus.occupy(reader, 0)
    const source = ccidSlots({ usb: bus.context() })
    const [slot] = (await firstValueFrom(source.slots$)) as [CardSlot]
    expect(await firstValueFrom(slot.presence$)).toEqual({ inUse: 'unknown' })
    await expect(slot.connect()).rejects.toMatchObject({ code: 'reader/in-use' })
    giveBack()
    const connection = await slot.connect()
    expect(await firstValueFrom(slot.presence$)).toBe('present')
    await connection.close()
    await source.close()
  })

  it('states that the system does not let the browser open the reader', async () => {
    const { source } = setUp({ profile: readerProfiles.nitrokey3, denyOpen: true })
    expect(await firstValueFrom(source.slots$)).toEqual([])
    const [problem] = await firstValueFrom(source.problems$)
    expect(problem?.error.code).toBe('reader/not-granted')
    await source.close()
  })

  it('shows the reader that the person chose, and none if they chose none', async () => {
    const chosen = setUp({ granted: 'none' })
    expect(await firstValueFrom(chosen.source.slots$)).toEqual([])
    const slots = await chosen.source.requestReader()
    expect(slots?.map(({ name }) => name)).toEqual(['DUALi DE-ABCM6'])
    expect(await firstValueFrom(chosen.source.slots$)).toEqual(slots)
    await chosen.source.close()

    const none = setUp({ granted: 'none', choose: () => undefined })
    expect(await none.source.requestReader()).toBeUndefined()
    await none.source.close()
  })

  it('releases everything on close', async () => {
    const { source, usb, slot } = setUp({ card: createEchoCard() })
    await (await slot()).connect()
    await source.close()
    const [device] = await usb.getDevices()
    expect(device?.opened).toBe(false)
    const again = ccidSlots({ usb })
    expect(await firstValueFrom(again.slots$)).toHaveLength(1)
    await again.close()
  })
})

describe('presence', () => {
  it('is read from the interrupt endpoint without a message to the reader', async () => {
    const { source, slot, reader, clock } = setUp()
    const seen: Presence[] = []
    const cardSlot = await slot()
    cardSlot.presence$.subscribe((presence) => seen.push(presence))
    await settled()
    const before = reader.counters.messages.get('GetSlotStatus') ?? 0
    reader.insert(createEchoCard())
    await settled()
    reader.remove()
    await settled()
    await clock.advance(10_000)
    expect(seen).toEqual(['empty', 'present', 'empty'])
    expect(reader.counters.messages.get('GetSlotStatus')).toBe(before)
    await source.close()
  })

  it('is polled without an interrupt endpoint, but never during a command', async () => {
    const { source, slot, reader, clock } = setUp({
      profile: readerProfiles.nitrokey3,
      card: createEchoCard(),
    })
    const cardSlot = await slot()
    const statusRequests = (): number => reader.counters.messages.get('GetSlotStatus') ?? 0
    await clock.advance(5000)
    const idle = statusRequests()
    expect(idle).toBeGreaterThanOrEqual(10)
    const connection = await cardSlot.connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 20_000 })
    const work = connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0)),
    )
    const before = statusRequests()
    await clock.advance(19_000)
    expect(statusRequests()).toBe(before)
    expect(await inTime(clock, work)).toEqual(Uint8Array.of(7, 0x90, 0))
    await source.close()
  })

  it('replays the latest value to late subscribers', async () => {
    const { source, slot } = setUp({ card: createEchoCard() })
    const cardSlot = await slot()
    await settled()
    expect(await firstValueFrom(cardSlot.presence$)).toBe('present')
    await source.close()
  })
})

/** Waits for everything that does not depend on the clock. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
