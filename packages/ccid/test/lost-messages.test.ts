/** Lost messages of the interrupt endpoint and lost responses: the card in the reader can be used all the same. */
import { CardAbsentError, type CardConnection } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, HandClock, readerProfiles, VirtualBus, VirtualCcidReader } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { driverClock, inTime, setUp } from './set-up.ts'

const echo = Uint8Array.of(0, 0x10, 0, 0, 2, 7, 9, 0)
const response = Uint8Array.of(7, 9, 0x90, 0)
const INTERRUPT_IN = 3

const BULK_IN = 1
const FAILED_WITHOUT_CARD = 0x42
const TIME_EXTENSION_WITHOUT_CARD = 0x82

/** A reader in a browser whose transfers pass through `change`. */
async function tapped(
  change: (endpoint: number, transfer: () => Promise<USBInTransferResult>) => Promise<USBInTransferResult>,
  profile = readerProfiles.dualiAbcm6,
) {
  const clock = new HandClock()
  const reader = new VirtualCcidReader(profile, { clock })
  const bus = new VirtualBus()
  bus.plug(reader)
  const usb = bus.context({ protectedClasses: false })
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('There is no device.')
  const transferIn = device.transferIn.bind(device)
  device.transferIn = (endpoint, bytes) => change(endpoint, () => transferIn(endpoint, bytes))
  const source = ccidSlots({ usb, clock: driverClock(clock) })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  return { clock, reader, source, slot }
}

const silentNotices = () =>
  tapped((endpoint, transfer) => (endpoint === INTERRUPT_IN ? new Promise(() => {}) : transfer()))

describe('a reader whose interrupt messages are lost', () => {
  it('is checked for a card on connect()', async () => {
    const { clock, reader, source, slot } = await silentNotices()
    expect(await firstValueFrom(slot.presence$)).toBe('empty')
    reader.insert(createEchoCard())
    await clock.advance(10_000)
    expect(await firstValueFrom(slot.presence$)).toBe('empty')
    const connection = await inTime(clock, slot.connect())
    expect(await firstValueFrom(slot.presence$)).toBe('present')
    expect(await connection.transaction({}, (channel) => channel.transmit(echo))).toEqual(response)
    await source.close()
  })

  it('gets one GetSlotStatus on connect(), and no power-on if the slot is empty', async () => {
    const { clock, reader, source, slot } = await silentNotices()
    reader.counters.reset()
    await expect(inTime(clock, slot.connect())).rejects.toBeInstanceOf(CardAbsentError)
    expect([...reader.counters.messages]).toEqual([['GetSlotStatus', 1]])
    await source.close()
  })
})

/** Swaps the card during a command. Resolves to the next connection, which must open within 2 s. */
async function afterASwap(
  connection: CardConnection,
  { clock, reader, slot }: Pick<Awaited<ReturnType<typeof tapped>>, 'clock' | 'reader' | 'slot'>,
): Promise<CardConnection> {
  const work = connection.transaction({}, (channel) => channel.transmit(echo))
  const pulled = expect(work).rejects.toMatchObject({ code: 'card/gone', why: 'removed' })
  await clock.advance(100)
  reader.remove()
  reader.insert(createEchoCard())
  await pulled
  const startedMs = clock.nowMs
  const again = await inTime(clock, slot.connect())
  expect(clock.nowMs - startedMs).toBeLessThanOrEqual(2000)
  return again
}

describe('a response that was lost when the card was removed', () => {
  it('is aborted within 2 s, and the card inserted meanwhile works', async () => {
    const made = setUp({ card: createEchoCard() })
    const { clock, reader, source } = made
    const slot = await made.slot()
    const connection = await slot.connect()
    reader.faults.schedule({ kind: 'silent-reader', ends: 'once' })
    const again = await afterASwap(connection, { clock, reader, slot })
    expect(reader.counters.messages.get('Abort')).toBe(1)
    expect(await again.transaction({}, (channel) => channel.transmit(echo))).toEqual(response)
    await source.close()
  })

  it.each([
    ['has an interrupt endpoint', readerProfiles.dualiAbcm6],
    ['has no interrupt endpoint', { ...readerProfiles.dualiAbcm6, interrupt: false }],
  ])('is aborted within 2 s even with time extensions if the reader %s', async (_, profile) => {
    const { clock, reader, source, slot } = await tapped(async (endpoint, transfer) => {
      const result = await transfer()
      // Replaces "no card" with a time extension of a hundred times the time-out.
      if (endpoint === BULK_IN && result.data?.getUint8(7) === FAILED_WITHOUT_CARD) {
        result.data.setUint8(7, TIME_EXTENSION_WITHOUT_CARD)
        result.data.setUint8(8, 100)
      }
      return result
    }, profile)
    reader.insert(createEchoCard())
    await clock.advance(1_000)
    const connection = await slot.connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 5000 })
    const again = await afterASwap(connection, { clock, reader, slot })
    expect(await again.transaction({}, (channel) => channel.transmit(echo))).toEqual(response)
    await source.close()
  })
})
