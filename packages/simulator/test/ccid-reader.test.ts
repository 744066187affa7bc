import { expect, it, describe } from 'vitest'
import { characterReaderProfiles, createEchoCard, readerProfiles, ScriptedCard } from '../src/index.ts'
import { echo, Host, message, powerOn, xfr } from './ccid-host.ts'

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

  it('that does not find the voltage by itself is told it, and refuses what its descriptor does not offer', async () => {
    // bVoltageSupport 7 of CardMan3021.txt, 1 of Nitrokey_Nitrokey_3.txt; neither has the bit of automatic voltage.
    const three = new Host(readerProfiles.omnikey3021)
    three.reader.insert(createEchoCard(), 0, { volts: [3] })
    await three.open()
    const ask = async (host: Host, select: number): Promise<number[]> =>
      (await host.ask(message(0x62, select, [select, 0, 0]))).slice(7, 9)
    expect(await ask(three, 0)).toEqual([0x41, 7])
    expect(await ask(three, 3)).toEqual([0x41, 0xfe])
    expect(await ask(three, 1)).toEqual([0x41, 0xfe])
    expect(await ask(three, 2)).toEqual([0, 0])
    const one = await new Host(readerProfiles.nitrokey3, createEchoCard()).open()
    expect(await ask(one, 2)).toEqual([0x41, 7])
    expect(await ask(one, 1)).toEqual([0, 0])
  })

  it('takes no extended APDU at short level', async () => {
    const host = await new Host(readerProfiles.omnikey3021, createEchoCard()).open()
    await host.ask(message(0x62, 0, [1, 0, 0]))
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

  it('at character level gives as many bytes as the host waits for: header, procedure byte, data, status word', async () => {
    const host = await new Host(characterReaderProfiles.oz776, createEchoCard()).open()
    await host.ask(powerOn(0, 1))
    expect((await host.ask(xfr(1, [0, 0x12, 0, 3, 3], 1))).slice(7)).toEqual([0, 0, 0, 0x12])
    expect((await host.ask(xfr(2, [], 4))).slice(10)).toEqual([0, 1, 2, 0x90])
    expect((await host.ask(xfr(3, [], 1))).slice(10)).toEqual([0])
    expect((await host.ask(xfr(4, [0, 0x10, 0, 0, 2], 1))).slice(10)).toEqual([0x10])
    expect((await host.ask(xfr(5, [0xaa, 0xbb], 2))).slice(10)).toEqual([0x61, 2])
    expect((await host.ask(xfr(6, [0, 0xc0, 0, 0, 2], 5))).slice(10)).toEqual([0xc0, 0xaa, 0xbb, 0x90, 0])
    // The card has no more to say, and a host that waits for nothing is none that CCID knows.
    expect((await host.ask(xfr(7, [], 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    expect((await host.ask(xfr(8, [0, 0xc0, 0, 0, 2], 0))).slice(7, 9)).toEqual([0x40, 8])
  })

  it('at character level a card that was not asked for data takes none until its next reset', async () => {
    const host = await new Host(characterReaderProfiles.oz776, createEchoCard()).open()
    await host.ask(powerOn(0, 1))
    expect((await host.ask(xfr(1, echo, 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    expect((await host.ask(xfr(2, [0, 0x12, 0, 1, 1], 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    await host.ask(powerOn(3, 1))
    expect((await host.ask(xfr(4, [0, 0x12, 0, 1, 1], 4))).slice(10)).toEqual([0x12, 0, 0x90, 0])
  })

  it('takes no message longer than it says, and no command longer than ISO 7816-4 has', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.ask(powerOn(0))
    const full = Array.from({ length: 1004 }, () => 0)
    expect((await host.ask(xfr(1, [...full, 0], 1))).slice(7, 9)).toEqual([0x40, 1])
    expect((await host.ask(xfr(2, full, 1))).slice(7)).toEqual([0, 0, 0x10])
    for (let sequence = 3; sequence < 67; sequence++) await host.ask(xfr(sequence, full, 3))
    expect((await host.ask(xfr(67, full, 3))).slice(7, 9)).toEqual([0x40, 0xfc])
    expect((await host.ask(xfr(68, full, 2))).slice(7, 9)).toEqual([0x40, 8])
    expect(card.log).toHaveLength(0)
  })

  it('at short level knows neither parts of commands nor answers of more than 256 bytes', async () => {
    const card = new ScriptedCard([{ command: '00b0000000', response: `${'00'.repeat(257)}9000` }])
    const host = await new Host(readerProfiles.omnikey3021, card).open()
    await host.ask(message(0x62, 0, [1, 0, 0]))
    expect((await host.ask(xfr(1, echo, 1))).slice(7, 9)).toEqual([0x40, 8])
    expect((await host.ask(xfr(2, [0, 0xb0, 0, 0, 0]))).slice(7, 9)).toEqual([0x40, 0xfc])
    card.check()
  })

  it('asks for power again after the card was changed', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    host.reader.insert(createEchoCard())
    expect((await host.ask(message(0x65, 1, [0, 0, 0])))[7]).toBe(1)
    expect((await host.ask(xfr(2, echo))).slice(7, 9)).toEqual([0x41, 0xfe])
    await host.ask(powerOn(3))
    expect((await host.ask(xfr(4, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('tells parameters back as they were set, until they are reset', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    const byPowerOn = await host.ask(message(0x6c, 1, [0, 0, 0]))
    const set = [0x18, 0x10, 0, 0x4d, 0, 0xfe, 0]
    expect((await host.ask(message(0x61, 2, [1, 0, 0], ...set))).slice(7)).toEqual([0, 0, 1, ...set])
    expect((await host.ask(message(0x6c, 3, [0, 0, 0]))).slice(10)).toEqual(set)
    expect((await host.ask(message(0x6d, 4, [0, 0, 0]))).slice(7)).toEqual(byPowerOn.slice(7))
    expect((await host.ask(message(0x61, 5, [2, 0, 0], ...set))).slice(7, 9)).toEqual([0x40, 7])
    expect((await host.ask(message(0x61, 6, [0, 0, 0], ...set))).slice(7, 9)).toEqual([0x40, 1])
  })

  it('answers a command whose card is pulled while it works at once, and takes the next card', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.ask(powerOn(0))
    host.reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    const late = host.ask(xfr(1, echo))
    await host.clock.advance(500)
    host.reader.remove()
    expect((await late).slice(6, 9)).toEqual([1, 0x42, 0xfe])
    host.reader.insert(card)
    expect((await host.ask(powerOn(2))).slice(6, 9)).toEqual([2, 0, 0])
    await host.clock.advance(1000)
    expect(card.log).toHaveLength(0)
    expect((await host.ask(xfr(3, echo))).slice(6, 9)).toEqual([3, 0, 0])
  })

  it('refuses all but the message that completes an ABORT', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.ask(powerOn(0))
    const setup = {
      requestType: 'class',
      recipient: 'interface',
      request: 1,
      value: 0x0300,
      index: 0,
    } as const
    await host.device.controlTransferOut(setup)
    expect((await host.ask(xfr(2, echo))).slice(7, 9)).toEqual([0x40, 0xff])
    expect(await host.ask(message(0x72, 3, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 3, 0, 0, 0])
    expect((await host.ask(xfr(4, echo))).slice(7, 9)).toEqual([0, 0])
  })

  it('tells clocks and data rates by class request, or stalls where the real one does', async () => {
    const asked = { requestType: 'class', recipient: 'interface', value: 0, index: 0 } as const
    const nitrokey = await new Host(readerProfiles.nitrokey3).open()
    const clocks = await nitrokey.device.controlTransferIn({ ...asked, request: 2 }, 64)
    const rates = await nitrokey.device.controlTransferIn({ ...asked, request: 3 }, 64)
    expect([clocks.data?.getUint32(0, true), rates.data?.getUint32(0, true)]).toEqual([3580, 9600])
    const duali = await new Host(readerProfiles.dualiAbcm6).open()
    expect((await duali.device.controlTransferIn({ ...asked, request: 3 }, 64)).status).toBe('stall')
  })

  it('leaves a host waiting behind an answer of whole packets where its profile sends no empty one', async () => {
    const profile = { ...readerProfiles.dualiAbcm6, emptyPackets: false }
    const host = await new Host(profile, createEchoCard()).open()
    await host.ask(powerOn(0))
    let isOver = false
    const pending = host.ask(xfr(1, [0, 0x12, 0, 52, 0])).then((answer) => {
      isOver = true
      return answer
    })
    await host.clock.advance(60_000)
    expect(isOver).toBe(false)
    await host.device.transferOut(2, message(0x65, 2, [0, 0, 0]))
    expect(await pending).toHaveLength(64 + 10)
  })
})
