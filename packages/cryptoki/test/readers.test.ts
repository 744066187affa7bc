/** One card and several readers, one reader and several tabs: the card is the same card, and a login is nobody else's. */
import { type CcidSlotSource, ccidSlots } from '@webtoki/ccid'
import { CKA, CKM, CKO, CKS, CKU, Cryptoki, MemoryObjectCache, type Slot } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import {
  createPivCard,
  type PivCard,
  readerProfiles,
  VirtualBus,
  VirtualCcidReader,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { SiteChannel, SiteLocks } from '../../ccid/test/site.ts'

const pin = async () => ({ pin: new TextEncoder().encode('123456') })
const certificate9a = { [CKA.CLASS]: CKO.CERTIFICATE, [CKA.ID]: Uint8Array.of(1) }

function library(source: CcidSlotSource, cache = new MemoryObjectCache()): Cryptoki {
  return new Cryptoki({ sources: [source], drivers: [pivDriver({ cache })] })
}

async function certificateIn(slot: Slot): Promise<Uint8Array> {
  const session = await slot.openSession()
  const [certificate] = await session.findObjects(certificate9a)
  await session.close()
  if (certificate === undefined) throw new Error('There is no certificate 9A.')
  return certificate.get(CKA.VALUE)
}

const becomes = (slot: Slot, wanted: string) =>
  firstValueFrom(
    slot.presence$.pipe(filter((presence) => JSON.stringify(presence) === JSON.stringify(wanted))),
  )

/** Long enough for everything that no clock delays. */
async function settled(): Promise<void> {
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a card moved from one reader to another', () => {
  it('is the same card: its certificate is not read a second time, and its identity is looked at', async () => {
    const [first, second] = ['A', 'B'].map(
      (serialNumber) => new VirtualCcidReader(readerProfiles.omnikey3021, { serialNumber }),
    ) as [VirtualCcidReader, VirtualCcidReader]
    const bus = new VirtualBus()
    for (const reader of [first, second]) bus.plug(reader)
    const cryptoki = library(ccidSlots({ usb: bus.context({ protectedClasses: false }) }))
    const [one, two] = (await firstValueFrom(cryptoki.slots$)) as [Slot, Slot]
    const card = createPivCard()
    first.insert(card)
    await becomes(one, 'present')
    const there = await certificateIn(one)
    first.remove()
    second.insert(card)
    await becomes(two, 'present')
    const here = await certificateIn(two)
    expect(here).toEqual(there)
    // SELECT, the CHUID with the GUID, the head of the certificate's object.
    expect(second.counters.apdus).toBeLessThan(first.counters.apdus)
    expect(second.counters.apdus).toBeLessThanOrEqual(3)
    expect(first.counters.bytesFromCard).toBeGreaterThan(900)
    expect(second.counters.bytesFromCard).toBeLessThan(450)
    // A third time, in the first reader again, costs as much.
    first.counters.reset()
    second.remove()
    first.insert(card)
    await becomes(one, 'present')
    expect(await certificateIn(one)).toEqual(there)
    expect(first.counters.apdus).toBe(second.counters.apdus)
    await cryptoki.close()
  })

  it('another card in that reader is read whole', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
    const bus = new VirtualBus()
    bus.plug(reader)
    const cryptoki = library(ccidSlots({ usb: bus.context() }))
    const [slot] = (await firstValueFrom(cryptoki.slots$)) as [Slot]
    reader.insert(createPivCard())
    await becomes(slot, 'present')
    await certificateIn(slot)
    reader.remove()
    await becomes(slot, 'empty')
    reader.counters.reset()
    reader.insert(createPivCard({ guid: new Uint8Array(16).fill(7) }))
    await becomes(slot, 'present')
    await certificateIn(slot)
    expect(reader.counters.bytesFromCard).toBeGreaterThan(900)
    await cryptoki.close()
  })
})

describe('the same device, shown anew by USB', () => {
  it('goes on without a permission, under the same id, as after suspend or a reset of its firmware', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'S1' })
    const card = createPivCard()
    reader.insert(card)
    const bus = new VirtualBus()
    bus.plug(reader)
    let asked = 0
    const usb = bus.context({ granted: 'none', choose: (devices) => (asked++, devices[0]) })
    const source = ccidSlots({ usb, locks: new SiteLocks(), channel: new SiteChannel().tab() })
    const cryptoki = library(source)
    await source.requestReader()
    const [before] = (await firstValueFrom(cryptoki.slots$)) as [Slot]
    const session = await before.openSession({ pin })
    await session.login(CKU.USER)
    bus.unplug(reader)
    bus.plug(reader)
    expect((await session.ended)?.rvName).toBe('CKR_DEVICE_REMOVED')
    const [after] = (await firstValueFrom(
      cryptoki.slots$.pipe(filter(([slot]) => slot !== undefined && slot !== before)),
    )) as [Slot]
    expect([after.id, after.name]).toEqual([before.id, before.name])
    const again = await after.openSession({ pin })
    expect(again.state).toBe(CKS.RO_PUBLIC_SESSION)
    await again.login(CKU.USER)
    expect(asked).toBe(1)
    expect(card.pinTriesLeft).toBe(3)
    await cryptoki.close()
  })
})

describe('two tabs and one card', () => {
  function site(): { card: PivCard; tab: () => Promise<{ cryptoki: Cryptoki; slot: Slot }> } {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'S1' })
    const card = createPivCard()
    reader.insert(card)
    const bus = new VirtualBus()
    bus.plug(reader)
    const [locks, channel] = [new SiteLocks(), new SiteChannel()]
    const tab = async () => {
      const cryptoki = library(ccidSlots({ usb: bus.context(), locks, channel: channel.tab() }))
      const [slot] = (await firstValueFrom(cryptoki.slots$)) as [Slot]
      return { cryptoki, slot }
    }
    return { card, tab }
  }

  it('a tab that only looked at the certificates gives the card up, and looks again later', async () => {
    const { tab } = site()
    const [first] = [await tab()]
    const seen = await certificateIn(first.slot)
    const second = await tab()
    expect(await firstValueFrom(second.slot.presence$)).toBe('present')
    expect(await firstValueFrom(first.slot.presence$)).toEqual({ inUse: 'tab' })
    const session = await second.slot.openSession({ pin })
    await session.login(CKU.USER)
    await second.cryptoki.close()
    await becomes(first.slot, 'present')
    expect(await certificateIn(first.slot)).toEqual(seen)
    await first.cryptoki.close()
  })

  it('a tab that is logged in keeps it, and its login', async () => {
    const { tab, card } = site()
    const first = await tab()
    const session = await first.slot.openSession({ pin })
    await session.login(CKU.USER)
    const second = await tab()
    expect(await firstValueFrom(second.slot.presence$)).toEqual({ inUse: 'tab' })
    await settled()
    expect(card.pinVerified).toBe(true)
    const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(1) })
    if (key === undefined) throw new Error('There is no key 9A.')
    expect(await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, new Uint8Array(3))).toHaveLength(256)
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
    await first.cryptoki.close()
    await becomes(second.slot, 'present')
    expect(card.pinVerified).toBe(false)
    await second.cryptoki.close()
  })
})
