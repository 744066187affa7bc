/** Each quirk of the table: a virtual reader that has it, the driver that knows it, and one of another number that shows what it is for. */
import { type CardConnection, exchange, WebtokiError } from '@webtoki/apdu'
import {
  compositeProfiles,
  type ContactOptions,
  createEchoCard,
  createPivCard,
  type FirmwareHabits,
  type ReaderProfile,
  readerProfiles,
  VirtualBus,
  VirtualCompositeReader,
  HandClock,
} from '@webtoki/simulator'
import { ccidSlots } from '@webtoki/ccid'
import { readerControls } from '@webtoki/ccid/controls'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { corrected } from '../src/corrected.ts'
import { decodeCcidDescriptor } from '../src/descriptors.ts'
import { driverClock, inTime, stand } from './stand.ts'

// Loaded with the first such reader: real time, of which the hand-moved clock knows nothing.
beforeAll(() => import('../src/tpdu/activate.ts'))

/** The profile under another number and firmware, with habits. */
function as(
  profile: ReaderProfile,
  id: string,
  habits: FirmwareHabits = {},
  deviceVersion = profile.deviceVersion,
): ReaderProfile {
  const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
  return { ...profile, vendorId, productId, deviceVersion, habits }
}

/** The descriptor of the profile with another byte or number at an offset. */
function withBytes(profile: ReaderProfile, at: number, hex: string): ReaderProfile {
  const { ccidDescriptor: told } = profile
  return { ...profile, ccidDescriptor: `${told.slice(0, 2 * at)}${hex}${told.slice(2 * at + hex.length)}` }
}

const VOLTAGES_AT = 5
const FEATURES_AT = 40

const echo = (connection: CardConnection, bytes: number): Promise<number> =>
  connection.transaction({}, async (channel) => {
    const data = new Uint8Array(bytes).fill(9)
    const command = { name: 'ECHO', cla: 0, ins: 0x10, p1: 0, p2: 0, data, responseBytes: 256 }
    return (await exchange(channel, command)).data.length
  })

async function connected(profile: ReaderProfile, contact: ContactOptions = {}) {
  const made = stand({ profile })
  made.reader.insert(createEchoCard(), 0, contact)
  const slot = await made.slot()
  return { ...made, slot, connect: () => inTime(made.clock, slot.connect()) }
}

describe('an answer in chained parts at short APDU level', () => {
  it.each([
    ['Diebold Nixdorf PN7362au', '2f7c:6007', 0x0101],
    ['Cherry KC 1000 SC 1.00', '046a:00a1', 0x0100],
    ['any other reader', '1234:5678', 0x0100],
  ])('is put together: %s', async (_, id, firmware) => {
    const { connect, source } = await connected(
      as(readerProfiles.omnikey3021, id, { answerPartBytes: 128 }, firmware),
    )
    expect(await echo(await connect(), 250)).toBe(250)
    await source.close()
  })
})

it('Kobil TriBank says extended APDUs and is sent short ones', async () => {
  const limitsOf = async (id: string) => {
    const made = stand({ profile: as(readerProfiles.dualiAbcm6, id), card: createPivCard() })
    const connection = await inTime(made.clock, (await made.slot()).connect())
    const { extended } = await connection.transaction({}, async (channel) => channel.limits)
    await made.source.close()
    return extended
  }
  expect(await limitsOf('1db2:0600')).toBe(true)
  expect(await limitsOf('0d46:3010')).toBe(false)
})

describe('SafeNet eToken 5110', () => {
  /** A card that says nothing any more after S(IFS request). */
  async function askedForIfsd(firmware: number) {
    let isLost = false
    const line: ContactOptions['line'] = (bytes, to) => {
      if (to === 'card' && bytes[1] === 0xc1) isLost = true
      return isLost ? undefined : bytes
    }
    const made = stand({ profile: as(readerProfiles.scr331, '0529:0620', {}, firmware) })
    made.reader.insert(createPivCard({ protocols: 'T=1' }), 0, { line })
    const work = made.slot().then((slot) => slot.connect())
    const connection = await inTime(made.clock, work).catch(() => undefined)
    const select = connection?.transaction({}, (channel) =>
      exchange(channel, {
        name: 'SELECT',
        cla: 0,
        ins: 0xa4,
        p1: 4,
        p2: 0,
        data: Uint8Array.of(0xa0, 0, 0, 3, 8),
        responseBytes: 256,
      }),
    )
    const sw = select && (await inTime(made.clock, select).catch(() => undefined))?.sw
    await inTime(made.clock, made.source.close())
    return { isLost, sw }
  }

  it.each([0x0012, 0x0013])('with firmware %i is sent no S(IFS request)', async (firmware) => {
    expect(await askedForIfsd(firmware)).toEqual({ isLost: false, sw: 0x9000 })
  })

  it('with later firmware is sent one', async () => {
    expect(await askedForIfsd(0x0014)).toEqual({ isLost: true, sw: undefined })
  })
})

