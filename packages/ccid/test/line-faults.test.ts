/** Faults between driver and reader one by one: what is recovered, what is reported, and that the next APDU works. */
import { CardSilentError, type CardChannel, type CardConnection } from '@webtoki/apdu'
import { createEchoCard, EchoCard, type Fault, type ReaderProfile, readerProfiles } from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { inTime, setUp } from './set-up.ts'

const command = Uint8Array.of(0, 0x10, 0, 0, 3, 7, 8, 9, 0)
const response = Uint8Array.of(7, 8, 9, 0x90, 0)

/** A card with T=1 only, for readers at TPDU level. */
function cardOf(): EchoCard {
  const card = createEchoCard()
  Object.defineProperty(card, 'atr', { value: Uint8Array.of(0x3b, 0x80, 0x01, 0x81) })
  return card
}

async function connected(profile: ReaderProfile) {
  const card = cardOf()
  const made = setUp({ profile, card })
  const cardSlot = await made.slot()
  const connection = await inTime(made.clock, cardSlot.connect())
  const transmit = (on: CardConnection = connection, bytes = command): Promise<Uint8Array> =>
    inTime(
      made.clock,
      on.transaction({}, (channel: CardChannel) => channel.transmit(bytes, { timeoutMs: 3000 })),
    )
  return { ...made, card, cardSlot, connection, transmit }
}

// The module is loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => import('../src/tpdu/activate.ts'))

const apdu = readerProfiles.dualiAbcm6
const tpdu = readerProfiles.scr331

describe('sequence numbers', () => {
  it.each([
    ['APDUs', apdu],
    ['TPDUs', tpdu],
  ])('of one byte suffice for 600 exchanges of %s, with stale responses among them', async (_, profile) => {
    const { transmit, reader, card, source, clock } = await connected(profile)
    for (let count = 0; count < 600; count++) {
      if (count % 7 === 0) reader.faults.schedule({ kind: 'stale-response', ends: 'once', frames: 3 })
      expect(await transmit()).toEqual(response)
    }
    expect(card.log).toHaveLength(600)
    await inTime(clock, source.close())
  })
})

describe('a reader that is busy', () => {
  it.each(['slot-busy', 'auto-sequence'] as const)(
    'gets a message again, unless it contains a PIN, and the card executes it once: %s',
    async (kind) => {
      const { transmit, reader, card, clock, connection } = await connected(apdu)
      for (let count = 0; count < 4; count++) reader.faults.schedule({ kind, ends: 'twice' })
      expect(await transmit()).toEqual(response)
      expect(card.log).toHaveLength(1)
      expect(reader.counters.messages.get('XfrBlock')).toBe(9)

      reader.faults.schedule({ kind, ends: 'once' })
      const sensitive = connection.transaction({}, (channel) =>
        channel.transmit(command, { sensitive: true }),
      )
      await expect(inTime(clock, sensitive)).rejects.toMatchObject({ code: 'reader/refused' })
      expect(reader.counters.messages.get('XfrBlock')).toBe(10)
      expect(await transmit()).toEqual(response)
    },
  )

  it('forever causes an error with advice after a second, and works when it is idle again', async () => {
    const { transmit, reader, card, clock } = await connected(apdu)
    reader.faults.schedule({ kind: 'slot-busy', ends: 'until-reset' })
    const before = clock.nowMs
    await expect(transmit()).rejects.toThrow(/CMD_SLOT_BUSY.*Wait a moment and try again/)
    expect(clock.nowMs - before).toBeLessThan(2500)
    expect(card.log).toHaveLength(0)
    reader.faults.clear()
    expect(await transmit()).toEqual(response)
  })
})

describe('a hardware error', () => {
  it.each(['hardware-error', 'hardware-notice', 'hardware-notice-alone'] as const)(
    'of kind %s ends the exchange that it names, and the next APDU works on the same connection',
    async (kind) => {
      for (const profile of [apdu, tpdu]) {
        for (const moment of ['before', 'during'] as const) {
          const { transmit, reader, card, clock } = await connected(profile)
          reader.faults.schedule({ kind, ends: 'once', moment })
          const startMs = clock.nowMs
          await expect(transmit()).rejects.toMatchObject({ code: 'reader/refused', errorName: 'HW_ERROR' })
          // Fails at once, without waiting for the time-out.
          expect(clock.nowMs - startMs).toBeLessThan(1000)
          expect(card.log).toHaveLength(moment === 'before' ? 0 : 1)
          card.log.length = 0
          expect(await transmit()).toEqual(response)
          expect(card.log).toHaveLength(1)
        }
      }
    },
  )

  it('that names another exchange or another slot ends no exchange', async () => {
    const { transmit, reader, clock, connection } = await connected(apdu)
    reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    const work = connection.transaction({}, (channel) => channel.transmit(command))
    await clock.advance(100)
    const notices = reader as unknown as {
      inQueue(endpoint: number): { sendPacket(bytes: Uint8Array): void }
    }
    notices.inQueue(0x83).sendPacket(Uint8Array.of(0x51, 0, 0x77, 1))
    notices.inQueue(0x83).sendPacket(Uint8Array.of(0x51, 9, 0, 1))
    expect(await inTime(clock, work)).toEqual(response)
    expect(await transmit()).toEqual(response)
  })
})

