/**
 * Tests of readers with several slots and of devices with several readers, message by message (CCID 1.1, 4.2 and 5.1).
 */
import { describe, expect, it } from 'vitest'
import {
  compositeProfiles,
  createEchoCard,
  HandClock,
  readerProfiles,
  virtualUsb,
  VirtualCompositeReader,
} from '../src/index.ts'
import { echo, Host, message, powerOn, xfr } from './ccid-host.ts'

const to = (slot: number, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
  bytes[5] = slot
  return bytes
}

describe('a reader with two slots', () => {
  it('can hold a card in each slot, and reports each with two bits', async () => {
    const host = await new Host(readerProfiles.springCardE518).open()
    host.reader.insert(createEchoCard(), 1)
    expect(await host.read(3, 8)).toEqual([0x50, 0b1100])
    host.reader.insert(createEchoCard(), 0)
    expect(await host.read(3, 8)).toEqual([0x50, 0b0111])
    host.reader.remove(1)
    expect(await host.read(3, 8)).toEqual([0x50, 0b1001])
    expect((await host.exchange(to(0, powerOn(1)))).slice(5, 9)).toEqual([0, 1, 0, 0])
    expect((await host.exchange(to(1, powerOn(2)))).slice(5, 9)).toEqual([1, 2, 0x42, 0xfe])
    expect((await host.exchange(to(2, powerOn(3)))).slice(5, 9)).toEqual([2, 3, 0x42, 5])
  })

  it('responds for a fast card while a slow one works if bMaxCCIDBusySlots is 2 or more', async () => {
    const host = await new Host(readerProfiles.springCardE518, createEchoCard()).open()
    host.reader.insert(createEchoCard(), 1)
    await host.exchange(to(0, powerOn(1)))
    await host.exchange(to(1, powerOn(2)))
    host.reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    await host.device.transferOut(2, to(0, xfr(3, echo)))
    expect((await host.exchange(to(1, xfr(4, echo)))).slice(5)).toEqual([1, 4, 0, 0, 0, 0xaa, 0xbb, 0x90, 0])
    await host.clock.advance(1000)
    expect((await host.response()).slice(5)).toEqual([0, 3, 0, 0, 0, 0xaa, 0xbb, 0x90, 0])
  })

  it('rejects a message for the second slot while the first is busy if bMaxCCIDBusySlots is 1', async () => {
    const host = await new Host(readerProfiles.sdi011, createEchoCard()).open()
    await host.exchange(to(0, powerOn(1)))
    host.reader.faults.schedule({ kind: 'slow-card', ends: 'once', delayMs: 1000 })
    await host.device.transferOut(2, to(0, xfr(2, [0, 0, 0, 0, 0])))
    expect((await host.exchange(to(1, message(0x65, 3, [0, 0, 0])))).slice(0, 9)).toEqual([
      0x81, 0, 0, 0, 0, 1, 3, 0x42, 0xe0,
    ])
    await host.clock.advance(1000)
    expect((await host.response())[6]).toBe(2)
  })
})

describe('a device with several interfaces', () => {
  async function plugged() {
    const composite = new VirtualCompositeReader(compositeProfiles.feitianR502, { clock: new HandClock() })
    const [device] = await virtualUsb([composite], { protectedClasses: false }).getDevices()
    if (device === undefined) throw new Error('The bus has no device.')
    await device.open()
    const read = async (endpoint: number): Promise<number[]> => {
      const { data } = await device.transferIn(endpoint, 300)
      return [...new Uint8Array((data as DataView).buffer, data?.byteOffset, data?.byteLength)]
    }
    return { composite, device, read }
  }

  it('has a name and separate endpoints for each interface', async () => {
    const { device } = await plugged()
    expect(
      device.configuration?.interfaces.map(({ alternate }) => [
        alternate.interfaceName,
        alternate.endpoints.map((each) => `${each.direction}${each.endpointNumber}`).join(' '),
      ]),
    ).toEqual([
      ['R502 Contactless Reader', 'in1 out2 in3'],
      ['R502 Contact Reader', 'in4 out5 in6'],
      ['R502 SAM1 Reader', 'in7 out8'],
      ['R502 SAM2 Reader', 'in10 out11'],
    ])
  })

  it('sends responses and card notifications on the endpoints of the interface', async () => {
    const { composite, device, read } = await plugged()
    await device.claimInterface(0)
    await device.claimInterface(1)
    const card = createEchoCard()
    composite.reader(1).insert(card)
    expect(await read(6)).toEqual([0x50, 0b11])
    await device.transferOut(2, powerOn(1))
    await device.transferOut(5, powerOn(1))
    expect((await read(1)).slice(7, 9)).toEqual([0x42, 0xfe])
    expect((await read(4)).slice(10)).toEqual([...card.atr])
    expect(composite.readers.map(({ counters }) => counters.messages.get('IccPowerOn'))).toEqual([
      1,
      1,
      undefined,
      undefined,
    ])
  })

  it('aborts a command or halts an endpoint of one interface without affecting another', async () => {
    const { composite, device, read } = await plugged()
    for (const number of [0, 1]) {
      await device.claimInterface(number)
      composite.reader(number).insert(createEchoCard())
    }
    composite.reader(1).faults.schedule({ kind: 'stall-out', ends: 'once' }, { on: 'any' })
    expect((await device.transferOut(5, powerOn(1))).status).toBe('stall')
    expect((await device.transferOut(2, powerOn(1))).status).toBe('ok')
    expect((await read(1))[7]).toBe(0)
    await device.clearHalt('out', 5)
    expect((await device.transferOut(5, powerOn(2))).status).toBe('ok')
    expect((await read(4))[7]).toBe(0)
    const abort = { requestType: 'class', recipient: 'interface', request: 1, value: 0x0300 } as const
    expect((await device.controlTransferOut({ ...abort, index: 1 })).status).toBe('ok')
    await device.transferOut(5, xfr(4, [0, 0, 0, 0, 0]))
    expect((await read(4))[8]).toBe(0xff)
    await device.transferOut(2, xfr(4, echo))
    expect((await read(1)).slice(10)).toEqual([0xaa, 0xbb, 0x90, 0])
  })

  it('is unplugged as a whole if one of its readers is unplugged', async () => {
    const { composite } = await plugged()
    composite.reader(3).unplug()
    expect([composite, ...composite.readers].map(({ isPlugged }) => isPlugged)).toEqual([
      ...Array.from({ length: 5 }, () => false),
    ])
  })
})
