/** Limits of a whole exchange: the length of commands and responses by the capacity of a message, and `maxWaitMs`. */
import { type CardConnection, exchange, WebtokiError } from '@webtoki/apdu'
import {
  characterReaderProfiles,
  createPivCard,
  type ReaderProfile,
  readerProfiles,
} from '@webtoki/simulator'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import { beforeAll, describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

const nineA = pivSlot(0x9a) as PivSlot

// The modules are loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => Promise.all([import('../src/tpdu/activate.ts'), import('../src/pin-pad.ts')]))

/** The same reader with another dwMaxCCIDMessageLength. */
function withCapacity(profile: ReaderProfile, bytes: number): ReaderProfile {
  const hex = profile.ccidDescriptor
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes)
  return { ...profile, ccidDescriptor: `${hex.slice(0, 88)}${length.toString('hex')}${hex.slice(96)}` }
}

/** SELECT and the certificate of 9A, which takes several responses of 256 bytes. */
async function certificate(connection: CardConnection): Promise<Uint8Array | undefined> {
  const applet = new PivApplet(connection)
  return connection.transaction(applet, async (channel) => {
    await applet.select(channel)
    return applet.readObject(channel, nineA.certificateTag)
  })
}

describe.each([
  // SCM 04E6:5111 and 5120 and HP 03F0:0824 state 263, Bluink states 240. A short APDU needs at least 271.
  ['TPDU level', readerProfiles.scr331, 'T=0', [64, 240, 263, 268, 271]],
  ['TPDU level', readerProfiles.gemPcTwin, 'T=1', [64, 240, 263, 271]],
  ['short APDU level', readerProfiles.omnikey3021, 'T=0', [64, 240, 263, 268, 271]],
  ['short APDU level', readerProfiles.omnikey3021, 'T=1', [64, 240, 263, 268, 271]],
  ['extended APDU level', readerProfiles.dualiAbcm6, 'T=0', [64, 240, 263, 271]],
] as const)('a reader at %s', (_, profile, protocols, sizes) => {
  it.each(sizes.map((bytes) => [protocols, bytes] as const))(
    'reads a whole certificate over %s in messages of at most %i bytes',
    async (__, bytes) => {
      const made = setUp({ profile: withCapacity(profile, bytes) })
      const card = createPivCard({ protocols })
      made.reader.insert(card)
      const expected = await setUp({ card: createPivCard({ protocols }) })
        .slot()
        .then((slot) => slot.connect())
        .then(certificate)
      const connection = await inTime(made.clock, (await made.slot()).connect())
      expect(await inTime(made.clock, certificate(connection))).toEqual(expected)
      await made.source.close()
    },
  )
})

it.each([
  ['TPDU', readerProfiles.scr331],
  ['short APDU', readerProfiles.omnikey3021],
])('a channel at %s level announces no longer response than a message can carry', async (_, profile) => {
  const made = setUp({ profile: withCapacity(profile, 240) })
  made.reader.insert(createPivCard({ protocols: 'T=0' }))
  const connection = await inTime(made.clock, (await made.slot()).connect())
  const limits = await connection.transaction({}, async (channel) => channel.limits)
  expect(limits).toMatchObject({ commandBytes: 230, responseBytes: 228 })
  await made.source.close()
})

it('GET RESPONSE after a warning requests no more than a message can carry', async () => {
  const made = setUp({ profile: withCapacity(readerProfiles.scr331, 240) })
  const data = Uint8Array.from({ length: 200 }, (_, at) => at)
  made.reader.insert(
    {
      atr: createPivCard({ protocols: 'T=0' }).atr,
      reset: () => {},
      powerOff: () => {},
      process: async () => Uint8Array.of(...data, ...data.subarray(0, 56), 0x62, 0x82),
    },
    0,
    { t0: { warnsFirst: true } },
  )
  const connection = await inTime(made.clock, (await made.slot()).connect())
  const response = await inTime(
    made.clock,
    connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0xcb, 0x3f, 0xff, 3, 0x5c, 1, 0x7e, 0)),
    ),
  )
  expect(response).toHaveLength(258)
  expect([...response.subarray(-2)]).toEqual([0x62, 0x82])
  await made.source.close()
})

describe('maxWaitMs limits a whole exchange', () => {
  it.each([
    ['parts of a chained command and response', withCapacity(readerProfiles.dualiAbcm6, 64), 'T=1'],
    ['APDUs of a chained command', withCapacity(readerProfiles.scr331, 64), 'T=0'],
    ['blocks of T=1', withCapacity(readerProfiles.scr331, 64), 'T=1'],
    ['characters of T=0', characterReaderProfiles.winbond, 'T=0'],
  ] as const)('with %s that each request time', async (_, profile, protocols) => {
    const made = setUp({ profile })
    made.reader.insert(createPivCard({ protocols }))
    const connection = await inTime(made.clock, (await made.slot()).connect())
    // Each part requests 150 ms once: less than the limit, but more in total.
    for (let part = 0; part < 20; part++)
      made.reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 1, delayMs: 150 })
    const startedMs = made.clock.nowMs
    const notifications: string[] = []
    const work = connection.transaction({}, async (channel) => {
      const command = { name: 'SELECT', cla: 0, ins: 0xa4, p1: 4, p2: 0 }
      const data = new Uint8Array(600).fill(7)
      await exchange(
        channel,
        { ...command, data, responseBytes: 256 },
        { maxWaitMs: 300, onWait: (why) => notifications.push(why) },
      )
    })
    const error: unknown = await inTime(made.clock, work).catch((reason: unknown) => reason)
    // The clock moves in steps of 250 ms.
    expect(error).toBeInstanceOf(WebtokiError)
    expect(made.clock.nowMs - startedMs).toBeLessThanOrEqual(1000)
    expect(notifications).toContain('time-extension')
    await inTime(made.clock, made.source.close())
  })
})

it('a PIN entry may take longer than the limit for the card’s time extensions', async () => {
  const made = setUp({ profile: readerProfiles.cherrySt2000 })
  const card = createPivCard({ protocols: 'T=1' })
  made.reader.insert(card)
  made.reader.person = () =>
    new Promise((resolve) => void made.clock.after(20_000, () => resolve({ digits: '123456' })))
  const connection = await inTime(made.clock, (await made.slot()).connect())
  await inTime(
    made.clock,
    new PivApplet(connection).transaction(async () => {}),
  )
  made.reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 1 }, { on: 'Secure' })
  const verify = connection.transaction({}, async ({ pinPad }) =>
    pinPad?.verify(
      {
        command: Uint8Array.of(0, 0x20, 0, 0x80, 8, ...new Uint8Array(8).fill(0xff)),
        pinOffset: 0,
        blockBytes: 8,
        format: 'ascii',
        minDigits: 6,
        maxDigits: 8,
      },
      { maxWaitMs: 300 },
    ),
  )
  expect(await inTime(made.clock, verify)).toEqual(Uint8Array.of(0x90, 0))
  await made.source.close()
})