describe('a card that wakes up only if it was powered off before', () => {
  it('is powered off first by Kobil IDToken, and at each reset', async () => {
    const { connect, reader, source } = await connected(
      as(readerProfiles.dualiAbcm6, '0d46:301d', { needsPowerOff: true }),
    )
    const connection = await connect()
    expect(reader.counters.messages.get('IccPowerOn')).toBe(1)
    await connection.transaction({}, (channel) => channel.reset('warm'))
    expect(reader.counters.messages.get('IccPowerOn')).toBe(2)
    await source.close()
  })

  it('is powered off first by the second interface of 0424:1202, and not by the first', async () => {
    const clock = new HandClock()
    const { interfaces } = compositeProfiles.identivUtrust4701
    const device = new VirtualCompositeReader(
      {
        ...compositeProfiles.identivUtrust4701,
        vendorId: 0x0424,
        productId: 0x1202,
        interfaces: interfaces.map((face) => ({ ...face, interfaceName: 'SEC1210' })),
      },
      { clock },
    )
    const bus = new VirtualBus()
    bus.plug(device)
    const source = ccidSlots({ usb: bus.context({ protectedClasses: false }), clock: driverClock(clock) })
    const slots = await firstValueFrom(source.slots$)
    // One name for both would tell nobody which is which.
    expect(slots.map(({ name }) => name.replace(/^.*\(/, '('))).toEqual(['(SEC1210)', '(SEC1210 2)'])
    for (const [at, slot] of slots.entries()) {
      device.reader(at).insert(createEchoCard())
      await inTime(clock, slot.connect())
    }
    const offs = device.readers.map(({ counters }) => counters.messages.get('IccPowerOff') ?? 0)
    expect(offs).toEqual([0, 1])
    await source.close()
  })
})

describe('a reader that needs most of a minute for an answer', () => {
  const slowly = async (id: string): Promise<string> => {
    const { connect, reader, source, clock } = await connected(as(readerProfiles.dualiAbcm6, id))
    const connection = await connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 50_000 })
    const work = echo(connection, 8).then(String, (error: WebtokiError) => error.code)
    const came = await inTime(clock, work)
    await inTime(clock, source.close())
    return came
  }

  it('is waited for if it is a CL1356', async () => {
    expect(await slowly('0b81:0200')).toBe('8')
    expect(await slowly('1db2:0600')).toBe('reader/timeout')
  })
})

describe('a reader in EMV mode', () => {
  const habits: FirmwareHabits = { emvMode: { error: 0xbb, escape: '1f01' } }

  it.each(['08e6:4433', '046a:0005'])('%s is brought back to ISO 7816 by Escape 1F 01', async (id) => {
    const { connect, reader, source } = await connected(as(readerProfiles.gemPc433Sl, id, habits))
    expect(await echo(await connect(), 8)).toBe(8)
    expect(reader.counters.messages.get('Escape')).toBe(1)
    await source.close()
  })

  it('of another number is told as what it is, and sent no vendor command', async () => {
    const { connect, reader, source } = await connected(as(readerProfiles.gemPc433Sl, '1234:5678', habits))
    await expect(connect()).rejects.toMatchObject({ code: 'reader/refused', bError: 0xbb })
    expect(reader.counters.messages.get('Escape')).toBeUndefined()
    await source.close()
  })

  it('that does not come back ends in its refusal', async () => {
    const stubborn: FirmwareHabits = { emvMode: { error: 0xbb, escape: 'ffff' } }
    const made = await connected({
      ...as(readerProfiles.gemPc433Sl, '08e6:4433', stubborn),
      escapes: ['1f01'],
    })
    await expect(made.connect()).rejects.toMatchObject({ code: 'reader/refused', bError: 0xbb })
    await made.source.close()
  })
})

