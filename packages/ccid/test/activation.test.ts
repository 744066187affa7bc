/**
 * Activation of a card: voltage, ATR, warm reset, protocol, PPS and parameters (ISO/IEC 7816-3:2006, 6.2, 6.3, 9;
 * CCID 1.1, 6.1).
 */
import { CardSilentError, decodeAtr, NotSupportedError } from '@webtoki/apdu'
import {
  type ContactOptions,
  createEchoCard,
  EchoCard,
  type ReaderProfile,
  readerProfiles,
  ScriptedCard,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { decodeCcidDescriptor } from '../src/descriptors.ts'
import { blockWaitingMs, chooseParameters, lineMs } from '../src/tpdu/parameters.ts'
import { inTime, setUp } from './set-up.ts'

const command = Uint8Array.of(0, 0x10, 0, 0, 3, 7, 8, 9, 0)
const response = [7, 8, 9, 0x90, 0]
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** An echo card with the given ATR. */
function cardWith(atr: string): EchoCard {
  const card = createEchoCard()
  Object.defineProperty(card, 'atr', { value: hex(atr) })
  return card
}

function put(profile: ReaderProfile, card: EchoCard = createEchoCard(), contact: ContactOptions = {}) {
  const made = setUp({ profile })
  const sent: { name: string; parameter: number; data: string }[] = []
  const out = made.reader.out.bind(made.reader)
  made.reader.out = (endpoint, bytes) => {
    const name = { 0x62: 'on', 0x63: 'off', 0x61: 'parameters', 0x6f: 'block' }[bytes[0] as number]
    if (name !== undefined) {
      const parameter = name === 'on' || name === 'parameters' ? (bytes[7] as number) : 0
      sent.push({ name, parameter, data: toHex(bytes.slice(10)) })
    }
    return out(endpoint, bytes)
  }
  made.reader.insert(card, 0, contact)
  return { ...made, card, sent }
}

type Put = ReturnType<typeof put>

/** Connects and exchanges one command, moving the clock as needed. */
async function work({ slot, clock }: Put, protocol?: 'T=0' | 'T=1'): Promise<number[]> {
  const cardSlot = await slot()
  const connection = await inTime(clock, cardSlot.connect(protocol === undefined ? {} : { protocol }))
  const response = await inTime(
    clock,
    connection.transaction({}, (channel) => channel.transmit(command)),
  )
  return [...response]
}

const onAndOff = (made: Put): string[] =>
  made.sent
    .filter(({ name }) => name === 'on' || name === 'off')
    .map((each) => `${each.name} ${each.parameter}`)

// The module is loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => import('../src/tpdu/activate.ts'))

describe('voltage', () => {
  it('is left to a reader that selects it automatically', async () => {
    const made = put(readerProfiles.dualiAbcm6)
    expect(await work(made)).toEqual(response)
    expect(onAndOff(made)).toEqual(['on 0'])
  })

  it.each([
    [[1.8, 3, 5], ['on 3']],
    [
      [3, 5],
      ['on 3', 'on 2'],
    ],
    [[5], ['on 3', 'on 2', 'on 1']],
  ] as const)('of a card for %j volts is the lowest one that the card supports', async (volts, expected) => {
    const made = put(readerProfiles.gemPcTwin, cardWith('3b 00'), { volts })
    const connection = await inTime(made.clock, (await made.slot()).connect())
    expect(onAndOff(made)).toEqual(expected)
    // A warm reset keeps the voltage.
    made.sent.length = 0
    await inTime(
      made.clock,
      connection.transaction({}, (channel) => channel.reset('warm')),
    )
    expect(onAndOff(made)).toEqual(expected.slice(-1))
    // After a cold reset the card may be another one.
    made.sent.length = 0
    await inTime(
      made.clock,
      connection.transaction({}, (channel) => channel.reset('cold')),
    )
    expect(onAndOff(made)).toEqual(['off 0', ...expected])
    await inTime(made.clock, made.source.close())
  })

  it('that the reader lacks leaves the card mute after three attempts with every voltage', async () => {
    const made = put(readerProfiles.gemPcTwin, createEchoCard(), { volts: [] })
    const slot = await made.slot()
    await expect(inTime(made.clock, slot.connect())).rejects.toBeInstanceOf(CardSilentError)
    expect(onAndOff(made).filter((each) => each.startsWith('on'))).toHaveLength(9)
    expect(await firstValueFrom(slot.presence$)).toBe('unreadable')
    await inTime(made.clock, made.source.close())
  })
})

describe('the ATR of a card', () => {
  it.each(['damaged-atr', 'bad-atr', 'mute-card', 'parity-error'] as const)(
    'after one %s is read again with a reset, which is warm if the card is on',
    async (kind) => {
      for (const profile of [readerProfiles.dualiAbcm6, readerProfiles.scr331]) {
        const made = put(profile, cardWith('3b 80 01 81'))
        made.reader.faults.schedule({ kind, ends: 'once', moment: 'before' } as never, { on: 'IccPowerOn' })
        expect(await work(made)).toEqual(response)
        expect(onAndOff(made)).toEqual(['on 0', 'on 0'])
        await inTime(made.clock, made.source.close())
      }
    },
  )

  it.each(['bad-atr', 'mute-card', 'parity-error'] as const)(
    'after two %s is read again with a cold reset',
    async (kind) => {
      const made = put(readerProfiles.dualiAbcm6)
      made.reader.faults.schedule({ kind, ends: 'twice', moment: 'before' } as never, { on: 'IccPowerOn' })
      expect(await work(made)).toEqual(response)
      expect(onAndOff(made)).toEqual(['on 0', 'on 0', 'off 0', 'on 0'])
      await inTime(made.clock, made.source.close())
    },
  )

  it('that stays wrong rejects connect() and shows "unreadable", and the next card works', async () => {
    const made = put(readerProfiles.dualiAbcm6)
    for (let count = 0; count < 2; count++)
      made.reader.faults.schedule({ kind: 'bad-atr', ends: 'twice' }, { on: 'IccPowerOn' })
    const slot = await made.slot()
    await expect(inTime(made.clock, slot.connect())).rejects.toMatchObject({ errorName: 'BAD_ATR_TS' })
    expect(await firstValueFrom(slot.presence$)).toBe('unreadable')
    made.reader.faults.clear()
    expect(await work(made)).toEqual(response)
    await inTime(made.clock, made.source.close())
  })

  it('with the same fault after each reset is used as it is', async () => {
    // The correct TCK is 81.
    const made = put(readerProfiles.dualiAbcm6, cardWith('3b 80 01 80'))
    expect(await work(made)).toEqual(response)
    expect(onAndOff(made)).toEqual(['on 0', 'on 0'])
    await inTime(made.clock, made.source.close())
  })

  it('of fewer than two bytes is requested again', async () => {
    for (const bytes of ['3b', '']) {
      const made = put(readerProfiles.dualiAbcm6, cardWith(bytes))
      const slot = await made.slot()
      await expect(inTime(made.clock, slot.connect())).rejects.toMatchObject({ code: 'wire/malformed' })
      expect(onAndOff(made)).toEqual(['on 0', 'on 0', 'off 0', 'on 0'])
      await inTime(made.clock, made.source.close())
    }
  })

  it('is read on the second attempt if the card was inserted at this moment', async () => {
    const made = put(readerProfiles.scr331, cardWith('3b 80 01 81'))
    made.reader.reinsert()
    expect(await work(made)).toEqual(response)
    await inTime(made.clock, made.source.close())
  })
})

const blocksOf = (made: Put): string[] =>
  made.sent.filter(({ name }) => name === 'block').map(({ data }) => data)
const parametersOf = (made: Put): string[] =>
  made.sent.filter(({ name }) => name === 'parameters').map((each) => `T=${each.parameter} ${each.data}`)

/** 3B 80 01 and TCK: T=1 only, TA1 11. 3B 80 80 01 01: T=0 first, then T=1. */
describe('protocol and parameters', () => {
  const cases: readonly {
    readonly title: string
    readonly profile: ReaderProfile
    readonly atr: string
    readonly requested?: 'T=0' | 'T=1'
    readonly pps?: string
    readonly parameters: readonly string[]
  }[] = [
    {
      title: 'T=0 at the default speed needs no PPS',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 00',
      parameters: ['T=0 110000' + '0a00'],
    },
    {
      title: 'T=1 first at the default speed needs no PPS',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 80 01 81',
      parameters: ['T=1 1110004d' + '002000'],
    },
    {
      title: 'the second protocol needs PPS if the host negotiates',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 80 80 01 01',
      requested: 'T=1',
      pps: 'ff01fe',
      parameters: ['T=1 1110004d' + '002000'],
    },
    {
      title: 'the second protocol needs no PPS if the reader negotiates by SetParameters',
      profile: readerProfiles.scr331,
      atr: '3b 80 80 01 01',
      requested: 'T=1',
      parameters: ['T=1 1110004d' + '002000'],
    },
    {
      title: 'TA1 96 needs PPS with the speed',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 90 96 01 07',
      pps: 'ff119678',
      parameters: ['T=1 9610004d' + '002000'],
    },
    {
      title: 'TA1 97, which is too fast for the reader, leads to the next slower Di of the same Fi',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 90 97 01 06',
      pps: 'ff119678',
      parameters: ['T=1 9610004d' + '002000'],
    },
    {
      title: 'TA2: in specific mode nothing is negotiated, and the reader gets TA1',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 90 96 11 81 96',
      parameters: ['T=1 9610004d' + '002000'],
    },
    {
      title: 'TA2 with implicit parameters leads to the default speed',
      profile: readerProfiles.gemPcTwin,
      atr: '3b 90 96 11 91 86',
      parameters: ['T=1 1110004d' + '002000'],
    },
    {
      title: 'TC1 255, inverse convention, CRC, IFSC, BWI and CWI of the ATR are sent to the reader',
      profile: readerProfiles.scr331,
      atr: '3f c0 ff 81 71 80 75 01 3b',
      parameters: ['T=1 1113ff75' + '008000'],
    },
    {
      title: 'WI, TC1 and inverse convention of T=0 are sent to the reader',
      profile: readerProfiles.scr331,
      atr: '3f c0 05 40 0c',
      parameters: ['T=0 11020' + '50c00'],
    },
    {
      title: 'the reserved values IFSC 0 and BWI 15 are replaced by the defaults',
      profile: readerProfiles.scr331,
      atr: '3b 80 81 31 00 f5 c5',
      parameters: ['T=1 11100045' + '002000'],
    },
  ]

  it.each(cases)('$title', async ({ profile, atr, requested, pps, parameters }) => {
    const made = put(profile, cardWith(atr))
    const cardSlot = await made.slot()
    await inTime(made.clock, cardSlot.connect(requested === undefined ? {} : { protocol: requested }))
    expect(parametersOf(made)).toEqual(parameters)
    const first = blocksOf(made)[0] ?? ''
    expect(first.startsWith('ff') ? first : undefined).toBe(pps)
    await inTime(made.clock, made.source.close())
  })

  it('a card that accepts PPS without the speed is used at the default speed, and so is the reader', async () => {
    const line: ContactOptions['line'] = (bytes, to) =>
      to === 'reader' && bytes[0] === 0xff ? hex('ff 01 fe') : bytes
    const made = put(readerProfiles.gemPcTwin, cardWith('3b 90 96 01 07'), { line })
    await inTime(made.clock, (await made.slot()).connect())
    expect(parametersOf(made)).toEqual(['T=1 1110004d' + '002000'])
    await inTime(made.clock, made.source.close())
  })

  it('a card in specific mode with the wrong protocol gets a warm reset if it can change', async () => {
    // TA2 00: T=0, and a warm reset changes to negotiable mode, which also offers T=1.
    const made = put(readerProfiles.scr331, cardWith('3b 80 90 00 01 11'), { warmAtr: hex('3b 80 80 01 01') })
    await inTime(made.clock, (await made.slot()).connect({ protocol: 'T=1' })).catch(() => {})
    expect(onAndOff(made)).toEqual(['on 0', 'on 0'])
    expect(parametersOf(made)).toEqual(['T=1 1110004d' + '002000'])
    await inTime(made.clock, made.source.close())
    // TA2 80: the card cannot change to negotiable mode.
    const stubborn = put(readerProfiles.scr331, cardWith('3b 80 90 80 01 91'))
    const refused = inTime(stubborn.clock, (await stubborn.slot()).connect({ protocol: 'T=1' }))
    await expect(refused).rejects.toBeInstanceOf(NotSupportedError)
    expect(onAndOff(stubborn)).toEqual(['on 0'])
    await inTime(stubborn.clock, stubborn.source.close())
  })

  it('a reader at APDU level gets only the power-on', async () => {
    const made = put(readerProfiles.omnikey3021, cardWith('3b 90 96 01 07'))
    expect(await work(made)).toEqual(response)
    expect(made.sent.map(({ name }) => name)).toEqual(['on', 'block'])
    await inTime(made.clock, made.source.close())
  })

  it('a protocol that the reader lacks is refused before anything is sent to the card', async () => {
    const onlyT0 = {
      ...readerProfiles.scr331,
      // dwProtocols: T=0 only.
      ccidDescriptor: readerProfiles.scr331.ccidDescriptor.replace(/^(.{12})03/, '$101'),
    }
    const made = put(onlyT0, cardWith('3b 80 01 81'))
    await expect(inTime(made.clock, (await made.slot()).connect())).rejects.toThrow(/the reader supports T=0/)
    expect(blocksOf(made)).toEqual([])
    await inTime(made.clock, made.source.close())
  })

  it('a card with an unreadable ATR is used with T=0 at the default speed', async () => {
    const made = setUp({ profile: readerProfiles.scr331, card: new ScriptedCard([], '00 00') })
    const connection = await inTime(made.clock, (await made.slot()).connect())
    expect(await connection.transaction({}, async ({ atr }) => toHex(atr))).toBe('0000')
    await inTime(made.clock, made.source.close())
  })
})

describe('waiting times', () => {
  const descriptor = decodeCcidDescriptor(hex(readerProfiles.gemPcTwin.ccidDescriptor))
  // 4 MHz; BWI 4, CWI 13.
  const plain = decodeAtr(hex('3b 80 01 81'))

  it('BWT is 11 etu and 2^BWI × 960 × 372 clock cycles', () => {
    expect(blockWaitingMs(plain, 0x11, descriptor)).toBeCloseTo((11 * 372 + 16 * 960 * 372) / 4000, 6)
    expect(blockWaitingMs(plain, 0x96, descriptor)).toBeCloseTo((11 * 16 + 16 * 960 * 372) / 4000, 6)
  })

  it('a reserved BWI counts as the default, and an implausible clock as 3.58 MHz', () => {
    const odd = decodeAtr(hex('3b 80 81 31 00 f5 c5'), { lenient: true })
    expect(blockWaitingMs(odd, 0x11, descriptor)).toBe(blockWaitingMs(plain, 0x11, descriptor))
    const wrongUnit = { ...descriptor, defaultClockKHz: 3_580_000 }
    const absent = { ...descriptor, defaultClockKHz: 0 }
    expect(blockWaitingMs(plain, 0x11, wrongUnit)).toBeCloseTo((11 * 372 + 16 * 960 * 372) / 3580, 6)
    expect(blockWaitingMs(plain, 0x11, absent)).toBe(blockWaitingMs(plain, 0x11, wrongUnit))
  })

  it('the line time is 12 + N etu per host character, CWT per card character, and the block guard time', () => {
    // TC1 02, TB3 45: BWI 4, CWI 5.
    const slow = decodeAtr(hex('3b c0 02 81 21 45 27'))
    expect(lineMs(slow, 0x96, descriptor)).toBeCloseTo(((259 * (14 + 11 + 32) + 22) * 16) / 4000, 6)
    // TC1 FF: 11 etu in T=1.
    const quick = decodeAtr(hex('3b c0 ff 81 21 45 da'))
    expect(lineMs(quick, 0x96, descriptor)).toBeCloseTo(((259 * (11 + 11 + 32) + 22) * 16) / 4000, 6)
    expect(lineMs(plain, 0x11, descriptor)).toBe(10_000)
  })

  it('each protocol of each parameter set has its own length', () => {
    expect(chooseParameters(plain, descriptor, undefined).setParameters).toHaveLength(7)
    expect(chooseParameters(decodeAtr(hex('3b 00')), descriptor, undefined).setParameters).toHaveLength(5)
  })
})
