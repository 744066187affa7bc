/**
 * Several slots of one interface, and several interfaces of one device, at the same time, each with its own
 * responses.
 */
import type { CardConnection, CardSlot } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import {
  compositeProfiles,
  createEchoCard,
  EchoCard,
  HandClock,
  type InResult,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  VirtualCompositeReader,
} from '@webtoki/simulator'
import fc from 'fast-check'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { driverClock, inTime } from './set-up.ts'

/** A reader that records how many of its slots had a pending response at the same time. */
class WatchedReader extends VirtualCcidReader {
  mostAtOnce = 0
  readonly #owing = new Set<number>()

  protected override outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    this.#owing.add(bytes[5] as number)
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#owing.size)
    return super.outReceived(endpoint, bytes)
  }

  protected override inCompleted(endpoint: number, result: InResult): void {
    // bmCommandStatus 2 requests more time, so the response is still pending.
    if (endpoint === 0x81 && result.data.length >= 10 && (result.data[7] as number) >> 6 !== 2)
      this.#owing.delete(result.data[5] as number)
    super.inCompleted(endpoint, result)
  }
}

/** An echo card with delayed responses. */
class SlowCard extends EchoCard {
  delaysMs: number[] = []
  readonly #clock: HandClock

  constructor(clock: HandClock) {
    super()
    this.#clock = clock
  }

  override async process(apdu: Uint8Array): Promise<Uint8Array> {
    const delayMs = this.delaysMs.shift() ?? 0
    if (delayMs > 0) await new Promise<void>((resolve) => void this.#clock.after(delayMs, resolve))
    return super.process(apdu)
  }
}

const echo = (connection: CardConnection, data: readonly number[]): Promise<number[]> =>
  connection.transaction({}, async (channel) => [
    ...(await channel.transmit(Uint8Array.of(0, 0x10, 0, 0, data.length, ...data, 0))),
  ])

/** T=1 if the reader leaves the choice to the host. */
const connect = (slot: CardSlot): Promise<CardConnection> =>
  slot.connect({ protocol: 'T=1' }).catch((error: { code?: string }) => {
    if (error.code !== 'card/not-supported') throw error as Error
    return slot.connect()
  })

async function twoSlots(profile: ReaderProfile) {
  const clock = new HandClock()
  const reader = new WatchedReader(profile, { clock })
  const cards = [new SlowCard(clock), new SlowCard(clock)] as const
  for (const [slot, card] of cards.entries()) reader.insert(card, slot)
  const bus = new VirtualBus()
  bus.plug(reader)
  const source = ccidSlots({ usb: bus.context({ protectedClasses: false }), clock: driverClock(clock) })
  const slots = (await firstValueFrom(source.slots$)) as [CardSlot, CardSlot]
  const connections: CardConnection[] = []
  for (const slot of slots) connections.push(await connect(slot))
  return { clock, reader, cards, source, slots, connections: connections as [CardConnection, CardConnection] }
}

const exchange = fc.record({
  slot: fc.integer({ min: 0, max: 1 }),
  data: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 40 }),
  delayMs: fc.constantFrom(0, 0, 10, 700),
  extension: fc.constantFrom(undefined, undefined, { frames: 1, delayMs: 100 }, { frames: 4, delayMs: 300 }),
})

