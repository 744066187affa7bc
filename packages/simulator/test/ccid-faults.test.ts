/** Tests of injected faults and of the counters of a virtual reader, message by message (CCID 1.1, 6). */
import { beforeEach, describe, expect, it } from 'vitest'
import { createEchoCard, type EchoCard, type Fault, readerProfiles } from '../src/index.ts'
import { echo, Host, message, powerOn, xfr } from './ccid-host.ts'

describe('an injected fault', () => {
  let card: EchoCard
  let host: Host
  beforeEach(async () => {
    card = createEchoCard()
    host = await new Host(readerProfiles.dualiAbcm6, card).open()
    await host.exchange(powerOn(0))
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
    '%s: the host receives the expected message, and the card log shows what was executed',
    async (kind, seen, executed) => {
      host.reader.faults.schedule({ kind, ends: 'once' } as Fault)
      expect(await host.exchange(xfr(1, echo))).toEqual(seen)
      expect(card.log).toHaveLength(executed)
    },
  )

  it('with skip 1 and ends "twice" applies to the second and third message only', async () => {
    host.reader.faults.schedule({ kind: 'mute-card', ends: 'twice' }, { skip: 1 })
    const codes: number[] = []
    for (let sequence = 1; sequence <= 4; sequence++)
      codes.push((await host.exchange(xfr(sequence, echo)))[8] as number)
    expect(codes).toEqual([0, 0xfe, 0xfe, 0])
  })

  it('with ends "until-reset" ends at a power-on', async () => {
    host.reader.faults.schedule({ kind: 'mute-card', ends: 'until-reset' })
    for (let run = 0; run < 5; run++) expect((await host.exchange(xfr(1, echo)))[8]).toBe(0xfe)
    await host.exchange(powerOn(2))
    expect((await host.exchange(xfr(3, echo)))[8]).toBe(0)
  })

  it('stale-response and stall-in precede the right response', async () => {
    host.reader.faults.schedule({ kind: 'stale-response', ends: 'once' })
    expect((await host.exchange(xfr(1, echo)))[6]).toBe(0)
    expect(await host.response()).toEqual(good)
    host.reader.faults.schedule({ kind: 'stale-response', ends: 'once', frames: 3 })
    expect((await host.exchange(xfr(1, echo)))[6]).toBe(0xfe)
    expect((await host.response())[6]).toBe(0xff)
    expect((await host.response())[6]).toBe(0)
    expect(await host.response()).toEqual(good)
    host.reader.faults.schedule({ kind: 'stall-in', ends: 'once' })
    await host.device.transferOut(2, xfr(1, echo))
    expect((await host.device.transferIn(1, 512)).status).toBe('stall')
    await host.device.clearHalt('in', 1)
    expect(await host.response()).toEqual(good)
  })

  it.each([
    ['slot-busy', undefined, 0xe0, 0],
    ['auto-sequence', undefined, 0xf2, 0],
    ['parity-error', 'before', 0xfd, 0],
    ['parity-error', 'during', 0xfd, 1],
    ['overrun', 'before', 0xfc, 0],
    ['overrun', 'during', 0xfc, 1],
    ['hardware-error', 'before', 0xfb, 0],
    ['hardware-error', 'during', 0xfb, 1],
  ] as const)(
    '%s %s: the response has the right bError, and the card log shows what was executed',
    async (...row) => {
      const [kind, moment, code, executed] = row
      host.reader.faults.schedule({ kind, ends: 'once', moment } as Fault)
      expect(await host.exchange(xfr(1, echo))).toEqual([0x80, 0, 0, 0, 0, 0, 1, 0x40, code, 0])
      expect(card.log).toHaveLength(executed)
      expect(await host.exchange(xfr(1, echo))).toEqual(good)
    },
  )

  it('hardware-notice reports slot and sequence number; with hardware-notice-alone no response follows', async () => {
    await host.read(3, 8)
    for (const [kind, isAnswered] of [
      ['hardware-notice', true],
      ['hardware-notice-alone', false],
    ] as const) {
      host.reader.faults.schedule({ kind, ends: 'once', moment: 'before' })
      await host.device.transferOut(2, xfr(7, echo))
      // 6.3.2: slot, bSeq, overcurrent.
      expect(await host.read(3, 8)).toEqual([0x51, 0, 7, 1])
      if (isAnswered) expect(await host.response()).toEqual([0x80, 0, 0, 0, 0, 0, 7, 0x40, 0xfb, 0])
    }
    expect(await host.exchange(xfr(1, echo))).toEqual(good)
  })

  it('a reinserted card has no power and is mute at the first power-on', async () => {
    host.reader.faults.schedule({ kind: 'reinserted', ends: 'once' })
    expect((await host.exchange(xfr(1, echo))).slice(7, 9)).toEqual([0x41, 0xfe])
    expect((await host.exchange(powerOn(2))).slice(7, 9)).toEqual([0x41, 0xfe])
    expect((await host.exchange(powerOn(3))).slice(7, 9)).toEqual([0, 0])
    expect(await host.exchange(xfr(1, echo))).toEqual(good)
    expect(card.log).toHaveLength(1)
  })

  it('suspended: transfers fail and the card loses power, but the device stays open', async () => {
    host.reader.faults.schedule({ kind: 'suspended', ends: 'once' })
    const pending = host.response()
    await host.device.transferOut(2, xfr(1, echo))
    await expect(pending).rejects.toMatchObject({ name: 'NetworkError' })
    expect(card.log).toHaveLength(0)
    expect(host.device.opened).toBe(true)
    expect((await host.exchange(xfr(2, echo))).slice(7, 9)).toEqual([0x41, 0xfe])
  })

  it('no-empty-packet omits the empty packet after a full one, extra-empty-packet adds one', async () => {
    // Header, 52 bytes of data and the status word fill exactly one packet.
    const whole = xfr(1, [0, 0x10, 0, 0, 52, ...new Uint8Array(52), 0])
    host.reader.faults.schedule({ kind: 'no-empty-packet', ends: 'once' })
    await host.device.transferOut(2, whole)
    expect(await host.read(1, 64)).toHaveLength(64)
    expect(host.reader.pendingIn(0x81)).toBe(0)
    host.reader.faults.schedule({ kind: 'extra-empty-packet', ends: 'once' })
    expect(await host.exchange(xfr(1, echo))).toEqual(good)
    expect(await host.response()).toEqual([])
  })

  it('damaged-atr and bad-atr affect the response to power-on, but the card has power', async () => {
    host.reader.faults.schedule({ kind: 'damaged-atr', ends: 'once' }, { on: 'IccPowerOn' })
    host.reader.faults.schedule({ kind: 'bad-atr', ends: 'once' }, { on: 'IccPowerOn' })
    expect((await host.exchange(powerOn(2))).at(-1)).toBe((card.atr.at(-1) as number) ^ 0xff)
    expect((await host.exchange(powerOn(3))).slice(7, 9)).toEqual([0x40, 0xf8])
    expect((await host.exchange(powerOn(4))).slice(10)).toEqual([...card.atr])
  })

  it('time extensions are sent at the times of the given clock', async () => {
    host.reader.faults.schedule({
      kind: 'time-extension',
      ends: 'once',
      frames: 2,
      multiplier: 4,
      delayMs: 1000,
    })
    expect((await host.exchange(xfr(1, echo))).slice(6, 9)).toEqual([1, 0x80, 4])
    const second = host.response()
    await host.clock.advance(1000)
    expect((await second).slice(6, 9)).toEqual([1, 0x80, 4])
    const last = host.response()
    await host.clock.advance(1000)
    expect(await last).toEqual(good)
  })

  it('card-pulled before: the card executes nothing; during: the response is lost', async () => {
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'before', ends: 'once' })
    expect((await host.exchange(xfr(1, echo))).slice(7, 9)).toEqual([0x42, 0xfe])
    expect(card.log).toHaveLength(0)
    host.reader.insert(card)
    await host.exchange(powerOn(2))
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'during', ends: 'once' })
    expect((await host.exchange(xfr(3, echo))).slice(7, 9)).toEqual([0x42, 0xfe])
    expect(card.log).toHaveLength(1)
  })

  it('unplugged during: pending transfers reject', async () => {
    host.reader.faults.schedule({ kind: 'unplugged', moment: 'during', ends: 'once' })
    const pending = host.device.transferIn(1, 512)
    await Promise.all([
      expect(pending).rejects.toMatchObject({ name: 'AbortError' }),
      host.device.transferOut(2, xfr(1, echo)),
    ])
  })

  it('card-pulled and unplugged after: the host still receives the response', async () => {
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'after', ends: 'once' })
    expect(await host.exchange(xfr(1, echo))).toEqual(good)
    expect(host.reader.cardIn()).toBeUndefined()
    host.reader.insert(card)
    await host.exchange(powerOn(2))
    host.reader.faults.schedule({ kind: 'unplugged', moment: 'after', ends: 'once' })
    expect((await host.exchange(xfr(1, echo))).slice(10)).toEqual(good.slice(10))
    expect(host.reader.isPlugged).toBe(false)
    expect(card.log).toHaveLength(2)
  })

  it('unplugged before: transferOut rejects and the card executes nothing', async () => {
    host.reader.faults.schedule({ kind: 'unplugged', moment: 'before', ends: 'once' })
    await expect(host.device.transferOut(2, xfr(1, echo))).rejects.toMatchObject({ name: 'AbortError' })
    expect(card.log).toHaveLength(0)
  })

  it('with ends "until-reset" is not ended by a power-on before it has begun', async () => {
    host.reader.faults.schedule({ kind: 'mute-card', ends: 'until-reset' })
    await host.exchange(powerOn(1))
    expect((await host.exchange(xfr(2, echo)))[8]).toBe(0xfe)
    await host.device.reset()
    await host.exchange(powerOn(3))
    expect((await host.exchange(xfr(4, echo)))[8]).toBe(0)
    expect(host.reader.faults.waiting).toBe(0)
  })

  it('applies to any part of a chained command or response', async () => {
    host.reader.faults.schedule({ kind: 'truncated-message', ends: 'once' })
    expect(await host.exchange(xfr(1, [0, 0x12], 1))).toHaveLength(9)
    expect(await host.exchange(xfr(2, [8, 0, 0, 0, 0], 2))).toHaveLength(1014)
    host.reader.faults.schedule({ kind: 'huge-length', ends: 'once' })
    expect((await host.exchange(xfr(3, [], 0x10))).slice(1, 5)).toEqual([0xff, 0xff, 0xff, 0xff])
    host.reader.faults.schedule({ kind: 'card-pulled', moment: 'during', ends: 'once' })
    expect((await host.exchange(xfr(4, [], 0x10))).slice(7, 9)).toEqual([0x42, 0xfe])
  })

  it('applies to the message type that its target names', async () => {
    host.reader.faults.schedule({ kind: 'one-byte-message', ends: 'twice' }, { on: 'IccPowerOn' })
    expect((await host.exchange(xfr(1, echo))).slice(10)).toEqual(good.slice(10))
    expect(await host.exchange(powerOn(2))).toEqual([0x80])
    expect(await host.exchange(powerOn(3))).toEqual([0x80])
    expect(await host.exchange(powerOn(4))).toHaveLength(10 + card.atr.length)
    host.reader.faults.schedule(
      { kind: 'card-pulled', moment: 'during', ends: 'once' },
      { on: 'any', skip: 1 },
    )
    expect((await host.exchange(message(0x65, 5, [0, 0, 0])))[7]).toBe(0)
    expect((await host.exchange(message(0x65, 6, [0, 0, 0])))[7]).toBe(2)
  })

  it('silent-reader ends at a bus reset, and the card has executed the command', async () => {
    host.reader.faults.schedule({ kind: 'silent-reader', ends: 'once' })
    await host.device.transferOut(2, xfr(1, echo))
    await host.clock.advance(60_000)
    expect(card.log).toHaveLength(1)
    expect((await host.exchange(powerOn(2))).slice(7, 9)).toEqual([0x40, 0xe0])
    await host.device.reset()
    expect((await host.exchange(powerOn(3))).slice(7, 9)).toEqual([0, 0])
  })
})

