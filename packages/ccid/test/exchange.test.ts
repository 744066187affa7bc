import { CardAbsentError, MalformedError, TransactionError } from '@webtoki/apdu'
import { createEchoCard, readerProfiles, ScriptedCard } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

const owner = {}

function extendedEcho(dataBytes: number): Uint8Array {
  const data = Uint8Array.from({ length: dataBytes }, (_, at) => (at * 7) & 0xff)
  return Uint8Array.of(0, 0x10, 0, 0, 0, dataBytes >> 8, dataBytes & 0xff, ...data, 0, 0)
}

function shortEcho(dataBytes: number): Uint8Array {
  const data = Uint8Array.from({ length: dataBytes }, (_, at) => (at * 7) & 0xff)
  return Uint8Array.of(0, 0x10, 0, 0, dataBytes, ...data, 0)
}

describe('an exchange at extended level', () => {
  it('returns APDUs of every length around the limits of packets and messages', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const capacity = 1014 - 10
    const borders = [
      1,
      43,
      44,
      45,
      52,
      53,
      107,
      108,
      109,
      300,
      capacity - 10,
      capacity - 9,
      capacity - 8,
      capacity,
      1024,
      2048,
      4096,
    ]
    for (const dataBytes of borders) {
      const response = await connection.transaction(owner, (channel) =>
        channel.transmit(extendedEcho(dataBytes)),
      )
      expect(response.length, `${dataBytes} bytes`).toBe(dataBytes + 2)
      expect(response.slice(0, -2)).toEqual(extendedEcho(dataBytes).slice(7, -2))
    }
    await source.close()
  })

  it('carries the longest APDU in both directions', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const response = await connection.transaction(owner, (channel) => channel.transmit(extendedEcho(65_535)))
    expect(response.length).toBe(65_537)
    await source.close()
  })

  it('takes one bulk-OUT and one bulk-IN if the APDU fits a message', async () => {
    const { slot, source, reader } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    await connection.transaction(owner, async (channel) => {
      for (let i = 0; i < 10; i++) await channel.transmit(extendedEcho(200))
    })
    expect(reader.counters.apdus).toBe(10)
    expect(reader.counters.usbTransfers).toBe(20)
    await source.close()
  })

  it('does not hang on readers that omit the empty packet after a response of whole packets', async () => {
    const profile = { ...readerProfiles.dualiAbcm6, emptyPackets: false }
    const { slot, source } = setUp({ profile, card: createEchoCard() })
    const connection = await (await slot()).connect()
    // Omits 42 bytes: with header and status word they fill a packet of 64, which this reader handles wrongly. All
    // other lengths must work.
    for (const dataBytes of [41, 43, 44, 51, 53]) {
      const response = await connection.transaction(owner, (channel) =>
        channel.transmit(extendedEcho(dataBytes)),
      )
      expect(response.length).toBe(dataBytes + 2)
    }
    await source.close()
  })

  it('uses extended APDUs only if the card states them too', async () => {
    const { slot, source } = setUp({ card: new ScriptedCard([], '3b 00') })
    const connection = await (await slot()).connect()
    await connection.transaction(owner, async ({ limits }) => {
      expect(limits).toEqual({ extended: false, commandBytes: 261, responseBytes: 256 })
    })
    await source.close()
  })
})

describe('a sensitive command', () => {
  it.each([
    ['extended APDUs', readerProfiles.dualiAbcm6],
    ['short APDUs', readerProfiles.omnikey3021],
    ['T=1', readerProfiles.scr331],
  ])('leaves none of its data in the buffers given to the browser at level %s', async (_, profile) => {
    const { slot, source, usb } = setUp({ profile, card: createEchoCard() })
    const [device] = await usb.getDevices()
    const sent: Uint8Array[] = []
    const transferOut = device?.transferOut.bind(device)
    Object.assign(device as USBDevice, {
      transferOut: (endpoint: number, data: Uint8Array<ArrayBuffer>) => {
        sent.push(data)
        return transferOut?.(endpoint, data)
      },
    })
    const connection = await (await slot()).connect()
    sent.length = 0
    await connection.transaction(owner, (channel) => channel.transmit(shortEcho(8), { sensitive: true }))
    const messages = sent.filter(([type]) => type === 0x6f)
    expect(messages.length).toBeGreaterThan(0)
    for (const message of messages) expect(message.subarray(10).every((byte) => byte === 0)).toBe(true)
    await source.close()
  })
})

