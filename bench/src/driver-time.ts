/** Measures the time of one APDU through the driver, and of a bare OUT + IN round trip to the same device. */
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  type ReaderProfile,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'

const RUNS = 1000
/** Enough for the engine to compile the measured code. With fewer runs the first measurement is too slow. */
const WARM_UP_RUNS = 20_000
/** With its header the APDU fits in one T=1 block, because the echo card's IFSC is 32 bytes. A longer one would take two. */
const DATA_BYTES = 24

/** The exchanges that are measured: extended and short APDUs, and TPDUs of T=1 and T=0. */
export const exchanges = ['extended', 'short', 't1', 't0'] as const
/** One of the exchanges that are measured. */
export type Exchange = (typeof exchanges)[number]

/** Medians of 1000 runs, in microseconds. */
export interface DriverTime {
  readonly microsecondsPerApdu: number
  readonly microsecondsPerRoundTrip: number
}

const apdu = Uint8Array.of(0, 0x10, 0, 0, DATA_BYTES, ...new Uint8Array(DATA_BYTES), 0)

/** The CCID messages of the bare round trips, which do not come from the driver. */
interface Bare {
  readonly profile: ReaderProfile
  readonly protocol?: 'T=0' | 'T=1'
  /** Messages that power on the card and set its protocol. */
  readonly before: readonly Uint8Array<ArrayBuffer>[]
  /** Messages of the measured round trips, sent alternately. */
  readonly alternating: readonly Uint8Array<ArrayBuffer>[]
  /** The length of the data in each response, in bytes. */
  readonly responseBytes: number
}

function message(type: number, data: ArrayLike<number>, first: number = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(type, data.length, 0, 0, 0, 0, 1, first, 0, 0, ...Array.from(data))
}

function block(pcb: number, data: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const head = [0, pcb, data.length, ...Array.from(data)]
  return message(0x6f, [...head, head.reduce((sum, byte) => sum ^ byte, 0)])
}

const powerOn = message(0x62, [])
const bareExchanges: Readonly<Record<Exchange, Bare>> = {
  extended: {
    profile: readerProfiles.dualiAbcm6,
    before: [powerOn],
    alternating: [message(0x6f, apdu)],
    responseBytes: DATA_BYTES + 2,
  },
  // This reader does not select the voltage automatically: bPowerSelect 1 is 5 V.
  short: {
    profile: readerProfiles.omnikey3021,
    before: [message(0x62, [], 1)],
    alternating: [message(0x6f, apdu)],
    responseBytes: DATA_BYTES + 2,
  },
  t1: {
    profile: readerProfiles.scr331,
    protocol: 'T=1',
    // SetParameters for T=1, then S(IFS request) with 252 bytes. The blocks alternate N(S) 0 and 1.
    before: [powerOn, message(0x61, [0x11, 0x10, 0, 0x4d, 0, 0xfe, 0], 1), block(0xc1, [0xfc])],
    alternating: [block(0x00, apdu), block(0x40, apdu)],
    responseBytes: DATA_BYTES + 6,
  },
  t0: {
    profile: readerProfiles.scr331,
    protocol: 'T=0',
    before: [powerOn, message(0x61, [0x11, 0, 0, 0x0a, 0], 0)],
    // A T=0 command with data has no Le.
    alternating: [message(0x6f, apdu.subarray(0, -1))],
    // The status word 61xx.
    responseBytes: 2,
  },
}

/** Measures an echo APDU of 24 bytes through the driver, and bare round trips of the same CCID message. */
export async function driverTime(exchange: Exchange): Promise<DriverTime> {
  const { profile, protocol, before, alternating, responseBytes } = bareExchanges[exchange]
  const reader = new VirtualCcidReader(profile)
  reader.insert(createEchoCard())
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('The virtual reader has no slot.')
  const connection = await slot.connect(protocol === undefined ? {} : { protocol })
  const owner = {}
  const microsecondsPerApdu = await median(() =>
    connection.transaction(owner, (channel) => channel.transmit(apdu)),
  )
  await source.close()

  const bare = new VirtualCcidReader(profile)
  bare.insert(createEchoCard())
  const [device] = await virtualUsb([bare], { protectedClasses: false }).getDevices()
  if (device === undefined) throw new Error('The virtual bus has no device.')
  await device.open()
  await device.claimInterface(0)
  const { endpoints } = device.configuration?.interfaces[0]?.alternate ?? { endpoints: [] }
  const endpoint = (direction: 'in' | 'out'): number =>
    endpoints.find((each) => each.type === 'bulk' && each.direction === direction)?.endpointNumber ?? 0
  const roundTrip = async (bytes: Uint8Array<ArrayBuffer>): Promise<DataView | undefined> => {
    await device.transferOut(endpoint('out'), bytes)
    return (await device.transferIn(endpoint('in'), 512)).data
  }
  for (const bytes of before) await roundTrip(bytes)
  let turn = 0
  const microsecondsPerRoundTrip = await median(async () => {
    const response = await roundTrip(alternating[turn++ % alternating.length] as Uint8Array<ArrayBuffer>)
    // A refused command would be faster than an echo, so the response is checked.
    if (response === undefined || response.getUint8(7) !== 0 || response.byteLength !== 10 + responseBytes)
      throw new Error('The bare round trip did not return the echo.')
  })
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
