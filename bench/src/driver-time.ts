/** What the driver itself costs: time of one APDU through it, and of a bare OUT + IN round trip to the same device. */
import { ccidSlots } from '@webtoki/ccid'
import { createEchoCard, readerProfiles, VirtualCcidReader, virtualUsb } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import type { Level } from './counted-card.ts'

const RUNS = 1000
const WARM_UP_RUNS = 300
const DATA_BYTES = 32

/** Medians over 1000 runs, in microseconds. */
export interface DriverTime {
  readonly microsecondsPerApdu: number
  readonly microsecondsPerRoundTrip: number
}

/** The APDU is an echo of 32 bytes; the bare round trip carries the same CCID message, made by hand. */
export async function driverTime(level: Level): Promise<DriverTime> {
  const profile = { short: readerProfiles.omnikey3021, extended: readerProfiles.dualiAbcm6 }[level]
  const apdu = Uint8Array.of(0, 0x10, 0, 0, DATA_BYTES, ...new Uint8Array(DATA_BYTES), 0)

  const reader = new VirtualCcidReader(profile)
  reader.insert(createEchoCard())
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('The virtual reader did not show up.')
  const connection = await slot.connect()
  const owner = {}
  const microsecondsPerApdu = await median(() =>
    connection.transaction(owner, (channel) => channel.transmit(apdu)),
  )
  await source.close()

  const bare = new VirtualCcidReader(profile)
  bare.insert(createEchoCard())
  const [device] = await virtualUsb([bare], { protectedClasses: false }).getDevices()
  if (device === undefined) throw new Error('The virtual reader did not show up.')
  await device.open()
  await device.claimInterface(0)
  const { endpoints } = device.configuration?.interfaces[0]?.alternate ?? { endpoints: [] }
  const endpoint = (direction: 'in' | 'out'): number =>
    endpoints.find((each) => each.type === 'bulk' && each.direction === direction)?.endpointNumber ?? 0
  const exchange = async (message: Uint8Array<ArrayBuffer>): Promise<unknown> => {
    await device.transferOut(endpoint('out'), message)
    return device.transferIn(endpoint('in'), 512)
  }
  await exchange(Uint8Array.of(0x62, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  const block = Uint8Array.of(0x6f, apdu.length, 0, 0, 0, 0, 1, 0, 0, 0, ...apdu)
  const microsecondsPerRoundTrip = await median(() => exchange(block))
  await device.close()
  return { microsecondsPerApdu, microsecondsPerRoundTrip }
}

async function median(work: () => Promise<unknown>): Promise<number> {
  for (let run = 0; run < WARM_UP_RUNS; run++) await work()
  const times: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now()
    await work()
    times.push((performance.now() - start) * 1000)
  }
  times.sort((a, b) => a - b)
  return times[RUNS / 2] ?? 0
}