describe('an exchange at short level', () => {
  it('returns APDUs of every length', async () => {
    const { slot, source } = setUp({ profile: readerProfiles.omnikey3021, card: createEchoCard() })
    const connection = await (await slot()).connect()
    for (let dataBytes = 1; dataBytes <= 255; dataBytes++) {
      const response = await connection.transaction(owner, (channel) =>
        channel.transmit(shortEcho(dataBytes)),
      )
      expect(response.length).toBe(dataBytes + 2)
    }
    await source.close()
  })

  it('refuses what the reader cannot carry before anything is sent', async () => {
    const { slot, source, reader } = setUp({ profile: readerProfiles.omnikey3021, card: createEchoCard() })
    const connection = await (await slot()).connect()
    const work = connection.transaction(owner, (channel) => channel.transmit(extendedEcho(300)))
    await expect(work).rejects.toBeInstanceOf(MalformedError)
    expect(reader.counters.apdus).toBe(0)
    await source.close()
  })
})

describe('a connection', () => {
  it('is not opened for an aborted caller: the card gets no power, and the slot stays free', async () => {
    const { slot, source, reader } = setUp({ card: createEchoCard() })
    const cardSlot = await slot()
    await expect(cardSlot.connect({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'work/aborted',
    })
    expect(reader.counters.messages.get('IccPowerOn') ?? 0).toBe(0)
    const connection = await cardSlot.connect()
    const response = await connection.transaction(owner, (channel) => channel.transmit(shortEcho(1)))
    expect(response).toHaveLength(3)
    await source.close()
  })
})

describe('a transaction', () => {
  it('does not start for an aborted caller, or on a connection that has ended', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    let begun = 0
    const work = async () => {
      begun++
    }
    const left = connection.transaction(owner, work, { signal: AbortSignal.abort('enough') })
    await expect(left).rejects.toMatchObject({ code: 'work/aborted', cause: 'enough' })
    await connection.close()
    await expect(connection.transaction(owner, work)).rejects.toMatchObject({
      code: 'card/gone',
      why: 'closed',
    })
    expect(begun).toBe(0)
    await source.close()
  })

  it('reports "undisturbed" to an owner if no other owner came in between', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const seen: boolean[] = []
    const look = (who: object): Promise<void> =>
      connection.transaction(who, async (channel) => {
        seen.push(channel.undisturbed)
        await channel.transmit(shortEcho(1))
      })
    const other = {}
    await look(owner)
    await look(owner)
    await look(other)
    await look(owner)
    await connection.transaction(owner, (channel) => channel.reset('warm'))
    await look(owner)
    expect(seen).toEqual([false, true, false, false, false])
    await source.close()
  })

  it('makes the others wait in the order of their calls', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const order: string[] = []
    const run = (who: string): Promise<void> =>
      connection.transaction({}, async (channel) => {
        order.push(`${who} begins`)
        await channel.transmit(shortEcho(5))
        order.push(`${who} ends`)
      })
    await Promise.all([run('a'), run('b'), run('c')])
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    await source.close()
  })

  it('does not start inside itself, and cannot be used after its end', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const nested = connection.transaction(owner, async (channel) =>
      connection.transaction(channel, async () => {}),
    )
    await expect(nested).rejects.toBeInstanceOf(TransactionError)
    let escaped: Parameters<Parameters<typeof connection.transaction>[1]>[0] | undefined
    await connection.transaction(owner, async (channel) => {
      escaped = channel
    })
    await expect(escaped?.transmit(shortEcho(1))).rejects.toBeInstanceOf(TransactionError)
    await expect(escaped?.reset('warm')).rejects.toBeInstanceOf(TransactionError)
    await source.close()
  })

  it('sends nothing for an aborted caller, even while another command of its own is pending', async () => {
    const { slot, source, reader } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    await connection.transaction(owner, async (channel) => {
      const gone = channel.transmit(shortEcho(1), { signal: AbortSignal.abort() })
      await expect(gone).rejects.toMatchObject({ code: 'work/aborted' })
      const leaves = new AbortController()
      const first = channel.transmit(shortEcho(2))
      const second = channel.transmit(shortEcho(3), { signal: leaves.signal })
      leaves.abort()
      expect(await first).toHaveLength(4)
      await expect(second).rejects.toMatchObject({ code: 'work/aborted' })
    })
    expect(reader.counters.apdus).toBe(1)
    await source.close()
  })

  it('releases the lock even if its work throws or returns no promise', async () => {
    const { slot, source, clock } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    const noPromise = (() => 'no promise') as unknown as () => Promise<string>
    const throws = (): Promise<never> => {
      throw new Error('at once')
    }
    const outcomes = Promise.allSettled([
      connection.transaction(owner, async (channel) => (await channel.transmit(shortEcho(1))).length),
      connection.transaction(owner, noPromise),
      connection.transaction(owner, throws),
      connection.transaction(owner, async (channel) => (await channel.transmit(shortEcho(2))).length),
    ])
    expect(await inTime(clock, outcomes)).toMatchObject([
      { value: 3 },
      { value: 'no promise' },
      { reason: { message: 'at once' } },
      { value: 4 },
    ])
    await source.close()
  })

  it('can be aborted while it waits and while the card works, without affecting the next one', async () => {
    const { slot, source, reader, clock } = setUp({ card: createEchoCard() })
    const connection = await (await slot()).connect()
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    const first = new AbortController()
    const working = connection.transaction(owner, (channel) => channel.transmit(shortEcho(3)), {
      signal: first.signal,
    })
    const waiting = new AbortController()
    const queued = connection.transaction({}, (channel) => channel.transmit(shortEcho(4)), {
      signal: waiting.signal,
    })
    const last = connection.transaction({}, (channel) => channel.transmit(shortEcho(5)))
    waiting.abort()
    await expect(queued).rejects.toMatchObject({ code: 'work/aborted' })
    first.abort()
    await expect(working).rejects.toMatchObject({ code: 'work/aborted' })
    expect(reader.counters.apdus).toBe(0)
    await clock.advance(1000)
    expect((await last).length).toBe(7)
    expect(reader.counters.apdus).toBe(2)
    await source.close()
  })
})