describe.each([
  { name: 'springCardE518', atOnce: 2 },
  { name: 'sdi011', atOnce: 1 },
] as const)('two slots of one interface ($name)', ({ name, atOnce }) => {
  it('keep their responses apart in any order, and never exceed the number of busy slots', async () => {
    let most = 0
    await fc.assert(
      fc.asyncProperty(fc.array(exchange, { minLength: 2, maxLength: 12 }), async (exchanges) => {
        const { clock, reader, cards, source, connections } = await twoSlots(readerProfiles[name])
        for (const { slot, delayMs } of exchanges) cards[slot as 0 | 1].delaysMs.push(delayMs)
        const work = exchanges.map(({ slot, data, extension }) => {
          if (extension !== undefined)
            reader.faults.schedule({ kind: 'time-extension', ends: 'once', ...extension })
          return echo(connections[slot as 0 | 1], data)
        })
        const responses = await inTime(clock, Promise.all(work))
        expect(responses).toEqual(exchanges.map(({ data }) => [...data, 0x90, 0]))
        most = Math.max(most, reader.mostAtOnce)
        await source.close()
      }),
      { numRuns: 60 },
    )
    expect(most).toBe(atOnce)
  })

  it('lose only the connection whose card is removed', async () => {
    const { clock, reader, source, slots, connections } = await twoSlots(readerProfiles[name])
    reader.remove(0)
    expect((await connections[0].gone).why).toBe('removed')
    expect(await inTime(clock, echo(connections[1], [1, 2]))).toEqual([1, 2, 0x90, 0])
    expect(await Promise.all(slots.map(({ presence$ }) => firstValueFrom(presence$)))).toEqual([
      'empty',
      'present',
    ])
    await source.close()
  })

  it('continue one by one if the card in the other hangs and is aborted', async () => {
    const { clock, reader, cards, source, slots, connections } = await twoSlots(readerProfiles[name])
    cards[0].delaysMs.push(1_000_000)
    const hanging = connections[0].transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0), { timeoutMs: 1000 }),
    )
    hanging.catch(() => {})
    const other = echo(connections[1], [3, 4])
    await inTime(
      clock,
      hanging.catch(() => {}),
    )
    await expect(hanging).rejects.toMatchObject({ code: expect.stringMatching(/^(reader|card)\//) })
    expect(await inTime(clock, other)).toEqual([3, 4, 0x90, 0])
    expect(await inTime(clock, echo(connections[1], [5]))).toEqual([5, 0x90, 0])
    await connections[0].close()
    const again = await inTime(clock, connect(slots[0]))
    expect(await inTime(clock, echo(again, [6]))).toEqual([6, 0x90, 0])
    expect(reader.counters.messages.get('Abort')).toBe(1)
    await source.close()
  })
})

it('two cards that hang at the same time are both aborted, and both slots work again', async () => {
  const { clock, reader, cards, source, slots, connections } = await twoSlots(readerProfiles.springCardE518)
  for (const card of cards) card.delaysMs.push(1_000_000)
  const hanging = connections.map((connection) =>
    connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0), { timeoutMs: 1000 }),
    ),
  )
  const outcomes = await inTime(clock, Promise.allSettled(hanging))
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  for (const connection of connections) await inTime(clock, connection.close())
  for (const [at, slot] of slots.entries()) {
    const again = await inTime(clock, connect(slot))
    expect(await inTime(clock, echo(again, [at]))).toEqual([at, 0x90, 0])
  }
  expect(reader.counters.messages.get('Abort')).toBe(2)
  await source.close()
})

/** A reader that delays its response to ABORT. */
class SlowToAbort extends VirtualCcidReader {
  readonly #clock: HandClock

  constructor(profile: ReaderProfile, clock: HandClock) {
    super(profile, { clock })
    this.#clock = clock
  }

  protected override outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (bytes[0] !== 0x72) return super.outReceived(endpoint, bytes)
    const message = bytes.slice()
    this.#clock.after(500, () => void super.outReceived(endpoint, message))
    return 'ok'
  }
}

it('a slot that times out during the abort of another one is aborted too, and its card is not used', async () => {
  const clock = new HandClock()
  const reader = new SlowToAbort(readerProfiles.springCardE518, clock)
  for (const slot of [0, 1]) reader.insert(createEchoCard(), slot)
  const bus = new VirtualBus()
  bus.plug(reader)
  const source = ccidSlots({ usb: bus.context({ protectedClasses: false }), clock: driverClock(clock) })
  const slots = await firstValueFrom(source.slots$)
  const connections: CardConnection[] = []
  for (const slot of slots) connections.push(await connect(slot))
  reader.faults.schedule({ kind: 'silent-reader', ends: 'twice' })
  const outcomes = await inTime(clock, Promise.allSettled(connections.map((each) => echo(each, [1]))))
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  const ends = await inTime(clock, Promise.all(connections.map(({ gone }) => gone)))
  expect(ends.map(({ why }) => why)).toEqual(['reset', 'reset'])
  for (const [at, slot] of slots.entries()) {
    const again = await inTime(clock, connect(slot))
    expect(await inTime(clock, echo(again, [at]))).toEqual([at, 0x90, 0])
  }
  expect(reader.counters.messages.get('Abort')).toBe(2)
  await source.close()
})

