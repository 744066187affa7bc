/** Transfers that the browser cancels, or that fail, while the reader is still connected (whatwg/usb#176). */
import type { Presence } from '@webtoki/apdu'
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, HandClock, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { driverClock, inTime } from './set-up.ts'

const [BULK_IN, INTERRUPT_IN] = [1, 3]
const settled = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function connected() {
  const clock = new HandClock()
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6, { clock })
  reader.insert(createEchoCard())
  const usb: USB = virtualUsb([reader])
  const [device] = await usb.getDevices()
  if (device === undefined) throw new Error('There is no device.')
  const read = device.transferIn.bind(device)
  /** Pending reads of cancelled transfers: the endpoint's next transfer returns what the reader sends. */
  const waiting = new Map<number, Promise<USBInTransferResult>>()
  const fails = new Map<number, (name: string) => void>()
  device.transferIn = (endpoint, bytes) => {
    const result = waiting.get(endpoint) ?? read(endpoint, bytes)
    waiting.set(endpoint, result)
    const over = (): void => void waiting.delete(endpoint)
    result.then(over, over)
    return new Promise((resolve, reject) => {
      result.then(resolve, reject)
      fails.set(endpoint, (name) => reject(new DOMException('A transfer error has occurred.', name)))
    })
  }
  const source = ccidSlots({ usb, clock: driverClock(clock), pollMs: 500 })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('There is no slot.')
  const connection = await slot.connect()
  const seen: Presence[] = []
  slot.presence$.subscribe((presence) => seen.push(presence))
  const fail = async (endpoint: number, name = 'AbortError'): Promise<void> => {
    fails.get(endpoint)?.(name)
    await settled()
  }
  return { clock, reader, device, source, connection, seen, fail }
}

// AbortError: cancelled. NetworkError: failed, as after sleep.
describe.each(['AbortError', 'NetworkError'])('an idle interrupt transfer that ends in %s', (name) => {
  it('keeps the connection and the presence, and later interrupt messages arrive', async () => {
    const { reader, source, connection, seen, fail } = await connected()
    const owner = {}
    const echo = (): Promise<Uint8Array> =>
      connection.transaction(owner, (channel) => channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 7, 0)))
    await echo()
    for (let times = 0; times < 5; times++) await fail(INTERRUPT_IN, name)
    expect(await echo()).toEqual(Uint8Array.of(7, 0x90, 0))
    expect(await connection.transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(true)
    reader.remove()
    await settled()
    expect(seen).toEqual(['present', 'empty'])
    expect((await connection.gone).why).toBe('removed')
    await source.close()
  })

  it('repeatedly keeps the connection, and the reader is polled', async () => {
    const { clock, reader, source, connection, seen, fail } = await connected()
    for (let times = 0; times < 120; times++) await fail(INTERRUPT_IN, name)
    const statusRequests = (): number => reader.counters.messages.get('GetSlotStatus') ?? 0
    const before = statusRequests()
    await clock.advance(2_000)
    expect(statusRequests()).toBeGreaterThan(before)
    expect(seen).toEqual(['present'])
    reader.remove()
    await clock.advance(1_000)
    expect((await connection.gone).why).toBe('removed')
    await source.close()
  })

  it('and whose endpoint cannot be cleared keeps the connection, and the reader is polled', async () => {
    const { clock, reader, device, source, connection, seen, fail } = await connected()
    device.clearHalt = () => Promise.reject(new DOMException('Unable to clear endpoint.', 'NetworkError'))
    const transferIn = device.transferIn.bind(device)
    device.transferIn = async (endpoint, bytes) =>
      endpoint === INTERRUPT_IN ? ({ status: 'stall' } as USBInTransferResult) : transferIn(endpoint, bytes)
    await fail(INTERRUPT_IN, name)
    expect(seen).toEqual(['present'])
    reader.remove()
    await clock.advance(1_000)
    expect((await connection.gone).why).toBe('removed')
    await source.close()
  })
})

describe('a response whose transfer the browser cancels', () => {
  it('during a command is read again, and no command is sent twice', async () => {
    const { clock, reader, source, connection, fail } = await connected()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 20_000 })
    const work = connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0x10, 0, 0, 1, 9, 0)),
    )
    await settled()
    const sent = reader.counters.messages.get('XfrBlock')
    await fail(BULK_IN)
    expect(await inTime(clock, work)).toEqual(Uint8Array.of(9, 0x90, 0))
    expect(reader.counters.messages.get('XfrBlock')).toBe(sent)
    await source.close()
  })
})
