/** Two tabs of one site and one reader: who does not need it gives it to the tab that asks, who is at work keeps it. */
import type { CardChannel, CardConnection, CardSlot, Presence } from '@webtoki/apdu'
import { type CcidSlotSource, ccidSlots } from '@webtoki/ccid'
import {
  compositeProfiles,
  createEchoCard,
  HandClock,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
  VirtualCompositeReader,
} from '@webtoki/simulator'
import { filter, firstValueFrom, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { SiteChannel, SiteLocks } from './site.ts'
import { driverClock } from './stand.ts'

const SERIAL = 'SERIAL-4711'
const echo = (channel: CardChannel) => channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0))
const echoed = Uint8Array.of(7, 0x90, 0)

interface Tab {
  readonly source: CcidSlotSource
  readonly slot: CardSlot
  readonly turnTo: () => void
  readonly shows: (wanted: Presence) => Promise<Presence>
  readonly now: () => Promise<Presence>
}

/** One reader with a card, and a site whose tabs are opened one by one. */
class Site {
  readonly clock = new HandClock()
  readonly reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, {
    serialNumber: SERIAL,
    clock: this.clock,
  })
  readonly bus = new VirtualBus()
  readonly locks = new SiteLocks()
  readonly channel = new SiteChannel()
  readonly #tabs: Tab[] = []

  constructor() {
    this.reader.insert(createEchoCard())
    this.bus.plug(this.reader)
  }

  /** The clock goes on while the tab looks at the reader, as long as a tab that is asked may take. */
  async open(): Promise<Tab> {
    const turned = new Subject<void>()
    const source = ccidSlots({
      usb: this.bus.context(),
      clock: driverClock(this.clock),
      locks: this.locks,
      channel: this.channel.tab(),
      turnedTo$: turned,
    })
    const [slot] = await firstValueFrom(source.slots$)
    if (slot === undefined) throw new Error('The tab sees no slot.')
    const same = (one: Presence, two: Presence): boolean => JSON.stringify(one) === JSON.stringify(two)
    const tab: Tab = {
      source,
      slot,
      turnTo: () => turned.next(),
      shows: (wanted) => firstValueFrom(slot.presence$.pipe(filter((presence) => same(presence, wanted)))),
      now: () => firstValueFrom(slot.presence$),
    }
    this.#tabs.push(tab)
    return tab
  }

  async close(): Promise<void> {
    for (const { source } of this.#tabs) await source.close()
  }
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('an idle reader', () => {
  it('goes to the tab that opens; the first shows who has it, and takes it back when it is free', async () => {
    const site = new Site()
    const first = await site.open()
    await first.shows('present')
    const second = await site.open()
    expect(await second.shows('present')).toBe('present')
    expect(await first.now()).toEqual({ inUse: 'tab' })
    const connection = await second.slot.connect()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    await second.source.close()
    await first.shows('present')
    const again = await first.slot.connect()
    expect(await again.transaction({}, echo)).toEqual(echoed)
    await site.close()
  })

  it('comes back by a connect, without a third word', async () => {
    const site = new Site()
    const [first, second] = [await site.open(), await site.open()]
    await first.shows({ inUse: 'tab' })
    const connection = await first.slot.connect()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    expect(await second.now()).toEqual({ inUse: 'tab' })
    expect(site.channel.said).toHaveLength(2)
    await site.close()
  })

  it('comes back when a person turns to the tab', async () => {
    const site = new Site()
    const [first, second] = [await site.open(), await site.open()]
    await first.shows({ inUse: 'tab' })
    first.turnTo()
    expect(await first.shows('present')).toBe('present')
    expect(await second.now()).toEqual({ inUse: 'tab' })
    second.turnTo()
    expect(await second.shows('present')).toBe('present')
    expect(await first.now()).toEqual({ inUse: 'tab' })
    await site.close()
  })

  it('does not wander between tabs by itself', async () => {
    const site = new Site()
    const tabs = [await site.open(), await site.open(), await site.open()]
    await tabs[2]?.shows('present')
    await settled()
    const said = site.channel.said.length
    await site.clock.advance(600_000)
    await settled()
    expect(site.channel.said).toHaveLength(said)
    expect(await Promise.all(tabs.map((tab) => tab.now()))).toEqual([
      { inUse: 'tab' },
      { inUse: 'tab' },
      'present',
    ])
    await site.close()
  })

  it('is let go by an owner who does not need its card when it is asked', async () => {
    const site = new Site()
    const first = await site.open()
    let owned: CardConnection | undefined
    owned = await first.slot.connect({ onReleaseRequested: () => void owned?.close() })
    const second = await site.open()
    expect(await second.shows('present')).toBe('present')
    expect((await owned.gone).why).toBe('closed')
    await site.close()
  })

  it('is called by no serial number in what tabs say to each other', async () => {
    const site = new Site()
    await site.open()
    await site.open()
    expect(site.channel.said.length).toBeGreaterThan(0)
    expect(JSON.stringify(site.channel.said)).not.toMatch(new RegExp(`${SERIAL}|DUALi|1db2`, 'i'))
    await site.close()
  })

  it('of one interface goes, and the other interface of the device stays', async () => {
    const bus = new VirtualBus()
    const device = new VirtualCompositeReader(compositeProfiles.identivUtrust4701)
    for (const reader of device.readers) reader.insert(createEchoCard())
    bus.plug(device)
    const [locks, channel] = [new SiteLocks(), new SiteChannel()]
    const open = async () => {
      const usb = bus.context({ protectedClasses: false })
      const source = ccidSlots({ usb, locks, channel: channel.tab() })
      return { source, slots: await firstValueFrom(source.slots$) }
    }
    const first = await open()
    const [kept] = first.slots
    const connection = await kept?.connect({ protocol: 'T=1' })
    const second = await open()
    const presences = (slots: readonly CardSlot[]) =>
      Promise.all(slots.map(({ presence$ }) => firstValueFrom(presence$)))
    await settled()
    expect(await presences(first.slots)).toEqual(['present', { inUse: 'tab' }])
    expect(await presences(second.slots)).toEqual([{ inUse: 'tab' }, 'present'])
    expect(await connection?.transaction({}, echo)).toEqual(echoed)
    await first.source.close()
    await second.source.close()
  })
})

describe('a reader at work', () => {
  it('stays where a connection is open, and its card is not touched', async () => {
    const site = new Site()
    const first = await site.open()
    const connection = await first.slot.connect()
    const owner = {}
    await connection.transaction(owner, echo)
    const powered = site.reader.counters.messages.get('IccPowerOff')
    const second = await site.open()
    expect(await second.now()).toEqual({ inUse: 'tab' })
    await expect(second.slot.connect()).rejects.toMatchObject({ code: 'reader/in-use', by: 'tab' })
    // What a PIN has unlocked is unlocked still.
    expect(await connection.transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(true)
    expect(site.reader.counters.messages.get('IccPowerOff')).toBe(powered)
    expect(await first.now()).toBe('present')
    await site.close()
  })

  it('is told as held by this page if another source of the page holds it, as long as it does', async () => {
    const site = new Site()
    const usb = site.bus.context()
    const sources = [1, 2].map(() => {
      const { clock, locks, channel } = site
      return ccidSlots({ usb, clock: driverClock(clock), locks, channel: channel.tab() })
    })
    const [first, second] = (await Promise.all(
      sources.map(async ({ slots$ }) => (await firstValueFrom(slots$))[0]),
    )) as [CardSlot, CardSlot]
    const connection = await first.connect()
    await expect(second.connect()).rejects.toMatchObject({ code: 'reader/in-use', by: 'page' })
    expect(await firstValueFrom(second.presence$)).toEqual({ inUse: 'page' })
    await connection.close()
    await (await second.connect()).close()
    // The idle reader has gone from the first source to the second.
    expect(await firstValueFrom(first.presence$)).toEqual({ inUse: 'page' })
    for (const source of sources) await source.close()
  })

  it('stays while its card works, though its owner would let go', async () => {
    const site = new Site()
    const first = await site.open()
    let owned: CardConnection | undefined
    owned = await first.slot.connect({ onReleaseRequested: () => void owned?.close() })
    site.reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 10_000 })
    const work = owned.transaction({}, echo)
    const second = await site.open()
    expect(await second.now()).toEqual({ inUse: 'tab' })
    await site.clock.advance(10_000)
    expect(await work).toEqual(echoed)
    await site.close()
  })

  it('goes when the work is over and the tab is asked again', async () => {
    const site = new Site()
    const first = await site.open()
    const connection = await first.slot.connect()
    const second = await site.open()
    await second.shows({ inUse: 'tab' })
    await connection.close()
    second.turnTo()
    expect(await second.shows('present')).toBe('present')
    expect(await first.now()).toEqual({ inUse: 'tab' })
    await site.close()
  })
})