describe('two interfaces of one device', () => {
  async function composite() {
    const clock = new HandClock()
    const device = new VirtualCompositeReader(compositeProfiles.identivUtrust4701, { clock })
    for (const reader of device.readers) reader.insert(createEchoCard())
    const bus = new VirtualBus()
    bus.plug(device)
    const usb = bus.context({ protectedClasses: false })
    const source = ccidSlots({ usb, clock: driverClock(clock) })
    const slots = (await firstValueFrom(source.slots$)) as [CardSlot, CardSlot]
    const connections = [await connect(slots[0]), await connect(slots[1])] as const
    return { clock, device, bus, usb, source, slots, connections }
  }

  it('work at the same time', async () => {
    const { clock, device, source, connections } = await composite()
    device.reader(0).faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 5000 })
    let isOver = false
    const slow = echo(connections[0], [1]).finally(() => {
      isOver = true
    })
    expect(await echo(connections[1], [2])).toEqual([2, 0x90, 0])
    expect(isOver).toBe(false)
    expect(await inTime(clock, slow)).toEqual([1, 0x90, 0])
    await source.close()
  })

  it('keep the other’s card when one is opened again', async () => {
    const { clock, device, source, slots, connections } = await composite()
    const owner = {}
    await connections[1].transaction(owner, async () => {})
    // Three stalls exceed the limit, so the interface is claimed again.
    for (const ends of ['once', 'twice'] as const)
      device.reader(0).faults.schedule({ kind: 'stall-out', ends }, { on: 'any' })
    const lost = echo(connections[0], [1])
    await inTime(
      clock,
      lost.catch(() => {}),
    )
    await expect(lost).rejects.toMatchObject({ code: 'reader/transfer' })
    expect(await connections[1].transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(true)
    expect(await echo(connections[1], [2])).toEqual([2, 0x90, 0])
    const again = await inTime(clock, connect(slots[0]))
    expect(await inTime(clock, echo(again, [3]))).toEqual([3, 0x90, 0])
    await source.close()
  })

  it('are not reset for one of them, which works again after replugging', async () => {
    const { clock, device, bus, usb, source, slots, connections } = await composite()
    device.reader(0).faults.schedule({ kind: 'stall-out', ends: 'until-reset' }, { on: 'any' })
    const lost = echo(connections[0], [1])
    await inTime(
      clock,
      lost.catch(() => {}),
    )
    await expect(lost).rejects.toMatchObject({ code: 'reader/transfer' })
    const attempt = connect(slots[0])
    await inTime(
      clock,
      attempt.catch(() => {}),
    )
    await expect(attempt).rejects.toMatchObject({ code: expect.stringMatching(/^reader\//) })
    expect(await echo(connections[1], [2])).toEqual([2, 0x90, 0])
    await inTime(clock, source.close())
    bus.unplug(device)
    bus.plug(device)
    const nextSource = ccidSlots({ usb, clock: driverClock(clock) })
    const [healed] = await firstValueFrom(nextSource.slots$)
    const again = await inTime(clock, connect(healed as CardSlot))
    expect(await inTime(clock, echo(again, [3]))).toEqual([3, 0x90, 0])
    await nextSource.close()
  })

  it('leave together when the device is unplugged, and both return', async () => {
    const { device, bus, source, connections } = await composite()
    bus.unplug(device)
    expect(await Promise.all(connections.map(async ({ gone }) => (await gone).why))).toEqual([
      'reader-gone',
      'reader-gone',
    ])
    bus.plug(device)
    let slots: readonly CardSlot[] = []
    while (slots.length < 2) {
      await new Promise((resolve) => setImmediate(resolve))
      slots = await firstValueFrom(source.slots$)
    }
    for (const slot of slots) {
      const connection = await connect(slot)
      expect(await echo(connection, [9])).toEqual([9, 0x90, 0])
    }
    await source.close()
  })
})
