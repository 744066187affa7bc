/**
 * Each quirk of the table: on a virtual reader that has it, and on one with other ids that shows the effect without
 * it.
 */
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
import { driverClock, inTime, setUp } from './set-up.ts'

// The module is loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => import('../src/tpdu/activate.ts'))

/** The profile with other ids, firmware and habits. */
function as(
  profile: ReaderProfile,
  id: string,
  habits: FirmwareHabits = {},
  deviceVersion = profile.deviceVersion,
): ReaderProfile {
  const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
  return { ...profile, vendorId, productId, deviceVersion, habits }
}

/** The profile with one byte or number of its descriptor replaced. */
function withBytes(profile: ReaderProfile, at: number, hex: string): ReaderProfile {
  const { ccidDescriptor } = profile
  return {
    ...profile,
    ccidDescriptor: `${ccidDescriptor.slice(0, 2 * at)}${hex}${ccidDescriptor.slice(2 * at + hex.length)}`,
  }
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
  const made = setUp({ profile })
  made.reader.insert(createEchoCard(), 0, contact)
  const slot = await made.slot()
  return { ...made, slot, connect: () => inTime(made.clock, slot.connect()) }
}

describe('a chained response at short APDU level', () => {
  it.each([
    ['Diebold Nixdorf PN7362au', '2f7c:6007', 0x0101],
    ['Cherry KC 1000 SC 1.00', '046a:00a1', 0x0100],
    ['any other reader', '1234:5678', 0x0100],
  ])('is assembled on %s', async (_, id, firmware) => {
    const { connect, source } = await connected(
      as(readerProfiles.omnikey3021, id, { responsePartBytes: 128 }, firmware),
    )
    expect(await echo(await connect(), 250)).toBe(250)
    await source.close()
  })
})

it('Kobil TriBank states extended APDUs and gets short ones', async () => {
  const limitsOf = async (id: string) => {
    const made = setUp({ profile: as(readerProfiles.dualiAbcm6, id), card: createPivCard() })
    const connection = await inTime(made.clock, (await made.slot()).connect())
    const { extended } = await connection.transaction({}, async (channel) => channel.limits)
    await made.source.close()
    return extended
  }
  expect(await limitsOf('1db2:0600')).toBe(true)
  expect(await limitsOf('0d46:3010')).toBe(false)
})