describe('firmware that is known to be faulty', () => {
  it('is told among the problems, and the reader is used all the same', async () => {
    const { source, slot, connect } = await connected({ ...readerProfiles.scr331, deviceVersion: 0x0515 })
    expect(await firstValueFrom(source.problems$)).toMatchObject([
      { vendorId: 0x04e6, productId: 0xe001, error: { code: 'reader/firmware' } },
    ])
    expect((await firstValueFrom(source.problems$))[0]?.error.message).toMatch(/5\.15.*before 5\.16/)
    expect(await echo(await connect(), 8)).toBe(8)
    expect(await firstValueFrom(slot.presence$)).toBe('present')
    await source.close()
  })

  it('is not told of a version that is not', async () => {
    const { source } = await connected({ ...readerProfiles.scr331, deviceVersion: 0x0516 })
    expect(await firstValueFrom(source.problems$)).toEqual([])
    await source.close()
  })
})

it('ActivCard V2 says ICCD version A and is driven over its bulk endpoints', async () => {
  const { connect, source } = await connected(
    as(readerProfiles.scr331, '09c3:0008', { interfaceProtocol: 1 }, 0x0203),
  )
  expect(await echo(await connect(), 8)).toBe(8)
  await source.close()
})

it('MySmartPad says no voltage and finds none: its card is powered with 5 V', async () => {
  const noVoltage = withBytes(withBytes(readerProfiles.gemPcTwin, VOLTAGES_AT, '00'), FEATURES_AT, '30020100')
  const powerSelects: number[] = []
  const made = stand({ profile: as(noVoltage, '09be:0002') })
  const [device] = await made.usb.getDevices()
  if (device === undefined) throw new Error('There is no device.')
  const transferOut = device.transferOut.bind(device)
  device.transferOut = (endpoint, data) => {
    const message = new Uint8Array(data as ArrayBuffer)
    if (message[0] === 0x62) powerSelects.push(message[7] as number)
    return transferOut(endpoint, data)
  }
  made.reader.insert(createEchoCard())
  await inTime(
    made.clock,
    made.slot().then((slot) => slot.connect().catch(() => undefined)),
  )
  expect(new Set(powerSelects)).toEqual(new Set([1]))
  await made.source.close()
})

it('MySmartPad tells protocols and clocks one byte behind their place: T=0 and T=1 at 4 MHz', () => {
  // readers/MySmartPad.txt of libccid, from the numbers that it prints.
  const descriptor = decodeCcidDescriptor(
    Uint8Array.from(
      Buffer.from(
        '36ff0001000000030000' +
          '00a00f0000a00f0000002a000008f80100fe000000000000000000000003' +
          '300201000f010000000000000001',
        'hex',
      ),
    ),
  )
  const face = { descriptor, interfaceProtocol: 0, endpoints: [] }
  const mended = corrected({ vendorId: 0x09be, productId: 2 }, face).descriptor
  expect(mended).toMatchObject({
    protocols: 3,
    defaultClockKHz: 4000,
    maximumClockKHz: 4000,
    dataRateBps: 10_752,
    maxDataRateBps: 129_032,
    maxIfsdBytes: 254,
    maxMessageBytes: 271,
    level: 'tpdu',
  })
  expect(corrected({ vendorId: 0x1234, productId: 2 }, face).descriptor).toMatchObject(descriptor)
})

it('parameters whose length the reader left at 0 are told', async () => {
  const { slot, connect, source } = await connected(
    as(readerProfiles.scr331, '1234:5678', { hidesParameterLength: true }),
  )
  await connect()
  const { data } = await readerControls(slot).getParameters()
  expect([5, 7]).toContain(data.length)
  await source.close()
})

it('a device whose descriptor says that it is a token is a token, whatever it is called', async () => {
  const kindOf = async (profile: ReaderProfile) => {
    const made = stand({ profile })
    const { kind } = await made.slot()
    await made.source.close()
    return kind
  }
  // Bit 0x800 of dwFeatures: Rutoken lite has it, SCR331 has not.
  expect(await kindOf({ ...readerProfiles.rutokenLite, product: 'VaultIC420 Smart Object' })).toBe('token')
  expect(await kindOf(readerProfiles.scr331)).toBe('contact')
})