describe('the line between reader and card', () => {
  const kinds = ['overrun', 'parity-error'] as const
  it.each(kinds)(
    '%s at APDU level causes an error with advice, and the command is not repeated',
    async (kind) => {
      for (const moment of ['before', 'during'] as const) {
        const { transmit, reader, card } = await connected(apdu)
        reader.faults.schedule({ kind, ends: 'once', moment })
        await expect(transmit()).rejects.toThrow(/try again/)
        expect(card.log).toHaveLength(moment === 'before' ? 0 : 1)
        expect(await transmit()).toEqual(response)
      }
    },
  )

  it.each(kinds)(
    '%s under T=1, once or twice, is recovered with R-blocks, and the command executed once',
    async (kind) => {
      for (const ends of ['once', 'twice'] as const) {
        for (const moment of ['before', 'during'] as const) {
          const { transmit, reader, card } = await connected(tpdu)
          reader.faults.schedule({ kind, ends, moment })
          expect(await transmit()).toEqual(response)
          expect(card.log).toHaveLength(1)
        }
      }
    },
  )

  it('a T=1 card that stays silent is reported as mute, and the next connection works', async () => {
    const { transmit, reader, card, clock, cardSlot, connection } = await connected(tpdu)
    reader.faults.schedule({ kind: 'mute-card', ends: 'until-reset' })
    const before = reader.counters.messages.get('XfrBlock') ?? 0
    await expect(transmit()).rejects.toBeInstanceOf(CardSilentError)
    // The block, two R-blocks, and three S(RESYNCH request).
    expect((reader.counters.messages.get('XfrBlock') ?? 0) - before).toBe(6)
    expect((await inTime(clock, connection.gone)).why).toBe('reset')
    const offs = reader.counters.messages.get('IccPowerOff') ?? 0
    const again = await inTime(clock, cardSlot.connect())
    expect((reader.counters.messages.get('IccPowerOff') ?? 0) - offs).toBe(1)
    expect(card.log).toHaveLength(0)
    expect(await transmit(again)).toEqual(response)
    expect(card.log).toHaveLength(1)
  })
})

describe('packets', () => {
  it('a response of whole packets without an empty one causes a time-out, and the next APDU works', async () => {
    const { reader, clock, cardSlot, transmit, card } = await connected(apdu)
    const whole = Uint8Array.of(0, 0x10, 0, 0, 52, ...new Uint8Array(52), 0)
    reader.faults.schedule({ kind: 'no-empty-packet', ends: 'once' })
    await expect(transmit(undefined, whole)).rejects.toMatchObject({ code: 'reader/timeout' })
    expect(card.log).toHaveLength(1)
    const again = await inTime(clock, cardSlot.connect())
    expect(await transmit(again, whole)).toHaveLength(54)
    expect(await transmit(again)).toEqual(response)
  })

  it('empty packets before and after responses are ignored', async () => {
    const { transmit, reader } = await connected(apdu)
    for (const kind of ['empty-packet', 'extra-empty-packet'] as const) {
      reader.faults.schedule({ kind, ends: 'twice' } as Fault)
      for (let count = 0; count < 3; count++) expect(await transmit()).toEqual(response)
    }
  })
})

describe('after an interruption of the card or the computer', () => {
  it('a card reinserted during a session is reported as gone, and works on the second attempt', async () => {
    for (const profile of [apdu, tpdu, readerProfiles.nitrokey3]) {
      const { transmit, reader, clock, cardSlot, card } = await connected(profile)
      reader.faults.schedule({ kind: 'reinserted', ends: 'once' })
      await expect(transmit(), profile.product).rejects.toMatchObject({
        code: expect.stringMatching(/card\/(gone|mute)/),
      })
      expect(card.log).toHaveLength(0)
      const again = await inTime(clock, cardSlot.connect())
      expect(await transmit(again)).toEqual(response)
    }
  })

  it('by sleep, the next connection works with the same permission and the same slot', async () => {
    for (const profile of [apdu, tpdu, readerProfiles.nitrokey3]) {
      const { transmit, reader, clock, cardSlot, card, source, usb } = await connected(profile)
      reader.faults.schedule({ kind: 'suspended', ends: 'once' })
      // Without an interrupt endpoint no pending transfer could fail.
      await expect(transmit()).rejects.toMatchObject({
        code: expect.stringMatching(/reader\/(gone|timeout)/),
      })
      expect(card.log).toHaveLength(0)
      expect(await firstValueFrom(source.slots$)).toEqual([cardSlot])
      const again = await inTime(clock, cardSlot.connect())
      expect(await transmit(again)).toEqual(response)
      expect(await firstValueFrom(cardSlot.presence$)).toBe('present')
      await inTime(clock, source.close())
      expect((await usb.getDevices())[0]?.opened).toBe(false)
    }
  })

  it('by sleep between two APDUs, the next APDU fails and the next connection works', async () => {
    const { transmit, reader, clock, cardSlot, card } = await connected(apdu)
    expect(await transmit()).toEqual(response)
    reader.suspend()
    await clock.advance(100)
    await expect(transmit()).rejects.toMatchObject({ code: 'card/gone' })
    expect(card.log).toHaveLength(1)
    const again = await inTime(clock, cardSlot.connect())
    expect(await transmit(again)).toEqual(response)
  })
})