describe('the counters', () => {
  it('count the APDUs that reach the card and the transfers from the first APDU to the last', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    await host.exchange(powerOn(0))
    await host.exchange(xfr(1, echo))
    await host.exchange(message(0x65, 2, [0, 0, 0]))
    await host.exchange(xfr(3, echo))
    await host.exchange(message(0x65, 4, [0, 0, 0]))
    const { apdus, bytesToCard, bytesFromCard, usbTransfers, messages } = host.reader.counters
    expect({ apdus, bytesToCard, bytesFromCard, usbTransfers }).toEqual({
      apdus: 2,
      bytesToCard: 2 * echo.length,
      bytesFromCard: 8,
      usbTransfers: 6,
    })
    expect(Object.fromEntries(messages)).toEqual({ IccPowerOn: 1, XfrBlock: 2, GetSlotStatus: 2 })
  })

  it('count a chained block as one APDU with all its transfers, and ignore rejected blocks', async () => {
    const host = await new Host(readerProfiles.dualiAbcm6, createEchoCard()).open()
    const { counters } = host.reader
    await host.exchange(xfr(0, echo))
    await host.exchange(powerOn(1))
    await host.exchange(xfr(2, [0, 0x12, 8], 1))
    await host.exchange(xfr(3, [0, 0, 0, 0], 2))
    await host.exchange(xfr(4, [], 0x10))
    await host.exchange(xfr(5, [], 0x10))
    expect(counters).toMatchObject({ apdus: 1, usbTransfers: 8, bytesToCard: 7, bytesFromCard: 2050 })
    counters.reset()
    host.reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 2 })
    await host.exchange(xfr(6, echo))
    await host.response()
    await host.response()
    expect(counters).toMatchObject({ apdus: 1, usbTransfers: 4 })
  })
})
