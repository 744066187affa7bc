/** What goes over the wire for one command, and how hostile cards are stopped. */
import { describe, expect, it } from 'vitest'
import { type AbortSignalLike, exchange, expectOk, fromHex, toHex } from '../src/index.ts'
import { answering, extended, ScriptedChannel, short } from './scripted-channel.ts'

const read = { name: 'READ BINARY', cla: 0, ins: 0xb0, p1: 0, p2: 0, responseBytes: 65536 }
const put = (bytes: number, cla = 0) => ({
  name: 'PUT',
  cla,
  ins: 0xdb,
  p1: 0,
  p2: 0,
  data: new Uint8Array(bytes).fill(0xaa),
})
const aa = (count: number) => 'aa'.repeat(count)

describe('exchange', () => {
  it('collects 61xx by GET RESPONSE on the same logical channel', async () => {
    const channel = new ScriptedChannel([
      ['02b0000000', '01026102'],
      ['02c0000002', '03049000'],
    ])
    expect(await exchange(channel, { ...read, cla: 2 })).toEqual({ data: fromHex('01020304'), sw: 0x9000 })
  })

  it('a GET RESPONSE that asked for too much is sent again with the Le that 6Cxx tells', async () => {
    const channel = new ScriptedChannel([
      ['00b0000000', '6100'],
      ['00c0000000', '6c01'],
      ['00c0000001', '059000'],
    ])
    expect(toHex((await exchange(channel, read)).data)).toBe('05')
  })

  it('sends again once with the Le that 6Cxx tells, and no more', async () => {
    const channel = new ScriptedChannel([
      ['00b0000000', '6c02'],
      ['00b0000002', '03049000'],
    ])
    expect(toHex((await exchange(channel, read)).data)).toBe('0304')
    const stubborn = answering(() => fromHex('6c02'))
    await expect(exchange(stubborn, read)).rejects.toMatchObject({ code: 'wire/malformed' })
  })

  it('never sends a sensitive command twice, and overwrites its bytes', async () => {
    const channel = new ScriptedChannel([['00db000002aaaa00', '6c02']])
    const answer = await exchange(channel, { ...put(2), responseBytes: 256 }, { sensitive: true })
    expect(answer.sw).toBe(0x6c02)
    expect(channel.received[0]).toEqual(new Uint8Array(8))
  })

  it('a command that asked for nothing is not sent again, whatever Le the card names', async () => {
    const channel = new ScriptedChannel([['00db000002aaaa', '6c02']])
    expect((await exchange(channel, put(2))).sw).toBe(0x6c02)
    expect(channel.left).toBe(0)
  })

  it('stays short up to the last byte that a short APDU carries, at extended level too', async () => {
    const asked = new ScriptedChannel([['00b0000000', '9000']], extended)
    expect((await exchange(asked, { ...read, responseBytes: 256 })).sw).toBe(0x9000)
    for (const limits of [short, extended]) {
      const full = new ScriptedChannel([[`00db0000ff${aa(255)}00`, '9000']], limits)
      expect((await exchange(full, { ...put(255), responseBytes: 256 })).sw).toBe(0x9000)
    }
  })

  it('where data and Le together are one byte more than the reader takes, the last part alone has Le', async () => {
    const channel = new ScriptedChannel(
      [
        [`10db0000fe${aa(254)}`, '9000'],
        ['00db000001aa00', '9000'],
      ],
      { ...short, commandBytes: 260 },
    )
    expect((await exchange(channel, { ...put(255), responseBytes: 256 })).sw).toBe(0x9000)
    expect(channel.left).toBe(0)
  })

  it('chains 256 bytes in two short APDUs, and sends one at extended level', async () => {
    const chained = new ScriptedChannel([
      [`10db0000ff${aa(255)}`, '9000'],
      ['00db000001aa', '9000'],
    ])
    expect((await exchange(chained, put(256))).sw).toBe(0x9000)
    const whole = new ScriptedChannel([[`00db0000000100${aa(256)}0000`, '9000']], extended)
    expect((await exchange(whole, { ...put(256), responseBytes: 65536 })).sw).toBe(0x9000)
    const narrow = new ScriptedChannel(
      [
        [`10db0000ff${aa(255)}`, '9000'],
        ['00db000001aa', '9000'],
      ],
      { ...extended, commandBytes: 262 },
    )
    expect((await exchange(narrow, put(256))).sw).toBe(0x9000)
  })

  it('a chain that the card leaves is not continued nor followed', async () => {
    for (const sw of ['6884', '6110', '6c10']) {
      const channel = new ScriptedChannel([[`10db0000ff${aa(255)}`, sw]])
      expect((await exchange(channel, put(300))).sw).toBe(Number.parseInt(sw, 16))
      expect(channel.left).toBe(0)
    }
  })

  describe('a long command for a card that has extended lengths and no chaining', () => {
    // Historical bytes 80 73 C0 21 40.
    const atr = fromHex('3b8580018073c0214056')
    const enveloping = (script: [string, string][], limits = short): ScriptedChannel =>
      Object.assign(new ScriptedChannel(script, limits), { atr })

    it('goes in ENVELOPE commands, and its answer is that of the last', async () => {
      const channel = enveloping([
        [`00c20000ff00db0000000190${aa(248)}`, '9000'],
        [`00c200009a${aa(152)}000000`, '6103'],
        ['00c0000003', '0102039000'],
      ])
      const answer = await exchange(channel, { ...put(400), responseBytes: 65536 })
      expect(answer).toEqual({ data: fromHex('010203'), sw: 0x9000 })
      expect(channel.left).toBe(0)
    })

    it('never parts Le from all of the data', async () => {
      // 7 bytes of header, 248 of data: Le alone would be the last part.
      for (const bytes of [501, 502, 503, 504, 758]) {
        const sent: Uint8Array[] = []
        const channel = { ...answering((each) => (sent.push(each.slice()), fromHex('9000'))), atr }
        await exchange(channel, { ...put(bytes), responseBytes: 256 })
        const parts = sent.map((each) => each.subarray(5, 5 + (each[4] ?? 0)))
        expect(parts.reduce((sum, part) => sum + part.length, 0)).toBe(7 + bytes + 2)
        expect(parts.at(-1)?.length).toBeGreaterThan(2)
      }
    })

    it('a card that knows no ENVELOPE is asked once, and its refusal is the answer', async () => {
      const channel = enveloping([[`00c20000ff00db000000012c${aa(248)}`, '6d00']])
      expect((await exchange(channel, put(300))).sw).toBe(0x6d00)
      expect(channel.left).toBe(0)
    })

    it('an ENVELOPE is on the command’s logical channel, and of no other class', async () => {
      for (const [cla, envelope] of [
        [0x02, '02'],
        [0x0e, '02'],
        [0x82, '02'],
        [0x63, '43'],
      ] as const) {
        const heads: string[] = []
        const channel = {
          ...answering((each) => (heads.push(toHex(each.subarray(0, 2))), fromHex('9000'))),
          atr,
        }
        await exchange(channel, put(300, cla))
        expect(heads).toEqual([`${envelope}c2`, `${envelope}c2`])
      }
    })

    it('secrets are overwritten in every part, and no part is sent twice', async () => {
      const channel = enveloping([
        [`00c20000ff00db000000012c${aa(248)}`, '9000'],
        [`00c2000034${aa(52)}`, '6c10'],
      ])
      expect((await exchange(channel, put(300), { sensitive: true })).sw).toBe(0x6c10)
      expect(channel.received.every((each) => each.every((byte) => byte === 0))).toBe(true)
    })

    it('an answer that was asked for wrongly is not asked for again: the part before Le would be another', async () => {
      const channel = enveloping([
        [`00c20000ff00db000000012c${aa(248)}`, '9000'],
        [`00c2000036${aa(52)}010000`, '6c10'],
      ])
      expect((await exchange(channel, { ...put(300), responseBytes: 256 })).sw).toBe(0x6c10)
      expect(channel.left).toBe(0)
    })

    it('goes in a chain where the card has chaining too', async () => {
      const channel = Object.assign(
        new ScriptedChannel([
          [`10db0000ff${aa(255)}`, '9000'],
          [`00db00002d${aa(45)}`, '9000'],
        ]),
        // Historical bytes 80 73 C0 21 C0.
        { atr: fromHex('3b8580018073c021c0d6') },
      )
      expect((await exchange(channel, put(300))).sw).toBe(0x9000)
    })

    it('a reader with room for a byte or two ends it all the same', async () => {
      for (const commandBytes of [7, 8, 9, 10, 11, 12]) {
        const channel = { ...answering(() => fromHex('9000'), { ...short, commandBytes }), atr }
        expect((await exchange(channel, { ...put(30), responseBytes: 256 })).sw).toBe(0x9000)
      }
    })

    it('a reader that takes extended APDUs is given one', async () => {
      const channel = enveloping([[`00db000000012c${aa(300)}`, '9000']], extended)
      expect((await exchange(channel, put(300))).sw).toBe(0x9000)
    })
  })

  it('asks for no more than the reader can carry', async () => {
    const channel = new ScriptedChannel(
      [
        ['00b00000fc', '6100'],
        ['00c00000fc', '019000'],
      ],
      { ...short, responseBytes: 252 },
    )
    expect((await exchange(channel, read)).data.length).toBe(1)
    const wide = new ScriptedChannel([['00b00000000800', '9000']], { ...extended, responseBytes: 2048 })
    expect((await exchange(wide, read)).sw).toBe(0x9000)
  })

  it('leaves the rest on the card when told not to follow', async () => {
    const channel = new ScriptedChannel([['00b0000000', '016110']], extended)
    expect(await exchange(channel, read, { follow: false })).toEqual({ data: fromHex('01'), sw: 0x6110 })
  })

  it('what has to go in one short APDU and does not fit is refused before anything is sent', async () => {
    const channel = new ScriptedChannel([])
    await expect(exchange(channel, put(256), { follow: false })).rejects.toMatchObject({
      code: 'card/not-supported',
    })
  })

  it('a card that promises more for ever is refused', async () => {
    const calls = { count: 0 }
    const empty = answering(() => (calls.count++, fromHex('6101')))
    await expect(exchange(empty, read)).rejects.toMatchObject({ code: 'wire/malformed' })
    expect(calls.count).toBe(2)
    calls.count = 0
    const drip = answering(() => (calls.count++, fromHex('006101')))
    await expect(exchange(drip, read)).rejects.toMatchObject({ code: 'wire/malformed' })
    expect(calls.count).toBeLessThan(2000)
    calls.count = 0
    const flood = answering(() => (calls.count++, fromHex(`${'00'.repeat(256)}6100`)))
    await expect(exchange(flood, read)).rejects.toMatchObject({ code: 'wire/malformed' })
    expect(calls.count).toBe(513)
    await expect(
      exchange(
        answering(() => fromHex('90')),
        read,
      ),
    ).rejects.toMatchObject({ code: 'wire/malformed' })
  })

  it('an abort stops between two APDUs', async () => {
    const signal = { aborted: false, reason: 'enough', addEventListener() {}, removeEventListener() {} }
    const channel = new ScriptedChannel([['00b0000000', '016101']])
    channel.onTransmit = () => (signal.aborted = true)
    await expect(exchange(channel, read, { signal: signal as AbortSignalLike })).rejects.toMatchObject({
      code: 'work/aborted',
    })
  })

  it('a refusal carries the name and the status', () => {
    expect(() => expectOk({ data: new Uint8Array(), sw: 0x6982 }, 'READ BINARY')).toThrow(
      /READ BINARY with 6982 \(security/,
    )
  })
})

describe('the data at the call are those that are sent', () => {
  it.each([
    ['an array', () => new Uint8Array(600).fill(0xaa)],
    ['a Node Buffer', () => Buffer.from(Buffer.alloc(600, 0xaa).toString('base64'), 'base64')],
  ])('in every part of a chain: %s that is overwritten meanwhile', async (_what, make) => {
    const data = make()
    const channel = new ScriptedChannel([
      [`10db0000ff${aa(255)}`, '9000'],
      [`10db0000ff${aa(255)}`, '9000'],
      [`00db00005a${aa(90)}`, '9000'],
    ])
    channel.onTransmit = () => data.fill(0)
    expect((await exchange(channel, { ...put(0), data })).sw).toBe(0x9000)
  })

  it('and when the card asks for the command again', async () => {
    const data = new Uint8Array(2).fill(0xaa)
    const channel = new ScriptedChannel([
      ['00db000002aaaa00', '6c02'],
      ['00db000002aaaa02', '9000'],
    ])
    channel.onTransmit = () => data.fill(0)
    expect((await exchange(channel, { ...put(0), data, responseBytes: 256 })).sw).toBe(0x9000)
  })
})
