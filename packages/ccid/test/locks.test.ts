/** Two tabs of one site, and another site: what each reports about a reader that is in use. */
import type { Presence } from '@webtoki/apdu'
import { ccidSlots, type ReaderLocks } from '@webtoki/ccid'
import { SiteLocks } from './site.ts'
import { createEchoCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'

function plugged(serialNumber: string | null = 'S1') {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber })
  reader.insert(createEchoCard())
  const bus = new VirtualBus()
  bus.plug(reader)
  return { bus, reader }
}

async function tab(bus: VirtualBus, locks?: ReaderLocks) {
  const source = ccidSlots({ usb: bus.context(), ...(locks === undefined ? {} : { locks }) })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('The tab sees no slot.')
  const shows = (wanted: Presence) =>
    firstValueFrom(
      slot.presence$.pipe(filter((presence) => JSON.stringify(presence) === JSON.stringify(wanted))),
    )
  return { source, slot, shows }
}

describe('a reader in use', () => {
  it('shows inUse "tab" in another tab of the site, which can use it after the first closes', async () => {
    const { bus } = plugged()
    const locks = new SiteLocks()
    const first = await tab(bus, locks)
    await first.shows('present')
    const second = await tab(bus, locks)
    await second.shows({ inUse: 'tab' })
    await expect(second.slot.connect()).rejects.toMatchObject({ code: 'reader/in-use', by: 'tab' })
    await first.source.close()
    await second.shows('present')
    const connection = await second.slot.connect()
    await connection.close()
    await second.source.close()
  })

  it('goes to a third tab after the second', async () => {
    const { bus } = plugged()
    const locks = new SiteLocks()
    const tabs = [await tab(bus, locks)]
    await tabs[0]?.shows('present')
    tabs.push(await tab(bus, locks), await tab(bus, locks))
    for (const each of tabs.slice(1)) await each.shows({ inUse: 'tab' })
    for (const [at, each] of tabs.entries()) {
      await each.shows('present')
      expect(at).toBeLessThan(3)
      await each.source.close()
    }
  })

  it('stays with its tab during a reset, even if another tab waits', async () => {
    const { bus, reader } = plugged()
    const locks = new SiteLocks()
    const first = await tab(bus, locks)
    await first.shows('present')
    const second = await tab(bus, locks)
    await second.shows({ inUse: 'tab' })
    const connection = await first.slot.connect()
    reader.faults.schedule({ kind: 'stall-out', ends: 'until-reset' })
    const echo = Uint8Array.of(0, 0x10, 0, 0, 1, 9, 0)
    const work = connection.transaction({}, (channel) => channel.transmit(echo))
    await expect(work).rejects.toMatchObject({ code: 'reader/transfer' })
    await connection.close()
    const again = await first.slot.connect()
    expect(await again.transaction({}, (channel) => channel.transmit(echo))).toEqual(
      Uint8Array.of(9, 0x90, 0),
    )
    expect(await firstValueFrom(second.slot.presence$)).toEqual({ inUse: 'tab' })
    await first.source.close()
    await second.shows('present')
    await second.source.close()
  })

  it('by another program or site shows inUse "unknown"', async () => {
    const { bus } = plugged()
    const first = await tab(bus, new SiteLocks())
    await first.shows('present')
    const other = await tab(bus, new SiteLocks())
    await other.shows({ inUse: 'unknown' })
    await expect(other.slot.connect()).rejects.toMatchObject({ by: 'unknown' })
    await first.source.close()
    await other.source.close()
  })

  it('by another program works after that program released it and the person chose it again', async () => {
    const { bus } = plugged()
    const other = await tab(bus, new SiteLocks())
    await other.shows('present')
    const source = ccidSlots({ usb: bus.context({ choose: (devices) => devices[0] }) })
    const [slot] = await firstValueFrom(source.slots$)
    const shown = async () => slot && firstValueFrom(slot.presence$)
    expect(await shown()).toEqual({ inUse: 'unknown' })
    expect(await source.requestReader()).toEqual([slot])
    expect(await shown()).toEqual({ inUse: 'unknown' })
    await other.source.close()
    expect(await source.requestReader()).toEqual([slot])
    expect(await shown()).toBe('present')
    await source.close()
  })

  it('without a serial number shows inUse "unknown" in other tabs', async () => {
    const { bus } = plugged(null)
    const locks = new SiteLocks()
    const first = await tab(bus, locks)
    await first.shows('present')
    const second = await tab(bus, locks)
    expect(await second.shows({ inUse: 'unknown' })).toBeDefined()
    await first.source.close()
    await second.source.close()
  })

  it('is no longer waited for by a tab that was closed', async () => {
    const { bus } = plugged()
    const locks = new SiteLocks()
    const first = await tab(bus, locks)
    await first.shows('present')
    const second = await tab(bus, locks)
    await second.shows({ inUse: 'tab' })
    await second.source.close()
    await first.source.close()
    const third = await tab(bus, locks)
    expect(await third.shows('present')).toBe('present')
    await third.source.close()
  })
})
