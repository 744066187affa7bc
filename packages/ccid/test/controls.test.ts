/** Controls: what can be asked of a reader beside APDUs, what is refused and when, and that the card's lock is waited for. */
import {
  AbortedError,
  type CardSlot,
  NotSupportedError,
  ReaderRefusedError,
  TransactionError,
} from '@webtoki/apdu'
import { readerControls } from '@webtoki/ccid/controls'
import { createEchoCard, type ReaderProfile, readerProfiles } from '@webtoki/simulator'
import { beforeAll, describe, expect, it } from 'vitest'
import { stand } from './stand.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const echo = bytes('0010000002aabb00')

/** dwMechanical with every mechanism. */
const { hpKus0133 } = readerProfiles
const mechanicalReader: ReaderProfile = {
  ...hpKus0133,
  ccidDescriptor: `${hpKus0133.ccidDescriptor.slice(0, 72)}0f${hpKus0133.ccidDescriptor.slice(74)}`,
}

async function controls(profile: ReaderProfile = readerProfiles.scr3310Ntt) {
  const made = stand({ profile, card: createEchoCard() })
  const slot = await made.slot()
  const count = (name: string): number => made.reader.counters.messages.get(name) ?? 0
  return { ...made, slot, count, asked: readerControls(slot) }
}

beforeAll(() => import('../src/tpdu/activate.ts'))

describe('the clock of a card', () => {
  it('stops in the state that the parameters name, and starts again', async () => {
    const { slot, asked, reader, source } = await controls()
    const connection = await slot.connect({ protocol: 'T=1' })
    // The driver lets no clock be stopped: bClockStop 00.
    await expect(asked.iccClock('stop')).rejects.toMatchObject({ command: 'IccClock', bError: 7 })
    const { protocol, data } = await asked.getParameters()
    expect(protocol).toBe(1)
    const allowing = data.slice()
    allowing[4] = 2
    expect(await asked.setParameters({ protocol, data: allowing })).toEqual({ protocol, data: allowing })
    expect(await asked.iccClock('stop')).toBe('stopped-high')
    expect(await asked.iccClock('restart')).toBe('running')
    const answer = await connection.transaction({}, (channel) => channel.transmit(echo))
    expect(hex(answer)).toBe('aabb9000')
    expect(reader.counters.messages.get('IccClock')).toBe(3)
    await source.close()
  })

  it('of a reader that cannot is refused before a byte leaves', async () => {
    const { asked, count, source } = await controls(readerProfiles.gemPcTwin)
    await expect(asked.iccClock('stop')).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('IccClock')).toBe(0)
    await source.close()
  })
})

describe('rates', () => {
  it('are listed as the reader lists them', async () => {
    const { asked, source } = await controls()
    expect(await asked.clockFrequenciesKHz()).toEqual([4000, 4800, 6000, 8000, 12000])
    expect(await asked.dataRatesBps()).toEqual(readerProfiles.scr3310Ntt.dataRatesBps)
    await source.close()
  })

  it('of a reader that stalls the request are told as unknown', async () => {
    const { asked, source } = await controls(readerProfiles.gemPcTwin)
    await expect(asked.clockFrequenciesKHz()).rejects.toBeInstanceOf(NotSupportedError)
    await expect(asked.dataRatesBps()).rejects.toBeInstanceOf(NotSupportedError)
    await source.close()
  })

  it('are set, and what the reader has set is told; one that it has not, is refused by its name', async () => {
    const { asked, source } = await controls()
    const wanted = { clockKHz: 4800, dataRateBps: 21_505 }
    expect(await asked.setDataRateAndClockFrequency(wanted)).toEqual(wanted)
    await expect(asked.setDataRateAndClockFrequency({ ...wanted, dataRateBps: 1 })).rejects.toMatchObject({
      code: 'reader/refused',
      errorName: 'BAD_PARAMETER_AT_14',
    })
    await source.close()
  })

  it('of a reader that has one of each are refused before a byte leaves', async () => {
    const { asked, count, source } = await controls(readerProfiles.nitrokey3)
    await expect(
      asked.setDataRateAndClockFrequency({ clockKHz: 3580, dataRateBps: 9600 }),
    ).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('SetDataRateAndClockFrequency')).toBe(0)
    await source.close()
  })
})

describe('mechanics', () => {
  it('lock the card in, let it go and put it out', async () => {
    const { asked, reader, source } = await controls(mechanicalReader)
    await asked.mechanical('lock')
    expect(() => reader.remove()).toThrow(/holds the card/)
    await expect(asked.mechanical('eject')).rejects.toBeInstanceOf(ReaderRefusedError)
    await asked.mechanical('unlock')
    await asked.mechanical('eject')
    expect(reader.cardIn()).toBeUndefined()
    await source.close()
  })

  it('that the descriptor does not name are refused before a byte leaves', async () => {
    const { asked, count, source } = await controls(hpKus0133)
    await asked.mechanical('accept')
    await expect(asked.mechanical('eject')).rejects.toBeInstanceOf(NotSupportedError)
    expect(count('Mechanical')).toBe(1)
    await source.close()
  })
})

describe('a vendor command', () => {
  it('is answered by the reader', async () => {
    const { asked, reader, source } = await controls()
    reader.onEscape = (data) => Uint8Array.of(...data, 0x42)
    expect(hex(await asked.escape(bytes('0102')))).toBe('010242')
    await source.close()
  })

  it('that the reader does not know is not supported, with the reader’s word as cause', async () => {
    const { asked, source } = await controls()
    const error = await asked.escape(bytes('01')).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NotSupportedError)
    expect((error as Error).cause).toMatchObject({ command: 'Escape', bError: 0 })
    await source.close()
  })
})

describe('the card’s lock', () => {
  it('is waited for while somebody works with the card, and its next owner knows', async () => {
    const { asked, slot, reader, count, source } = await controls()
    reader.onEscape = () => new Uint8Array(0)
    const connection = await slot.connect()
    const owner = {}
    const order: string[] = []
    let escape: Promise<unknown> | undefined
    await connection.transaction(owner, async (channel) => {
      escape = asked.escape(bytes('01')).then(() => order.push('escape'))
      await channel.transmit(echo)
      await channel.transmit(echo)
      expect(count('Escape')).toBe(0)
      order.push('work')
    })
    await escape
    expect(order).toEqual(['work', 'escape'])
    expect(await connection.transaction(owner, async ({ undisturbed }) => undisturbed)).toBe(false)
    await source.close()
  })

  it('is left by who gives up waiting', async () => {
    const { asked, slot, count, source } = await controls()
    const connection = await slot.connect()
    const giveUp = new AbortController()
    await connection.transaction({}, async () => {
      const waiting = asked.resetParameters({ signal: giveUp.signal })
      giveUp.abort()
      await expect(waiting).rejects.toBeInstanceOf(AbortedError)
    })
    expect(count('ResetParameters')).toBe(0)
    await source.close()
  })

  it('is not there yet while the card is being connected', async () => {
    const { asked, slot, source } = await controls()
    const connecting = slot.connect()
    await expect(asked.resetParameters()).rejects.toBeInstanceOf(TransactionError)
    await connecting
    expect((await asked.resetParameters()).protocol).toBe(0)
    await source.close()
  })
})

it('a slot of somebody else has no such controls', () => {
  expect(() => readerControls({} as CardSlot)).toThrow(NotSupportedError)
})
