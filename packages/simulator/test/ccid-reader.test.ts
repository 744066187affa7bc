/** Tests of a virtual CCID reader, message by message (CCID 1.1, 5 and 6). */
import { expect, it, describe } from 'vitest'
import { characterReaderProfiles, createEchoCard, readerProfiles, ScriptedCard } from '../src/index.ts'
import { echo, Host, message, powerOn, xfr } from './ccid-host.ts'

describe('a virtual reader', () => {
  it('reports an absent card in the slot status and in each failure', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6).open()
    expect(await host.exchange(message(0x65, 7, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 7, 0x02, 0, 0])
    expect(await host.exchange(powerOn(8))).toEqual([0x80, 0, 0, 0, 0, 0, 8, 0x42, 0xfe, 0])
    expect(await host.exchange(xfr(9, echo))).toEqual([0x80, 0, 0, 0, 0, 0, 9, 0x42, 0xfe, 0])
  })

  it('returns the ATR at power-on, and powers the card off', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    expect(await host.exchange(xfr(1, echo))).toEqual([0x80, 0, 0, 0, 0, 0, 1, 0x41, 0xfe, 0])
    expect(await host.exchange(powerOn(2))).toEqual([
      0x80,
      card.atr.length,
      0,
      0,
      0,
      0,
      2,
      0,
      0,
      0,
      ...card.atr,
    ])
    expect(await host.exchange(xfr(3, echo))).toEqual([0x80, 4, 0, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xbb, 0x90, 0])
    expect(await host.exchange(message(0x63, 4, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 4, 0x01, 0, 0])
    expect(await host.exchange(message(0x65, 5, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 5, 0x01, 0, 0])
  })

  it('rejects a wrong slot, a wrong length and an unknown command with the bError of the standard', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    const wrongSlot = powerOn(1)
    wrongSlot[5] = 3
    expect((await host.exchange(wrongSlot)).slice(7, 9)).toEqual([0x42, 5])
    const wrongLength = xfr(2, echo)
    wrongLength[1] = 99
    expect((await host.exchange(wrongLength)).slice(7, 9)).toEqual([0x41, 1])
    expect((await host.exchange(message(0x6b, 3, [0, 0, 0], 1))).slice(0, 9)).toEqual([
      0x83, 0, 0, 0, 0, 0, 3, 0x41, 0,
    ])
  })

  it('chains long commands and long responses at extended APDU level', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    const data = Array.from({ length: 2500 }, (_, at) => at & 0xff)
    const apdu = [0, 0x10, 0, 0, 0, data.length >> 8, data.length & 0xff, ...data, 0, 0]
    expect((await host.exchange(xfr(1, apdu.slice(0, 1004), 1))).slice(7)).toEqual([0, 0, 0x10])
    expect((await host.exchange(xfr(2, apdu.slice(1004, 2008), 3))).slice(7)).toEqual([0, 0, 0x10])
    const first = await host.exchange(xfr(3, apdu.slice(2008), 2))
    expect(first[9]).toBe(1)
    const second = await host.exchange(xfr(4, [], 0x10))
    expect(second[9]).toBe(3)
    const third = await host.exchange(xfr(5, [], 0x10))
    expect(third[9]).toBe(2)
    const whole = [first, second, third].flatMap((part) => part.slice(10))
    expect(whole).toEqual([...data, 0x90, 0])
    expect((await host.exchange(xfr(6, [], 0x10))).slice(7, 9)).toEqual([0x40, 8])
    expect((await host.exchange(xfr(7, [1, 2], 2))).slice(7, 9)).toEqual([0x40, 8])
  })

  it('without automatic voltage selection rejects a voltage that its descriptor does not offer', async () => {
    // bVoltageSupport is 7 in CardMan3021.txt and 1 in Nitrokey_Nitrokey_3.txt. Neither selects the voltage itself.
    const three = new Host(readerProfiles.omnikey3021)
    three.reader.insert(createEchoCard(), 0, { volts: [3] })
    await three.open()
    const ask = async (host: Host, select: number): Promise<number[]> =>
      (await host.exchange(message(0x62, select, [select, 0, 0]))).slice(7, 9)
    expect(await ask(three, 0)).toEqual([0x41, 7])
    expect(await ask(three, 3)).toEqual([0x41, 0xfe])
    expect(await ask(three, 1)).toEqual([0x41, 0xfe])
    expect(await ask(three, 2)).toEqual([0, 0])
    const one = await new Host(readerProfiles.nitrokey3, createEchoCard()).open()
    expect(await ask(one, 2)).toEqual([0x41, 7])
    expect(await ask(one, 1)).toEqual([0, 0])
  })

  it('rejects an extended APDU at short APDU level', async () => {
    const host = await new Host(readerProfiles.omnikey3021, createEchoCard()).open()
    await host.exchange(message(0x62, 0, [1, 0, 0]))
    expect((await host.exchange(xfr(1, [0, 0x10, 0, 0, 0, 0, 1, 7, 0, 0]))).slice(7, 9)).toEqual([0x40, 1])
    expect((await host.exchange(xfr(2, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('reports card insertion and removal on the interrupt endpoint, keeping only the latest state', async () => {
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

  it('sends an empty packet after a response that ends with a full packet', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    const response = await host.exchange(xfr(1, [0, 0x12, 0, 52, 0]))
    expect(response).toHaveLength(64)
  })

  it('at extended APDU level has the parameters of the first protocol in the ATR', async () => {
    for (const [card, expected] of [
      [createEchoCard(), [0x82, 5, 0]],
      [new ScriptedCard([], '3b 80 01 81'), [0x82, 7, 1]],
    ] as const) {
      const host = await new Host(readerProfiles.dualiAbcm6, card).open()
      await host.exchange(powerOn(0))
      const response = await host.exchange(message(0x6c, 1, [0, 0, 0]))
      expect([response[0], response[1], response[9]]).toEqual(expected)
    }
  })

  it('aborts an exchange after both parts of ABORT, and executes the next command', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    host.reader.faults.schedule({ kind: 'silent-reader', ends: 'once' })
    await host.device.transferOut(2, xfr(1, echo))
    expect((await host.exchange(xfr(2, echo))).slice(6, 9)).toEqual([2, 0x40, 0xe0])
    await host.device.transferOut(2, message(0x72, 3, [0, 0, 0]))
    await host.device.controlTransferOut({
      requestType: 'class',
      recipient: 'interface',
      request: 1,
      value: 0x0300,
      index: 0,
    })
    expect(await host.response()).toEqual([0x81, 0, 0, 0, 0, 0, 3, 0, 0, 0])
    expect((await host.exchange(xfr(4, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('at character level returns the number of bytes that the host waits for', async () => {
    const host = await new Host(characterReaderProfiles.oz776, createEchoCard()).open()
    await host.exchange(powerOn(0, 1))
    expect((await host.exchange(xfr(1, [0, 0x12, 0, 3, 3], 1))).slice(7)).toEqual([0, 0, 0, 0x12])
    expect((await host.exchange(xfr(2, [], 4))).slice(10)).toEqual([0, 1, 2, 0x90])
    expect((await host.exchange(xfr(3, [], 1))).slice(10)).toEqual([0])
    expect((await host.exchange(xfr(4, [0, 0x10, 0, 0, 2], 1))).slice(10)).toEqual([0x10])
    expect((await host.exchange(xfr(5, [0xaa, 0xbb], 2))).slice(10)).toEqual([0x61, 2])
    expect((await host.exchange(xfr(6, [0, 0xc0, 0, 0, 2], 5))).slice(10)).toEqual([
      0xc0, 0xaa, 0xbb, 0x90, 0,
    ])
    // The card has no more bytes. CCID does not permit the expected length 0.
    expect((await host.exchange(xfr(7, [], 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    expect((await host.exchange(xfr(8, [0, 0xc0, 0, 0, 2], 0))).slice(7, 9)).toEqual([0x40, 8])
  })

  it('at character level reports a mute card after unexpected data until the card is reset', async () => {
    const host = await new Host(characterReaderProfiles.oz776, createEchoCard()).open()
    await host.exchange(powerOn(0, 1))
    expect((await host.exchange(xfr(1, echo, 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    expect((await host.exchange(xfr(2, [0, 0x12, 0, 1, 1], 1))).slice(7, 9)).toEqual([0x40, 0xfe])
    await host.exchange(powerOn(3, 1))
    expect((await host.exchange(xfr(4, [0, 0x12, 0, 1, 1], 4))).slice(10)).toEqual([0x12, 0, 0x90, 0])
  })

  it('rejects a message longer than dwMaxCCIDMessageLength, and a command longer than 65544 bytes', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.exchange(powerOn(0))
    const full = Array.from({ length: 1004 }, () => 0)
    expect((await host.exchange(xfr(1, [...full, 0], 1))).slice(7, 9)).toEqual([0x40, 1])
    expect((await host.exchange(xfr(2, full, 1))).slice(7)).toEqual([0, 0, 0x10])
    for (let sequence = 3; sequence < 67; sequence++) await host.exchange(xfr(sequence, full, 3))
    expect((await host.exchange(xfr(67, full, 3))).slice(7, 9)).toEqual([0x40, 0xfc])
    expect((await host.exchange(xfr(68, full, 2))).slice(7, 9)).toEqual([0x40, 8])
    expect(card.log).toHaveLength(0)
  })

  it('at short APDU level rejects parts of commands and responses with more than 256 bytes of data', async () => {
    const card = new ScriptedCard([{ command: '00b0000000', response: `${'00'.repeat(257)}9000` }])
    const host = await new Host(readerProfiles.omnikey3021, card).open()
    await host.exchange(message(0x62, 0, [1, 0, 0]))
    expect((await host.exchange(xfr(1, echo, 1))).slice(7, 9)).toEqual([0x40, 8])
    expect((await host.exchange(xfr(2, [0, 0xb0, 0, 0, 0]))).slice(7, 9)).toEqual([0x40, 0xfc])
    card.check()
  })

  it('requires a power-on after the card was replaced', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    host.reader.insert(createEchoCard())
    expect((await host.exchange(message(0x65, 1, [0, 0, 0])))[7]).toBe(1)
    expect((await host.exchange(xfr(2, echo))).slice(7, 9)).toEqual([0x41, 0xfe])
    await host.exchange(powerOn(3))
    expect((await host.exchange(xfr(4, echo))).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('returns the parameters that the host set, until they are reset', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    const byPowerOn = await host.exchange(message(0x6c, 1, [0, 0, 0]))
    const set = [0x18, 0x10, 0, 0x4d, 0, 0xfe, 0]
    expect((await host.exchange(message(0x61, 2, [1, 0, 0], ...set))).slice(7)).toEqual([0, 0, 1, ...set])
    expect((await host.exchange(message(0x6c, 3, [0, 0, 0]))).slice(10)).toEqual(set)
    expect((await host.exchange(message(0x6d, 4, [0, 0, 0]))).slice(7)).toEqual(byPowerOn.slice(7))
    expect((await host.exchange(message(0x61, 5, [2, 0, 0], ...set))).slice(7, 9)).toEqual([0x40, 7])
    expect((await host.exchange(message(0x61, 6, [0, 0, 0], ...set))).slice(7, 9)).toEqual([0x40, 1])
  })

  it('fails a command at once if its card is removed during it, and works with the next card', async () => {
    const card = createEchoCard()
    const host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.exchange(powerOn(0))
    host.reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    const late = host.exchange(xfr(1, echo))
    await host.clock.advance(500)
    host.reader.remove()
    expect((await late).slice(6, 9)).toEqual([1, 0x42, 0xfe])
    host.reader.insert(card)
    expect((await host.exchange(powerOn(2))).slice(6, 9)).toEqual([2, 0, 0])
    await host.clock.advance(1000)
    expect(card.log).toHaveLength(0)
    expect((await host.exchange(xfr(3, echo))).slice(6, 9)).toEqual([3, 0, 0])
  })

  it('rejects every message between the ABORT request and the Abort message', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    const setup = {
      requestType: 'class',
      recipient: 'interface',
      request: 1,
      value: 0x0300,
      index: 0,
    } as const
    await host.device.controlTransferOut(setup)
    expect((await host.exchange(xfr(2, echo))).slice(7, 9)).toEqual([0x40, 0xff])
    expect(await host.exchange(message(0x72, 3, [0, 0, 0]))).toEqual([0x81, 0, 0, 0, 0, 0, 3, 0, 0, 0])
    expect((await host.exchange(xfr(4, echo))).slice(7, 9)).toEqual([0, 0])
  })

  it('returns clocks and data rates by class request, or stalls if its profile has none', async () => {
    const setup = { requestType: 'class', recipient: 'interface', value: 0, index: 0 } as const
    const nitrokey = await new Host(readerProfiles.nitrokey3).open()
    const clocks = await nitrokey.device.controlTransferIn({ ...setup, request: 2 }, 64)
    const rates = await nitrokey.device.controlTransferIn({ ...setup, request: 3 }, 64)
    expect([clocks.data?.getUint32(0, true), rates.data?.getUint32(0, true)]).toEqual([3580, 9600])
    const duali = await new Host(readerProfiles.dualiAbcm6).open()
    expect((await duali.device.controlTransferIn({ ...setup, request: 3 }, 64)).status).toBe('stall')
  })

  it('without empty packets leaves the transfer pending after a response that ends with a full packet', async () => {
    const profile = { ...readerProfiles.dualiAbcm6, emptyPackets: false }
    const host = await new Host(profile, createEchoCard()).open()
    await host.exchange(powerOn(0))
    let isOver = false
    const pending = host.exchange(xfr(1, [0, 0x12, 0, 52, 0])).then((response) => {
      isOver = true
      return response
    })
    await host.clock.advance(60_000)
    expect(isOver).toBe(false)
    await host.device.transferOut(2, message(0x65, 2, [0, 0, 0]))
    expect(await pending).toHaveLength(64 + 10)
  })
})
