import { beforeEach, describe, expect, it } from 'vitest'
import {
  createEchoCard,
  createPivCard,
  type EchoCard,
  type Fault,
  HandClock,
  type ReaderProfile,
  readerProfiles,
  ScriptedCard,
  type VirtualCard,
  VirtualCcidReader,
  VirtualBus,
  type VirtualUsbDevice,
} from '../src/index.ts'

/** Bytes by hand, as CCID 1.1 prints them: this file shares no encoder with anybody. */
const message = (
  type: number,
  sequence: number,
  three: readonly number[],
  ...data: number[]
): Uint8Array<ArrayBuffer> =>
  Uint8Array.of(type, data.length & 0xff, data.length >> 8, 0, 0, 0, sequence, ...three, ...data)
const powerOn = (sequence: number) => message(0x62, sequence, [0, 0, 0])
const xfr = (sequence: number, data: readonly number[], level = 0) =>
  message(0x6f, sequence, [0, level, 0], ...data)
const echo = [0, 0x10, 0, 0, 2, 0xaa, 0xbb, 0]

class Host {
  readonly reader: VirtualCcidReader
  readonly clock = new HandClock()
  readonly bus = new VirtualBus()
  device!: VirtualUsbDevice

  constructor(profile: ReaderProfile, card?: VirtualCard) {
    this.reader = new VirtualCcidReader(profile, { clock: this.clock })
    if (card !== undefined) this.reader.insert(card)
    this.bus.plug(this.reader)
  }

  async open(): Promise<this> {
    const [device] = await this.bus.context({ protectedClasses: false }).getDevices()
    if (device === undefined) throw new Error('There is no device.')
    this.device = device
    await device.open()
    await device.claimInterface(0)
    return this
  }

  async ask(bytes: Uint8Array<ArrayBuffer>): Promise<number[]> {
    await this.device.transferOut(2, bytes)
    return this.answer()
  }

  async answer(): Promise<number[]> {
    const { data } = await this.device.transferIn(1, 65_600)
    return data === undefined ? [] : [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]
  }
}