describe('what others say on the channel', () => {
  it.each([
    null,
    undefined,
    7,
    'reader wanted',
    [],
    {},
    { webtoki: 'reader wanted' },
    { webtoki: 'reader wanted', reader: 'all' },
    { webtoki: 'reader wanted', reader: Number.NaN },
    { webtoki: 'reader wanted', reader: -1 },
    { webtoki: 'format the disk', reader: 1 },
    { webtoki: { toString: 'reader wanted' }, reader: 1 },
  ])('is passed over where it is no message of ours: %j', async (message) => {
    const site = new Site()
    const first = await site.open()
    await first.shows('present')
    const seen: Presence[] = []
    first.slot.presence$.subscribe((presence) => seen.push(presence))
    site.channel.tab().postMessage(message)
    await settled()
    expect(seen).toEqual(['present'])
    await site.close()
  })

  it('asks in vain where nobody waits: the reader is back at once', async () => {
    const site = new Site()
    const first = await site.open()
    await first.shows('present')
    const second = await site.open()
    await second.source.close()
    await first.shows('present')
    const [wanted] = site.channel.said
    for (let times = 0; times < 50; times++) site.channel.tab().postMessage(wanted)
    await settled()
    expect(await first.shows('present')).toBe('present')
    const connection = await first.slot.connect()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    for (let times = 0; times < 50; times++) site.channel.tab().postMessage(wanted)
    await settled()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    await site.close()
  })

  it('keeps nobody waiting who hears nothing: a tab that does not answer is given a second', async () => {
    const site = new Site()
    const name = `webtoki-reader 1db2:0600:${SERIAL}/0`
    let free!: () => void
    const held = new Promise<void>((resolve) => {
      free = resolve
    })
    void site.locks.request(name, {}, () => held)
    const opening = site.open()
    await settled()
    await site.clock.advance(1000)
    const tab = await opening
    expect(await tab.now()).toEqual({ inUse: 'tab' })
    free()
    expect(await tab.shows('present')).toBe('present')
    await site.close()
  })
})
