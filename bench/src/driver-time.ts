/** What the driver itself costs: time of one APDU through it, and of a bare OUT + IN round trip to the same device. */
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
/** Until the engine has compiled what is measured: with fewer, whoever is measured first looks slow. */
const WARM_UP_RUNS = 20_000
/** With its header one T=1 block of the echo card's 32 bytes: the driver would send two where it is longer. */
const DATA_BYTES = 24

/** What a reader takes: APDUs of either kind, or TPDUs of either protocol. */
export const exchanges = ['extended', 'short', 't1', 't0'] as const
/** One of them. */
export type Exchange = (typeof exchanges)[number]

/** Medians over 1000 runs, in microseconds. */
export interface DriverTime {
  readonly microsecondsPerApdu: number
  readonly microsecondsPerRoundTrip: number
}

const apdu = Uint8Array.of(0, 0x10, 0, 0, DATA_BYTES, ...new Uint8Array(DATA_BYTES), 0)

/** Messages made by hand: what makes the card ready, and what one round trip carries, in turn. */
interface Bare {
  readonly profile: ReaderProfile
  readonly protocol?: 'T=0' | 'T=1'
  readonly before: readonly Uint8Array<ArrayBuffer>[]
  readonly inTurn: readonly Uint8Array<ArrayBuffer>[]
  /** How much answers each of these. */
  readonly answerBytes: number
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
    inTurn: [message(0x6f, apdu)],
    answerBytes: DATA_BYTES + 2,
  },
  // It does not find the voltage by itself: 5 volts.
  short: {
    profile: readerProfiles.omnikey3021,
    before: [message(0x62, [], 1)],
    inTurn: [message(0x6f, apdu)],
    answerBytes: DATA_BYTES + 2,
  },
  t1: {
    profile: readerProfiles.scr331,
    protocol: 'T=1',
    // SetParameters of T=1, then S(IFS request) of 252 bytes; blocks carry N(S) 0 and 1 in turn.
    before: [powerOn, message(0x61, [0x11, 0x10, 0, 0x4d, 0, 0xfe, 0], 1), block(0xc1, [0xfc])],
    inTurn: [block(0x00, apdu), block(0x40, apdu)],
    answerBytes: DATA_BYTES + 6,
  },
  t0: {
    profile: readerProfiles.scr331,
    protocol: 'T=0',
    before: [powerOn, message(0x61, [0x11, 0, 0, 0x0a, 0], 0)],
    // T=0 has no Le beside data.
    inTurn: [message(0x6f, apdu.subarray(0, -1))],
    // 61xx
    answerBytes: 2,
  },
}

/** The APDU is an echo of 24 bytes; the bare round trip carries the same CCID message. */
export async function driverTime(exchange: Exchange): Promise<DriverTime> {
  const { profile, protocol, before, inTurn, answerBytes } = bareExchanges[exchange]
  const reader = new VirtualCcidReader(profile)
  reader.insert(createEchoCard())
  const source = ccidSlots({ usb: virtualUsb([reader], { protectedClasses: false }) })
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('The virtual reader did not show up.')
  const connection = await slot.connect(protocol === undefined ? {} : { protocol })
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
  const roundTrip = async (bytes: Uint8Array<ArrayBuffer>): Promise<DataView | undefined> => {
    await device.transferOut(endpoint('out'), bytes)
    return (await device.transferIn(endpoint('in'), 512)).data
  }
  for (const bytes of before) await roundTrip(bytes)
  let turn = 0
  const microsecondsPerRoundTrip = await median(async () => {
    const answer = await roundTrip(inTurn[turn++ % inTurn.length] as Uint8Array<ArrayBuffer>)
    // A reader or a card that refuses is quicker than one that echoes.
    if (answer === undefined || answer.getUint8(7) !== 0 || answer.byteLength !== 10 + answerBytes)
      throw new Error('The bare round trip was refused.')
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
