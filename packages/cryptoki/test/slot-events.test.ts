/** C_WaitForSlotEvent, over readers and cards that come and go. */
import { ccidSlots } from '@webtoki/ccid'
import { CKR, Cryptoki, type Slot, type SlotEvent, slotEvents, waitForSlotEvent } from '@webtoki/cryptoki'
import { pivDriver } from '@webtoki/cryptoki/piv'
import { createPivCard, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rv, settled } from './memory-stand.ts'

let bus: VirtualBus
let reader: VirtualCcidReader
let cryptoki: Cryptoki
let slot: Slot

/** Until the slot tells that of itself. */
const presence = (wanted: 'empty' | 'present') =>
  firstValueFrom(slot.presence$.pipe(filter((each) => each === wanted)))

beforeEach(async () => {
  bus = new VirtualBus()
  reader = new VirtualCcidReader(readerProfiles.omnikey3021)
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  cryptoki = new Cryptoki({ sources: [ccidSlots({ usb })], drivers: [pivDriver()] })
  const [first] = await firstValueFrom(cryptoki.slots$.pipe(filter(({ length }) => length > 0)))
  slot = first as Slot
  await presence('empty')
})
afterEach(() => cryptoki.close())

async function insert(): Promise<void> {
  reader.insert(createPivCard())
  await presence('present')
}

async function remove(): Promise<void> {
  reader.remove()
  await presence('empty')
}

describe('slotEvents', () => {
  it('tells every insertion and removal to each subscriber, and completes with the library', async () => {
    const told: SlotEvent[][] = [[], []]
    let ends = 0
    for (const list of told)
      slotEvents(cryptoki).subscribe({ next: (event) => list.push(event), complete: () => ends++ })
    await insert()
    await remove()
    await insert()
    const expected = [true, false, true].map((present) => ({ slot, present }))
    expect(told).toEqual([expected, expected])
    await cryptoki.close()
    expect(ends).toBe(2)
  })

  it('does not tell a card that is there already', async () => {
    await insert()
    const told: SlotEvent[] = []
    slotEvents(cryptoki).subscribe((event) => told.push(event))
    await settled()
    expect(told).toEqual([])
  })

  it('tells the removal of a card whose reader is unplugged', async () => {
    await insert()
    const event = firstValueFrom(slotEvents(cryptoki))
    bus.unplug(reader)
    expect(await event).toEqual({ slot, present: false })
  })
})

describe('waitForSlotEvent', () => {
  it('waits for a card', async () => {
    const event = waitForSlotEvent(cryptoki)
    await insert()
    expect(await event).toEqual({ slot, present: true })
  })

  it('without blocking, rejects with CKR_NO_EVENT, and reports what happened since once', async () => {
    const poll = () => waitForSlotEvent(cryptoki, { block: false })
    await expect(poll()).rejects.toEqual(rv(CKR.NO_EVENT))
    await insert()
    await remove()
    expect(await poll()).toEqual({ slot, present: false })
    await expect(poll()).rejects.toEqual(rv(CKR.NO_EVENT))
  })

  it('gives each event to one of the callers, in their order', async () => {
    const [first, second] = [waitForSlotEvent(cryptoki), waitForSlotEvent(cryptoki)]
    await insert()
    expect(await first).toEqual({ slot, present: true })
    await remove()
    expect(await second).toEqual({ slot, present: false })
  })

  it('that is aborted rejects with CKR_FUNCTION_CANCELED and takes no event from the next', async () => {
    const why = new AbortController()
    const left = waitForSlotEvent(cryptoki, { signal: why.signal })
    const stays = waitForSlotEvent(cryptoki)
    why.abort('gone')
    await expect(left).rejects.toEqual(expect.objectContaining({ rv: CKR.FUNCTION_CANCELED, cause: 'gone' }))
    await insert()
    expect(await stays).toEqual({ slot, present: true })
    await expect(waitForSlotEvent(cryptoki, { signal: why.signal })).rejects.toEqual(
      rv(CKR.FUNCTION_CANCELED),
    )
  })

  it('rejects with CKR_CRYPTOKI_NOT_INITIALIZED if the library closes meanwhile, and after it', async () => {
    const waiting = waitForSlotEvent(cryptoki)
    const closing = cryptoki.close()
    await expect(waiting).rejects.toEqual(rv(CKR.CRYPTOKI_NOT_INITIALIZED))
    await closing
    const late = waitForSlotEvent(cryptoki, { block: false })
    await expect(late).rejects.toEqual(rv(CKR.CRYPTOKI_NOT_INITIALIZED))
  })
})