describe('connect()', () => {
  it('rejects if there is no card', async () => {
    const empty = setUp()
    await expect((await empty.slot()).connect()).rejects.toBeInstanceOf(CardAbsentError)
    await empty.source.close()
  })

  it('rejects while another connection is open, and works after its close', async () => {
    const { slot, source } = setUp({ card: createEchoCard() })
    const cardSlot = await slot()
    const connection = await cardSlot.connect()
    await expect(cardSlot.connect()).rejects.toMatchObject({ code: 'reader/in-use' })
    await connection.close()
    const again = await cardSlot.connect()
    expect((await again.transaction(owner, (channel) => channel.transmit(shortEcho(1)))).length).toBe(3)
    await source.close()
  })
})

it('a connect() aborted during another one leaves the card with one connection', async () => {
  const { slot, source, reader, clock } = setUp({ card: createEchoCard() })
  const cardSlot = await slot()
  for (let count = 0; count < 2; count++)
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 }, { on: 'IccPowerOn' })
  const stop = new AbortController()
  const first = cardSlot.connect({ signal: stop.signal })
  stop.abort()
  await expect(first).rejects.toMatchObject({ code: 'work/aborted' })
  const second = cardSlot.connect()
  // The first power-on has ended by now, the second has not.
  await clock.advance(1500)
  await expect(cardSlot.connect()).rejects.toMatchObject({ code: 'reader/in-use' })
  await (await inTime(clock, second)).close()
  await inTime(clock, source.close())
})
