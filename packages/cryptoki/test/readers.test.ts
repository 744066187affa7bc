/**
 * One card in several readers and one reader in several tabs: the card is recognized, and a login stays with
 * its session.
 */
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
  if (certificate === undefined) throw new Error('No certificate 9A found.')
  return certificate.get(CKA.VALUE)
}

const becomes = (slot: Slot, expected: string) =>
  firstValueFrom(
    slot.presence$.pipe(filter((presence) => JSON.stringify(presence) === JSON.stringify(expected))),
  )

/** Long enough for everything that needs no timer. */
async function settled(): Promise<void> {
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a card moved from one reader to another', () => {
  it('is recognized: its identity is checked, and its certificate is not read a second time', async () => {
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
    const inFirst = await certificateIn(one)
    first.remove()
    second.insert(card)
    await becomes(two, 'present')
    const inSecond = await certificateIn(two)
    expect(inSecond).toEqual(inFirst)
    // SELECT, the CHUID with the GUID, the start of the certificate's object.
    expect(second.counters.apdus).toBeLessThan(first.counters.apdus)
    expect(second.counters.apdus).toBeLessThanOrEqual(3)
    expect(first.counters.bytesFromCard).toBeGreaterThan(900)
    expect(second.counters.bytesFromCard).toBeLessThan(450)
    // A third time, in the first reader again, costs the same.
    first.counters.reset()
    second.remove()
    first.insert(card)
    await becomes(one, 'present')
    expect(await certificateIn(one)).toEqual(inFirst)
    expect(first.counters.apdus).toBe(second.counters.apdus)
    await cryptoki.close()
  })

  it('another card in that reader is read completely', async () => {
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

describe('the same device after USB re-enumeration', () => {
  it('is used without a new permission and under the same id, like after suspend or a firmware reset', async () => {
    const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { serialNumber: 'S1' })
    const card = createPivCard()
    reader.insert(card)
    const bus = new VirtualBus()
    bus.plug(reader)
    let requests = 0
    const usb = bus.context({ granted: 'none', choose: (devices) => (requests++, devices[0]) })
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
    expect(requests).toBe(1)
    expect(card.pinTriesLeft).toBe(3)
    await cryptoki.close()
  })
})

describe('two tabs with one card', () => {
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

  it('a tab that only read certificates releases the card, and reads it again later', async () => {
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

  it('a tab that is logged in keeps the card and its login', async () => {
    const { tab, card } = site()
    const first = await tab()
    const session = await first.slot.openSession({ pin })
    await session.login(CKU.USER)
    const second = await tab()
    expect(await firstValueFrom(second.slot.presence$)).toEqual({ inUse: 'tab' })
    await settled()
    expect(card.pinVerified).toBe(true)
    const [key] = await session.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.ID]: Uint8Array.of(1) })
    if (key === undefined) throw new Error('No key 9A found.')
    expect(await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, new Uint8Array(3))).toHaveLength(256)
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
    await first.cryptoki.close()
    await becomes(second.slot, 'present')
    expect(card.pinVerified).toBe(false)
    await second.cryptoki.close()
  })
})