describe('SafeNet eToken 5110', () => {
  /** A card that no longer responds after S(IFS request). */
  async function askedForIfsd(firmware: number) {
    let isLost = false
    const line: ContactOptions['line'] = (bytes, to) => {
      if (to === 'card' && bytes[1] === 0xc1) isLost = true
      return isLost ? undefined : bytes
    }
    const made = setUp({ profile: as(readerProfiles.scr331, '0529:0620', {}, firmware) })
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

  it.each([0x0012, 0x0013])('with firmware %i gets no S(IFS request)', async (firmware) => {
    expect(await askedForIfsd(firmware)).toEqual({ isLost: false, sw: 0x9000 })
  })

  it('with later firmware gets an S(IFS request)', async () => {
    expect(await askedForIfsd(0x0014)).toEqual({ isLost: true, sw: undefined })
  })
})

describe('a card that powers on only after it was powered off', () => {
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

  it('is powered off first on the second interface of 0424:1202, but not on the first', async () => {
    const clock = new HandClock()
    const { interfaces } = compositeProfiles.identivUtrust4701
    const device = new VirtualCompositeReader(
      {
        ...compositeProfiles.identivUtrust4701,
        vendorId: 0x0424,
        productId: 0x1202,
        interfaces: interfaces.map((usbInterface) => ({ ...usbInterface, interfaceName: 'SEC1210' })),
      },
      { clock },
    )
    const bus = new VirtualBus()
    bus.plug(device)
    const source = ccidSlots({ usb: bus.context({ protectedClasses: false }), clock: driverClock(clock) })
    const slots = await firstValueFrom(source.slots$)
    // Without the interface names, both slots would have the same name.
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

describe('a reader that needs most of a minute for a response', () => {
  const slowly = async (id: string): Promise<string> => {
    const { connect, reader, source, clock } = await connected(as(readerProfiles.dualiAbcm6, id))
    const connection = await connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 50_000 })
    const work = echo(connection, 8).then(String, (error: WebtokiError) => error.code)
    const came = await inTime(clock, work)
    await inTime(clock, source.close())
    return came
  }

  it('does not time out if it is a CL1356', async () => {
    expect(await slowly('0b81:0200')).toBe('8')
    expect(await slowly('1db2:0600')).toBe('reader/timeout')
  })
})

describe('a reader in EMV mode', () => {
  const habits: FirmwareHabits = { emvMode: { error: 0xbb, escape: '1f01' } }

  it.each(['08e6:4433', '046a:0005'])(
    'with id %s is returned to ISO 7816 mode by Escape 1F 01',
    async (id) => {
      const { connect, reader, source } = await connected(as(readerProfiles.gemPc433Sl, id, habits))
      expect(await echo(await connect(), 8)).toBe(8)
      expect(reader.counters.messages.get('Escape')).toBe(1)
      await source.close()
    },
  )

  it('with another id is reported as refused, and gets no vendor command', async () => {
    const { connect, reader, source } = await connected(as(readerProfiles.gemPc433Sl, '1234:5678', habits))
    await expect(connect()).rejects.toMatchObject({ code: 'reader/refused', bError: 0xbb })
    expect(reader.counters.messages.get('Escape')).toBeUndefined()
    await source.close()
  })

  it('that stays in EMV mode ends in its refusal', async () => {
    const stubborn: FirmwareHabits = { emvMode: { error: 0xbb, escape: 'ffff' } }
    const made = await connected({
      ...as(readerProfiles.gemPc433Sl, '08e6:4433', stubborn),
      escapes: ['1f01'],
    })
    await expect(made.connect()).rejects.toMatchObject({ code: 'reader/refused', bError: 0xbb })
    await made.source.close()
  })
})

describe('faulty firmware', () => {
  it('is listed in problems$, and the reader is used all the same', async () => {
    const { source, slot, connect } = await connected({ ...readerProfiles.scr331, deviceVersion: 0x0515 })
    expect(await firstValueFrom(source.problems$)).toMatchObject([
      { vendorId: 0x04e6, productId: 0xe001, error: { code: 'reader/firmware' } },
    ])
    expect((await firstValueFrom(source.problems$))[0]?.error.message).toMatch(/5\.15.*before 5\.16/)
    expect(await echo(await connect(), 8)).toBe(8)
    expect(await firstValueFrom(slot.presence$)).toBe('present')
    await source.close()
  })

  it('is not reported for a good version', async () => {
    const { source } = await connected({ ...readerProfiles.scr331, deviceVersion: 0x0516 })
    expect(await firstValueFrom(source.problems$)).toEqual([])
    await source.close()
  })
})

it('ActivCard V2 states ICCD version A and is used over its bulk endpoints', async () => {
  const { connect, source } = await connected(
    as(readerProfiles.scr331, '09c3:0008', { interfaceProtocol: 1 }, 0x0203),
  )
  expect(await echo(await connect(), 8)).toBe(8)
  await source.close()
})

it('MySmartPad announces no voltage, and its card is powered with 5 V', async () => {
  const noVoltage = withBytes(withBytes(readerProfiles.gemPcTwin, VOLTAGES_AT, '00'), FEATURES_AT, '30020100')
  const powerSelects: number[] = []
  const made = setUp({ profile: as(noVoltage, '09be:0002') })
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

it('MySmartPad states protocols and clocks one byte too late: T=0 and T=1 at 4 MHz', () => {
  // readers/MySmartPad.txt of libccid, rebuilt from the numbers it contains.
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
  const usbInterface = { descriptor, interfaceProtocol: 0, endpoints: [] }
  const correctedDescriptor = corrected({ vendorId: 0x09be, productId: 2 }, usbInterface).descriptor
  expect(correctedDescriptor).toMatchObject({
    protocols: 3,
    defaultClockKHz: 4000,
    maximumClockKHz: 4000,
    dataRateBps: 10_752,
    maxDataRateBps: 129_032,
    maxIfsdBytes: 254,
    maxMessageBytes: 271,
    level: 'tpdu',
  })
  expect(corrected({ vendorId: 0x1234, productId: 2 }, usbInterface).descriptor).toMatchObject(descriptor)
})

it('Parameters with a dwLength of 0 are returned', async () => {
  const { slot, connect, source } = await connected(
    as(readerProfiles.scr331, '1234:5678', { hidesParameterLength: true }),
  )
  await connect()
  const { data } = await readerControls(slot).getParameters()
  expect([5, 7]).toContain(data.length)
  await source.close()
})

it('a device whose descriptor states that it is a token has kind "token", whatever its name', async () => {
  const kindOf = async (profile: ReaderProfile) => {
    const made = setUp({ profile })
    const { kind } = await made.slot()
    await made.source.close()
    return kind
  }
  // Bit 0x800 of dwFeatures: Rutoken Lite has it, SCR331 does not.
  expect(await kindOf({ ...readerProfiles.rutokenLite, product: 'VaultIC420 Smart Object' })).toBe('token')
  expect(await kindOf(readerProfiles.scr331)).toBe('contact')
})
