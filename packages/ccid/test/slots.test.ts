import type { CardSlot, Presence } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { inTime, stand } from './stand.ts'

describe('the list of readers', () => {
  it('follows plugging and unplugging', async () => {
    const { source, bus, reader, slot } = stand()
    const lists: string[][] = []
    source.slots$.subscribe((slots) => lists.push(slots.map(({ name }) => name)))
    const place = await slot()
    let isComplete = false
    place.presence$.subscribe({ complete: () => void (isComplete = true) })
    bus.unplug(reader)
    await settled()
    expect(isComplete).toBe(true)
    bus.plug(reader)
    await settled()
    expect(lists).toEqual([['DUALi DE-ABCM6'], [], ['DUALi DE-ABCM6']])
    await source.close()
  })

  it('loses a reader whose permission is taken back, of which the browser tells no event; permitted again, it works', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'A' })
    reader.insert(createEchoCard())
    const bus = new VirtualBus()
    bus.plug(reader)
    const usb = bus.context({ choose: (devices) => devices[0] })
    const source = ccidSlots({ usb })
    const [place] = await firstValueFrom(source.slots$)
    const connection = await place?.connect()
    const [device] = await usb.getDevices()
    await device?.forget()
    expect((await connection?.gone)?.why).toBe('reader-gone')
    await settled()
    expect(await firstValueFrom(source.slots$)).toEqual([])
    const [again] = (await source.requestReader()) ?? []
    const echo = Uint8Array.of(0, 0x10, 0, 0, 1, 9, 0)
    const anew = await again?.connect()
    expect(await anew?.transaction({}, (channel) => channel.transmit(echo))).toEqual(
      Uint8Array.of(9, 0x90, 0),
    )
    await source.close()
  })

  it('numbers equal readers, and calls a reader the same when it comes back', async () => {
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

  it('finds the class descriptor behind the last endpoint', async () => {
    const profile = { ...readerProfiles.dualiAbcm6, descriptorPlace: 'behind-endpoints' } as const
    const { source, slot } = stand({ profile, card: createEchoCard() })
    expect((await slot()).name).toBe('DUALi DE-ABCM6')
    await source.close()
  })

  it('tells why a reader of the protected class cannot be used in an ordinary page', async () => {
    const { source, usb } = stand({ profile: readerProfiles.yubikey4, protectedClasses: true })
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
    'refuses a reader whose messages of %i bytes have no room for a command',
    async (size) => {
      const { ccidDescriptor } = readerProfiles.dualiAbcm6
      const lengthHex = size.toString(16).padStart(2, '0').padEnd(8, '0')
      const profile = {
        ...readerProfiles.dualiAbcm6,
        ccidDescriptor: `${ccidDescriptor.slice(0, 88)}${lengthHex}${ccidDescriptor.slice(96)}`,
      }
      const { source } = stand({ profile, card: createEchoCard() })
      expect(await firstValueFrom(source.slots$)).toEqual([])
      const [problem] = await firstValueFrom(source.problems$)
      expect(problem?.error).toMatchObject({
        code: 'reader/not-supported',
        message: expect.stringContaining('too short'),
      })
      await source.close()
    },
  )

  it('shows a reader that another program holds, and takes it when it is free', async () => {
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

  it('says that the system does not let the browser open the reader', async () => {
    const { source } = stand({ profile: readerProfiles.nitrokey3, denyOpen: true })
    expect(await firstValueFrom(source.slots$)).toEqual([])
    const [problem] = await firstValueFrom(source.problems$)
    expect(problem?.error.code).toBe('reader/not-granted')
    await source.close()
  })

  it('shows the reader that the person chose, and nothing where they chose none', async () => {
    const chosen = stand({ granted: 'none' })
    expect(await firstValueFrom(chosen.source.slots$)).toEqual([])
    const slots = await chosen.source.requestReader()
    expect(slots?.map(({ name }) => name)).toEqual(['DUALi DE-ABCM6'])
    expect(await firstValueFrom(chosen.source.slots$)).toEqual(slots)
    await chosen.source.close()

    const none = stand({ granted: 'none', choose: () => undefined })
    expect(await none.source.requestReader()).toBeUndefined()
    await none.source.close()
  })

  it('gives everything back on close', async () => {
    const { source, usb, slot } = stand({ card: createEchoCard() })
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
  it('is told by the interrupt endpoint without a message to the reader', async () => {
    const { source, slot, reader, clock } = stand()
    const seen: Presence[] = []
    const place = await slot()
    place.presence$.subscribe((presence) => seen.push(presence))
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

  it('is asked for where the reader has no interrupt endpoint, but never while the card works', async () => {
    const { source, slot, reader, clock } = stand({
      profile: readerProfiles.nitrokey3,
      card: createEchoCard(),
    })
    const place = await slot()
    const asked = (): number => reader.counters.messages.get('GetSlotStatus') ?? 0
    await clock.advance(5000)
    const idle = asked()
    expect(idle).toBeGreaterThanOrEqual(10)
    const connection = await place.connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 20_000 })
    const work = connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0)),
    )
    const before = asked()
    await clock.advance(19_000)
    expect(asked()).toBe(before)
    expect(await inTime(clock, work)).toEqual(Uint8Array.of(7, 0x90, 0))
    await source.close()
  })

  it('replays the latest to whoever comes late', async () => {
    const { source, slot } = stand({ card: createEchoCard() })
    const place = await slot()
    await settled()
    expect(await firstValueFrom(place.presence$)).toBe('present')
    await source.close()
  })
})

/** Long enough for everything that no clock delays. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
