/** Readers at TPDU level: the host runs T=0 or T=1 with the card, and negotiates if the reader does not. */
import { type CardConnection, decodeResponse, exchange, NotSupportedError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import {
  type ContactOptions,
  createEchoCard,
  createPivCard,
  type PivCardOptions,
  type ReaderProfile,
  readerProfiles,
} from '@webtoki/simulator'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { inTime, setUp } from './set-up.ts'

const profiles = {
  'SCR331, which negotiates': readerProfiles.scr331,
  'GemPC Twin, where the host negotiates': readerProfiles.gemPcTwin,
  'Cherry ST-2xxx, vendor class': readerProfiles.cherrySt2000,
} as const

const nineA = pivSlot(0x9a) as PivSlot

function put(profile: ReaderProfile, options: PivCardOptions, contact: ContactOptions = {}) {
  const made = setUp({ profile })
  const card = createPivCard(options)
  made.reader.insert(card, 0, contact)
  return { ...made, card }
}

/** SELECT, the certificate of 9A, VERIFY, and the status of the card. */
async function work(made: ReturnType<typeof put>, protocol?: 'T=0' | 'T=1') {
  const slot = await made.slot()
  const connection = await slot.connect(protocol === undefined ? {} : { protocol })
  const applet = new PivApplet(connection)
  const got = await connection.transaction(applet, async (channel) => {
    await applet.select(channel)
    const object = await applet.readObject(channel, nineA.certificateTag)
    await applet.pin.verify(channel, new TextEncoder().encode('123456'))
    return object
  })
  await connection.close()
  return got
}

// The module is loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => import('../src/tpdu/activate.ts'))

describe.each(Object.entries(profiles))('%s', (_, profile) => {
  it.each([
    { protocols: 'T=1', wanted: undefined },
    { protocols: 'T=0', wanted: undefined },
    { protocols: 'T=0 and T=1', wanted: undefined },
    { protocols: 'T=0 and T=1', wanted: 'T=1' },
    { protocols: 'T=0 and T=1', wanted: 'T=0' },
  ] as const)(
    'reads a certificate and verifies a PIN: card $protocols, caller $wanted',
    async ({ protocols, wanted }) => {
      const made = put(profile, { protocols })
      const object = await inTime(made.clock, work(made, wanted))
      expect(object?.length).toBeGreaterThan(800)
      expect(made.card.pinTriesLeft).toBe(3)
      await made.source.close()
    },
  )

  it('refuses a protocol that the card lacks before anything is sent to the card', async () => {
    const made = put(profile, { protocols: 'T=0' })
    const slot = await made.slot()
    await expect(slot.connect({ protocol: 'T=1' })).rejects.toBeInstanceOf(NotSupportedError)
    expect(made.reader.counters.apdus).toBe(0)
    await made.source.close()
  })

  it('reports a card that is mute to one command, and the next connection works', async () => {
    const made = put(profile, { protocols: 'T=1' })
    const slot = await made.slot()
    const connection = await slot.connect()
    made.reader.faults.schedule({ kind: 'mute-card', ends: 'until-reset' })
    const select = (on: CardConnection) => new PivApplet(on).transaction(async () => {})
    await expect(inTime(made.clock, select(connection))).rejects.toThrow('does not respond')
    expect(made.reader.counters.apdus).toBe(0)
    const again = await inTime(made.clock, slot.connect())
    await inTime(made.clock, select(again))
    await made.source.close()
  })
})

describe('PPS negotiation by the host', () => {
  it('is used for the speed of TA1, and for a protocol that is not the first one', async () => {
    const seen: string[] = []
    const line: ContactOptions['line'] = (bytes, to) => {
      if (bytes[0] === 0xff) seen.push(`${to} ${Buffer.from(bytes).toString('hex')}`)
      return bytes
    }
    const made = put(readerProfiles.gemPcTwin, { protocols: 'T=0 and T=1' }, { line })
    await inTime(made.clock, work(made, 'T=1'))
    // TA1 96 is 4 MHz × 32 / 512 = 250000 baud; the reader supports at most 344086.
    expect(seen).toEqual(['card ff119678', 'reader ff119678'])
    await made.source.close()
  })

  it.each([
    {
      what: 'the card’s own speed if the reader lists it',
      profile: readerProfiles.hsic,
      pps: 'ff119678',
      asked: 1,
    },
    {
      what: 'the next slower listed speed: 125000 baud, not 156250',
      profile: { ...readerProfiles.hsic, dataRatesBps: [10752, 15625, 31250, 62500, 125000] },
      pps: 'ff11957b',
      asked: 1,
    },
    {
      what: 'the default speed if the reader lists no other',
      profile: readerProfiles.weneo,
      pps: undefined,
      asked: 1,
    },
    {
      what: 'the card’s own speed if the announced list does not arrive',
      profile: { ...readerProfiles.hsic, dataRatesBps: undefined },
      pps: 'ff119678',
      asked: 1,
    },
    {
      what: 'the card’s own speed if no list is announced',
      profile: readerProfiles.gemPcTwin,
      pps: 'ff119678',
      asked: 0,
    },
    {
      what: 'the reader’s choice if the reader negotiates',
      profile: readerProfiles.scr331,
      pps: undefined,
      asked: 0,
    },
  ])('leads to $what, and the rates are read once', async ({ profile: given, pps, asked }) => {
    const seen: string[] = []
    const line: ContactOptions['line'] = (bytes, to) => {
      if (bytes[0] === 0xff && to === 'card') seen.push(Buffer.from(bytes).toString('hex'))
      return bytes
    }
    const { dataRatesBps, ...rest } = given
    const profile: ReaderProfile = dataRatesBps === undefined ? rest : { ...rest, dataRatesBps }
    const made = put(profile, { protocols: 'T=1' }, { line })
    const control = vi.spyOn(made.reader, 'control')
    for (let times = 0; times < 2; times++)
      expect((await inTime(made.clock, work(made)))?.length).toBeGreaterThan(800)
    expect([...new Set(seen)]).toEqual(pps === undefined ? [] : [pps])
    const isForRates = ([{ bmRequestType, bRequest }]: (typeof control.mock.calls)[number]): boolean =>
      bmRequestType === 0xa1 && bRequest === 0x03
    expect(control.mock.calls.filter(isForRates)).toHaveLength(asked)
    await made.source.close()
  })

  it('with a card that stays silent ends in a reset and the parameters of the ATR', async () => {
    const made = put(readerProfiles.gemPcTwin, { protocols: 'T=1' }, { refusesPps: true })
    expect((await inTime(made.clock, work(made)))?.length).toBeGreaterThan(800)
    await made.source.close()
  })

  it('with a card that refuses the requested protocol rejects connect()', async () => {
    const made = put(readerProfiles.gemPcTwin, { protocols: 'T=0 and T=1' }, { refusesPps: true })
    const slot = await made.slot()
    await expect(inTime(made.clock, slot.connect({ protocol: 'T=1' }))).rejects.toBeInstanceOf(
      NotSupportedError,
    )
    await made.source.close()
  })
})

describe('a TPDU reader over T=1', () => {
  it('passes the multiplier of a time extension to the reader', async () => {
    const made = setUp({ profile: readerProfiles.scr331 })
    made.reader.insert(createPivCard({ protocols: 'T=1' }), 0, { extensions: [3] })
    const slot = await made.slot()
    const connection = await slot.connect()
    await inTime(
      made.clock,
      new PivApplet(connection).transaction(async () => {}),
    )
    await made.source.close()
    expect(made.reader.counters.apdus).toBe(1)
  })

  it('requests a short response in one block: IFSD minus the status word', async () => {
    const made = setUp({ profile: readerProfiles.scr331, card: createPivCard({ protocols: 'T=1' }) })
    const connection = await (await made.slot()).connect()
    const limits = await connection.transaction({}, async (channel) => channel.limits)
    expect(limits).toEqual({ extended: false, commandBytes: 261, responseBytes: 250 })
    await made.source.close()
  })
})

describe('a TPDU reader over T=0', () => {
  it('sends case 4 without Le, and fetches the response with GET RESPONSE', async () => {
    const made = setUp({ profile: readerProfiles.scr331, card: createEchoCard() })
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const data = new Uint8Array(200).fill(7)
    const response = await connection.transaction({}, (channel) =>
      exchange(channel, { name: 'ECHO', cla: 0, ins: 0x10, p1: 0, p2: 0, data, responseBytes: 256 }),
    )
    expect([...response.data]).toEqual([...data])
    expect(response.sw).toBe(0x9000)
    await made.source.close()
  })

  it('sends case 1 with a P3 of 00', async () => {
    const made = setUp({ profile: readerProfiles.scr331, card: createEchoCard() })
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const response = await connection.transaction({}, (channel) =>
      channel.transmit(Uint8Array.of(0, 0xaa, 0, 0)),
    )
    expect(decodeResponse(response).sw).toBe(0x6d00)
    await made.source.close()
  })
})

/** SCR331-DI: dwMaxCCIDMessageLength 263 fits blocks of 249 bytes. */
const scr331Di: ReaderProfile = {
  ...readerProfiles.scr331,
  ccidDescriptor: readerProfiles.scr331.ccidDescriptor.replace('0f010000ffff', '07010000ffff'),
}

it('a card that announces larger T=1 blocks gets none beyond the reader’s capacity', async () => {
  const { clock, reader, source, slot } = setUp({ profile: scr331Di })
  reader.insert(createEchoCard(), 0, { changesIfscTo: 254 })
  const connection = await inTime(clock, (await slot()).connect({ protocol: 'T=1' }))
  const command = Uint8Array.of(0, 0x10, 0, 0, 255, ...new Uint8Array(255).fill(7), 0)
  for (let times = 0; times < 2; times++) {
    const response = connection.transaction({}, (channel) => channel.transmit(command))
    expect([...(await inTime(clock, response))]).toEqual([...command.subarray(5, -1), 0x90, 0])
  }
  await source.close()
})