describe('a reader, message by message', () => {
  it('says that no card is there, in the status and in each failure', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6).open()
    expect(await host.ask(message(0x65, 7, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 7, 0x02, 0, 0])
    expect(await host.ask(powerOn(8))).toEqual([0x80, 0, 0, 0, 0, 0, 8, 0x42, 0xfe, 0])
    expect(await host.ask(xfr(9, echo))).toEqual([0x80, 0, 0, 0, 0, 0, 9, 0x42, 0xfe, 0])
  })

  it('powers a card on with its ATR, and off', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    expect(await host.ask(xfr(1, echo))).toEqual([0x80, 0, 0, 0, 0, 0, 1, 0x41, 0xfe, 0])
    expect(await host.ask(powerOn(2))).toEqual([0x80, card.atr.length, 0, 0, 0, 0, 2, 0, 0, 0, ...card.atr])
    expect(await host.ask(xfr(3, echo))).toEqual([0x80, 4, 0, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xbb, 0x90, 0])
    expect(await host.ask(message(0x63, 4, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 4, 0x01, 0, 0])
    expect(await host.ask(message(0x65, 5, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 5, 0x01, 0, 0])
  })

  it('refuses a wrong slot, a wrong length, an unknown command, each by the standard’s code', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    const wrongSlot = powerOn(1)
    wrongSlot[5] = 3
    expect((await host.ask(wrongSlot)).slice(7, 9)).toEqual([0x42, 5])
    const wrongLength = xfr(2, echo)
    wrongLength[1] = 99
    expect((await host.ask(wrongLength)).slice(7, 9)).toEqual([0x41, 1])
    expect((await host.ask(message(0x6b, 3, [0, 0, 0], 1))).slice(0, 9)).toEqual([
      0x83, 0, 0, 0, 0, 0, 3, 0x41, 0,
    ])
  })

  it('chains long commands and long answers at extended level', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    const data = Array.from({ length: 2500 }, (_, at) => at & 0xff)
    const apdu = [0, 0x10, 0, 0, 0, data.length >> 8, data.length & 0xff, ...data, 0, 0]
    expect((await host.ask(xfr(1, apdu.slice(0, 1004), 1))).slice(7)).toEqual([0, 0, 0x10])
    expect((await host.ask(xfr(2, apdu.slice(1004, 2008), 3))).slice(7)).toEqual([0, 0, 0x10])
    const first = await host.ask(xfr(3, apdu.slice(2008), 2))
    expect(first[9]).toBe(1)
    const second = await host.ask(xfr(4, [], 0x10))
    expect(second[9]).toBe(3)
    const third = await host.ask(xfr(5, [], 0x10))
    expect(third[9]).toBe(2)
    const whole = [first, second, third].flatMap((part) => part.slice(10))
    expect(whole).toEqual([...data, 0x90, 0])
    expect((await host.ask(xfr(6, [], 0x10))).slice(7, 9)).toEqual([0x40, 8])
    expect((await host.ask(xfr(7, [1, 2], 2))).slice(7, 9)).toEqual([0x40, 8])
  })

  it('takes no extended APDU at short level', async () => {
    const host = await new Host(readerProfiles.omnikey3021, createEchoCard()).open()
    await host.ask(powerOn(0))
    expect((await host.ask(xfr(1, [0, 0x10, 0, 0, 0, 0, 1, 7, 0, 0]))).slice(7, 9)).toEqual([0x40, 1])
    expect((await host.ask(xfr(2, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('tells insertion and removal by the interrupt endpoint, once each, the latest only', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6).open()
    const notice = async (): Promise<number[]> => {
      const { data } = await host.device.transferIn(3, 8)
      return data === undefined ? [] : [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]
    }
    const waiting = notice()
    host.reader.insert(createEchoCard())
    expect(await waiting).toEqual([0x50, 0x03])
    host.reader.remove()
    host.reader.insert(createEchoCard())
    host.reader.remove()
    expect(await notice()).toEqual([0x50, 0x02])
  })

  it('ends an answer of whole packets by an empty one', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    const answer = await host.ask(xfr(1, [0, 0x12, 0, 52, 0]))
    expect(answer).toHaveLength(64)
  })

  it('negotiates for the host: parameters of the card’s first protocol', async () => {
    for (const [card, expected] of [
      [createEchoCard(), [0x82, 5, 0]],
      [new ScriptedCard([], '3b 80 01 81'), [0x82, 7, 1]],
    ] as const) {
      const host = await new Host(readerProfiles.dualiAbcm6, card).open()
      await host.ask(powerOn(0))
      const answer = await host.ask(message(0x6c, 1, [0, 0, 0]))
      expect([answer[0], answer[1], answer[9]]).toEqual(expected)
    }
  })

  it('breaks an exchange off when both halves of ABORT have come, and is free for the next', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    host.reader.faults.schedule({ kind: 'silent-reader', ends: 'once' })
    await host.device.transferOut(2, xfr(1, echo))
    expect((await host.ask(xfr(2, echo))).slice(6, 9)).toEqual([2, 0x40, 0xe0])
    await host.device.transferOut(2, message(0x72, 3, [0, 0, 0]))
    await host.device.controlTransferOut({
      requestType: 'class',
      recipient: 'interface',
      request: 1,
      value: 0x0300,
      index: 0,
    })
    expect(await host.answer()).toEqual([0x81, 0, 0, 0, 0, 0, 3, 0, 0, 0])
    expect((await host.ask(xfr(4, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('does not model what it does not know', () => {
    const tpdu = readerProfiles.dualiAbcm6.ccidDescriptor.replace('ba060400', 'ba060100')
    expect(() => new VirtualCcidReader({ ...readerProfiles.dualiAbcm6, ccidDescriptor: tpdu })).toThrow(
      /TPDU/,
    )
  })
})

describe('a fault', () => {
  let card: EchoCard
  let host: Host
  beforeEach(async () => {
    card = createEchoCard()
    host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.ask(powerOn(0))
  })
  const good = [0x80, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0xaa, 0xbb, 0x90, 0]

  it.each([
    ['mute-card', [0x80, 0, 0, 0, 0, 0, 1, 0x40, 0xfe, 0], 0],
    ['truncated-message', good.slice(0, -1), 1],
    ['wrong-length', [0x80, 9, ...good.slice(2)], 1],
    ['huge-length', [0x80, 0xff, 0xff, 0xff, 0xff, ...good.slice(5)], 1],
    ['one-byte-message', [0x80], 1],
    ['one-byte-response', [0x80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], 1],
    ['empty-packet', [], 1],
  ] as const)(
    '%s is seen by the host, and the card’s log tells what it executed',
    async (kind, seen, executed) => {
      host.reader.faults.schedule({ kind, ends: 'once' } as Fault)
      expect(await host.ask(xfr(1, echo))).toEqual(seen)
      expect(card.log).toHaveLength(executed)
    },
  )

  it('comes as often as it is told to, and not before its turn', async () => {
    host.reader.faults.schedule({ kind: 'mute-card', ends: 'twice' }, { skip: 1 })
    const codes: number[] = []
    for (let sequence = 1; sequence <= 4; sequence++)
      codes.push((await host.ask(xfr(sequence, echo)))[8] as number)
    expect(codes).toEqual([0, 0xfe, 0xfe, 0])
  })

  it('until reset ends by a power-on', async () => {
    host.reader.faults.schedule({ kind: 'mute-card', ends: 'until-reset' })
    for (let run = 0; run < 5; run++) expect((await host.ask(xfr(1, echo)))[8]).toBe(0xfe)
    await host.ask(powerOn(2))
    expect((await host.ask(xfr(3, echo)))[8]).toBe(0)
  })

  it('a stale answer comes before the right one, a stall before an answer that waits', async () => {
    host.reader.faults.schedule({ kind: 'stale-answer', ends: 'once' })
    expect((await host.ask(xfr(1, echo)))[6]).toBe(0x81)
    expect(await host.answer()).toEqual(good)
    host.reader.faults.schedule({ kind: 'stall-in', ends: 'once' })
    await host.device.transferOut(2, xfr(1, echo))
    expect((await host.device.transferIn(1, 512)).status).toBe('stall')
    await host.device.clearHalt('in', 1)
    expect(await host.answer()).toEqual(good)
  })

  it('time extensions and slow cards go by the clock', async () => {
    host.reader.faults.schedule({
      kind: 'time-extension',
      ends: 'once',
      frames: 2,
      multiplier: 4,
      delayMs: 1000,
    })
    expect((await host.ask(xfr(1, echo))).slice(6, 9)).toEqual([1, 0x80, 4])
    const second = host.answer()
    await host.clock.advance(1000)
    expect((await second).slice(6, 9)).toEqual([1, 0x80, 4])
    const last = host.answer()
    await host.clock.advance(1000)
    expect(await last).toEqual(good)
  })

  it('a pulled card: before, it has executed nothing; during, its answer is lost', async () => {
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'before', ends: 'once' })
    expect((await host.ask(xfr(1, echo))).slice(7, 9)).toEqual([0x42, 0xfe])
    expect(card.log).toHaveLength(0)
    host.reader.insert(card)
    await host.ask(powerOn(2))
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'during', ends: 'once' })
    expect((await host.ask(xfr(3, echo))).slice(7, 9)).toEqual([0x42, 0xfe])
    expect(card.log).toHaveLength(1)
  })

  it('an unplugged reader takes its transfers along', async () => {
    host.reader.faults.schedule({ kind: 'unplugged', moment: 'during', ends: 'once' })
    const pending = host.device.transferIn(1, 512)
    await Promise.all([
      expect(pending).rejects.toMatchObject({ name: 'AbortError' }),
      host.device.transferOut(2, xfr(1, echo)),
    ])
  })
})

describe('the counters', () => {
  it('count what reaches the card, and the transfers from the first APDU to the last', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    await host.ask(xfr(1, echo))
    await host.ask(message(0x65, 2, [0, 0, 0]))
    await host.ask(xfr(3, echo))
    await host.ask(message(0x65, 4, [0, 0, 0]))
    const { apdus, bytesToCard, bytesFromCard, usbTransfers, messages } = host.reader.counters
    expect({ apdus, bytesToCard, bytesFromCard, usbTransfers }).toEqual({
      apdus: 2,
      bytesToCard: 2 * echo.length,
      bytesFromCard: 8,
      usbTransfers: 6,
    })
    expect(Object.fromEntries(messages)).toEqual({ IccPowerOn: 1, XfrBlock: 2, GetSlotStatus: 2 })
  })
})

describe('cards beside PIV', () => {
  it('the echo card chains and hands out long answers in pieces', async () => {
    const card = createEchoCard()
    expect(await card.process(Uint8Array.of(0x10, 0x10, 0, 0, 1, 7))).toEqual(Uint8Array.of(0x90, 0))
    expect(await card.process(Uint8Array.of(0, 0x10, 0, 0, 1, 8, 0))).toEqual(Uint8Array.of(7, 8, 0x90, 0))
    const first = await card.process(Uint8Array.of(0, 0x12, 1, 4, 0))
    expect([first.length, ...first.slice(-2)]).toEqual([258, 0x61, 4])
    expect(await card.process(Uint8Array.of(0, 0xc0, 0, 0, 4))).toEqual(Uint8Array.of(0, 1, 2, 3, 0x90, 0))
  })

  it('the scripted card is loud on anything else', async () => {
    const card = new ScriptedCard([{ command: '00a40400', response: '9000' }])
    expect(() => card.check()).toThrow(/still waits for 00a40400/)
    expect(await card.process(Uint8Array.of(0, 0xa4, 4, 0))).toEqual(Uint8Array.of(0x90, 0))
    card.check()
    expect(await card.process(Uint8Array.of(1, 2, 3, 4))).toEqual(Uint8Array.of(0x6f, 0))
    expect(() => card.check()).toThrow(/01020304 came/)
  })

  it('PIV cards differ in their keys, and never in the demo CA', () => {
    expect(createPivCard().guid).toEqual(createPivCard({ nineA: 'p256' }).guid)
  })
})
