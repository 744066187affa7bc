/** One reader and two tabs of one site: an idle tab hands the reader over, a busy tab keeps it. */
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
import { driverClock } from './set-up.ts'

const SERIAL = 'SERIAL-4711'
const echo = (channel: CardChannel) => channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0))
const echoed = Uint8Array.of(7, 0x90, 0)

interface Tab {
  readonly source: CcidSlotSource
  readonly slot: CardSlot
  readonly activate: () => void
  readonly shows: (expected: Presence) => Promise<Presence>
  readonly now: () => Promise<Presence>
}

/** A site with one reader and its card. Tabs are opened one by one. */
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

  /** Moves the clock while the tab opens the reader, as long as another tab may take to respond. */
  async open(): Promise<Tab> {
    const activations = new Subject<void>()
    const source = ccidSlots({
      usb: this.bus.context(),
      clock: driverClock(this.clock),
      locks: this.locks,
      channel: this.channel.tab(),
      activated$: activations,
    })
    const [slot] = await firstValueFrom(source.slots$)
    if (slot === undefined) throw new Error('The tab sees no slot.')
    const same = (one: Presence, two: Presence): boolean => JSON.stringify(one) === JSON.stringify(two)
    const tab: Tab = {
      source,
      slot,
      activate: () => activations.next(),
      shows: (expected) =>
        firstValueFrom(slot.presence$.pipe(filter((presence) => same(presence, expected)))),
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
  it('moves to the tab that opens it, and back to the first one when it is free again', async () => {
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

  it('moves back on connect() with just two messages', async () => {
    const site = new Site()
    const [first, second] = [await site.open(), await site.open()]
    await first.shows({ inUse: 'tab' })
    const connection = await first.slot.connect()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    expect(await second.now()).toEqual({ inUse: 'tab' })
    expect(site.channel.posted).toHaveLength(2)
    await site.close()
  })

  it('moves back when the person activates the tab', async () => {
    const site = new Site()
    const [first, second] = [await site.open(), await site.open()]
    await first.shows({ inUse: 'tab' })
    first.activate()
    expect(await first.shows('present')).toBe('present')
    expect(await second.now()).toEqual({ inUse: 'tab' })
    second.activate()
    expect(await second.shows('present')).toBe('present')
    expect(await first.now()).toEqual({ inUse: 'tab' })
    await site.close()
  })

  it('does not move between tabs without a request', async () => {
    const site = new Site()
    const tabs = [await site.open(), await site.open(), await site.open()]
    await tabs[2]?.shows('present')
    await settled()
    const posted = site.channel.posted.length
    await site.clock.advance(600_000)
    await settled()
    expect(site.channel.posted).toHaveLength(posted)
    expect(await Promise.all(tabs.map((tab) => tab.now()))).toEqual([
      { inUse: 'tab' },
      { inUse: 'tab' },
      'present',
    ])
    await site.close()
  })

  it('is released by an owner that does not need its card when it is requested', async () => {
    const site = new Site()
    const first = await site.open()
    let owned: CardConnection | undefined
    owned = await first.slot.connect({ onReleaseRequested: () => void owned?.close() })
    const second = await site.open()
    expect(await second.shows('present')).toBe('present')
    expect((await owned.gone).why).toBe('closed')
    await site.close()
  })

  it('is not identified by its serial number in the messages between tabs', async () => {
    const site = new Site()
    await site.open()
    await site.open()
    expect(site.channel.posted.length).toBeGreaterThan(0)
    expect(JSON.stringify(site.channel.posted)).not.toMatch(new RegExp(`${SERIAL}|DUALi|1db2`, 'i'))
    await site.close()
  })

  it('on one interface moves, and the other interface of the device stays', async () => {
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

describe('a reader in use', () => {
  it('stays while a connection is open, and its card is not affected', async () => {
    const site = new Site()
    const first = await site.open()
    const connection = await first.slot.connect()
    const owner = {}
    await connection.transaction(owner, echo)
    const powered = site.reader.counters.messages.get('IccPowerOff')
    const second = await site.open()
    expect(await second.now()).toEqual({ inUse: 'tab' })
    await expect(second.slot.connect()).rejects.toMatchObject({ code: 'reader/in-use', by: 'tab' })
    // The PIN is still verified.
    expect(await connection.transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(true)
    expect(site.reader.counters.messages.get('IccPowerOff')).toBe(powered)
    expect(await first.now()).toBe('present')
    await site.close()
  })

  it('reports inUse "page" while another source of the page has it', async () => {
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
    // The idle reader has moved from the first source to the second.
    expect(await firstValueFrom(first.presence$)).toEqual({ inUse: 'page' })
    for (const source of sources) await source.close()
  })

  it('stays during a command, even if its owner would release it', async () => {
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

  it('moves after the command, when it is requested again', async () => {
    const site = new Site()
    const first = await site.open()
    const connection = await first.slot.connect()
    const second = await site.open()
    await second.shows({ inUse: 'tab' })
    await connection.close()
    second.activate()
    expect(await second.shows('present')).toBe('present')
    expect(await first.now()).toEqual({ inUse: 'tab' })
    await site.close()
  })
})

describe('a message on the channel', () => {
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
  ])('that is not from Webtoki is ignored: %j', async (message) => {
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

  it('without a waiting tab has no effect: the reader returns at once', async () => {
    const site = new Site()
    const first = await site.open()
    await first.shows('present')
    const second = await site.open()
    await second.source.close()
    await first.shows('present')
    const [request] = site.channel.posted
    for (let times = 0; times < 50; times++) site.channel.tab().postMessage(request)
    await settled()
    expect(await first.shows('present')).toBe('present')
    const connection = await first.slot.connect()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    for (let times = 0; times < 50; times++) site.channel.tab().postMessage(request)
    await settled()
    expect(await connection.transaction({}, echo)).toEqual(echoed)
    await site.close()
  })

  it('without a response delays the tab by one second', async () => {
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
