/** A source with non-USB devices: an API in memory with the shape of WebHID, and a transport with built-in cards. */
import type { CardConnection, Presence } from '@webtoki/apdu'
import { type DeviceReader, DeviceSource, type DeviceSlot } from '@webtoki/device'
import { HandClock } from '@webtoki/simulator'
import { BehaviorSubject, firstValueFrom } from 'rxjs'
import { expect, it } from 'vitest'
import { handTimers } from '../../apdu/test/connection-contract.ts'
import { type Opening, readerSourceContract } from '../../apdu/test/reader-source-contract.ts'

interface HidDevice {
  readonly vendorId: number
  readonly productId: number
  readonly productName: string
}

class MemorySlot implements DeviceSlot {
  readonly kind = 'token'
  readonly isUsed = false
  readonly isInUse = false
  readonly #presences = new BehaviorSubject<Presence>('present')
  readonly presence$ = this.#presences.asObservable()
  readonly id: string
  readonly name: string
  readonly #ready: () => Promise<void>

  constructor({ id, name }: { readonly id: string; readonly name: string }, ready: () => Promise<void>) {
    this.id = id
    this.name = name
    this.#ready = ready
  }

  async connect(): Promise<CardConnection> {
    await this.#ready()
    throw new Error('There are no cards here.')
  }
  async watch(): Promise<void> {}
  async check(): Promise<void> {}
  markInUse(by: 'page' | 'tab' | 'unknown'): void {
    this.#presences.next({ inUse: by })
  }
  async requestRelease(): Promise<void> {}
  async close(): Promise<void> {}
  detach(): void {
    this.#presences.complete()
  }
}

function readerOf(
  identity: { readonly id: string; readonly name: string },
  open: () => Promise<void>,
): DeviceReader {
  let ended: Error | undefined
  const ready = async (): Promise<void> => {
    if (ended !== undefined) throw ended
    await open()
  }
  const end = async (error: Error): Promise<void> => void (ended ??= error)
  return {
    reader: { ready, closeIfIdle: async () => true, close: end },
    slots: [new MemorySlot(identity, ready)],
  }
}

readerSourceContract('a transport over an API in memory', async (first: Opening) => {
  const { hands, clock }: { hands: HandClock; clock: ReturnType<typeof handTimers>['clock'] } = handTimers()
  const device = (productName: string): HidDevice => ({ vendorId: 0x054c, productId: 0x06c3, productName })
  const devices = [device('RC-S380'), device('RC-S380')] as [HidDevice, HidDevice]
  const plugged = new Set(devices)
  let listeners: { connected(device: HidDevice): void; disconnected(device: HidDevice): void } | undefined
  let failures = { works: 0, 'fails once': 1, fails: Number.POSITIVE_INFINITY, 'never ends': 0 }[first]
  const source = new DeviceSource<HidDevice, { readonly interfaceNumber: number }, object>(
    {
      name: 'memory',
      support: 'available',
      list: async () => [...plugged],
      choose: async () => devices[0],
      watch: (connected, disconnected) => {
        listeners = { connected, disconnected }
        return () => void (listeners = undefined)
      },
      describe: (each) => each,
    },
    {
      filters: [{}],
      interfacesOf: async () => [{ interfaceNumber: 0 }],
      readerAt: (place) =>
        readerOf(place.identity, async () => {
          if (place.device !== devices[0]) return
          if (first === 'never ends') await new Promise(() => {})
          if (failures-- > 0) throw new Error('It cannot be opened.')
        }),
    },
    { clock, tabs: undefined },
  )
  return {
    source,
    unplug: () => {
      plugged.delete(devices[0])
      listeners?.disconnected(devices[0])
    },
    plug: () => {
      plugged.add(devices[0])
      listeners?.connected(devices[0])
    },
    advance: (milliseconds) => hands.advance(milliseconds),
  }
})

it('a source closes and releases both readers of a device although one card never responds', async () => {
  const { hands, clock } = handTimers()
  const device = { vendorId: 0x054c, productId: 0x06c3, productName: 'Two readers' }
  const release: number[] = []
  const source = new DeviceSource<HidDevice, { readonly interfaceNumber: number }, object>(
    {
      name: 'memory',
      support: 'available',
      list: async () => [device],
      choose: async () => device,
      watch: () => () => {},
      describe: (each) => each,
    },
    {
      filters: [{}],
      interfacesOf: async () => [{ interfaceNumber: 0 }, { interfaceNumber: 1 }],
      readerAt: ({ identity, deviceInterface: { interfaceNumber } }) => {
        const { reader, slots } = readerOf(identity, async () => {})
        const [slot] = slots as [MemorySlot]
        if (interfaceNumber === 0) slot.close = () => new Promise(() => {})
        return { slots, reader: { ...reader, close: async () => void release.push(interfaceNumber) } }
      },
    },
    { clock, tabs: undefined },
  )
  await firstValueFrom(source.slots$)
  const closing = source.close()
  await hands.advance(20_000)
  await closing
  expect(new Set(release)).toEqual(new Set([0, 1]))
})
