/** The APDUs that `exchange` sends for one command, and its limits against hostile cards. */
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
  it('sends GET RESPONSE after 61xx on the same logical channel', async () => {
    const channel = new ScriptedChannel([
      ['02b0000000', '01026102'],
      ['02c0000002', '03049000'],
    ])
    expect(await exchange(channel, { ...read, cla: 2 })).toEqual({ data: fromHex('01020304'), sw: 0x9000 })
  })

  it('sends GET RESPONSE again with the Le of 6Cxx', async () => {
    const channel = new ScriptedChannel([
      ['00b0000000', '6100'],
      ['00c0000000', '6c01'],
      ['00c0000001', '059000'],
    ])
    expect(toHex((await exchange(channel, read)).data)).toBe('05')
  })

  it('sends a command again with the Le of 6Cxx, but only once', async () => {
    const channel = new ScriptedChannel([
      ['00b0000000', '6c02'],
      ['00b0000002', '03049000'],
    ])
    expect(toHex((await exchange(channel, read)).data)).toBe('0304')
    const stubborn = answering(() => fromHex('6c02'))
    await expect(exchange(stubborn, read)).rejects.toMatchObject({ code: 'wire/malformed' })
  })

  it('never sends a sensitive command twice and overwrites its bytes', async () => {
    const channel = new ScriptedChannel([['00db000002aaaa00', '6c02']])
    const response = await exchange(channel, { ...put(2), responseBytes: 256 }, { sensitive: true })
    expect(response.sw).toBe(0x6c02)
    expect(channel.received[0]).toEqual(new Uint8Array(8))
  })

  it('does not send a command without Le again after 6Cxx', async () => {
    const channel = new ScriptedChannel([['00db000002aaaa', '6c02']])
    expect((await exchange(channel, put(2))).sw).toBe(0x6c02)
    expect(channel.left).toBe(0)
  })

  it('uses a short APDU if the command fits, even if the channel supports extended ones', async () => {
    const reading = new ScriptedChannel([['00b0000000', '9000']], extended)
    expect((await exchange(reading, { ...read, responseBytes: 256 })).sw).toBe(0x9000)
    for (const limits of [short, extended]) {
      const full = new ScriptedChannel([[`00db0000ff${aa(255)}00`, '9000']], limits)
      expect((await exchange(full, { ...put(255), responseBytes: 256 })).sw).toBe(0x9000)
    }
  })

  it('chains if data and Le exceed the reader’s limit by one byte, with Le in the last part only', async () => {
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

  it('sends 256 bytes in two chained short APDUs, or in one extended APDU if it fits the reader', async () => {
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

  it('neither continues nor follows a chain that the card ended', async () => {
    for (const sw of ['6884', '6110', '6c10']) {
      const channel = new ScriptedChannel([[`10db0000ff${aa(255)}`, sw]])
      expect((await exchange(channel, put(300))).sw).toBe(Number.parseInt(sw, 16))
      expect(channel.left).toBe(0)
    }
  })

  describe('for a card with extended lengths but no chaining', () => {
    // Historical bytes 80 73 C0 21 40.
    const atr = fromHex('3b8580018073c0214056')
    const enveloping = (script: [string, string][], limits = short): ScriptedChannel =>
      Object.assign(new ScriptedChannel(script, limits), { atr })

    it('sends a long command in ENVELOPEs and returns the response to the last one', async () => {
      const channel = enveloping([
        [`00c20000ff00db0000000190${aa(248)}`, '9000'],
        [`00c200009a${aa(152)}000000`, '6103'],
        ['00c0000003', '0102039000'],
      ])
      const response = await exchange(channel, { ...put(400), responseBytes: 65536 })
      expect(response).toEqual({ data: fromHex('010203'), sw: 0x9000 })
      expect(channel.left).toBe(0)
    })

    it('never puts Le alone into the last ENVELOPE', async () => {
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

    it('sends ENVELOPE once and returns the refusal if the card does not support it', async () => {
      const channel = enveloping([[`00c20000ff00db000000012c${aa(248)}`, '6d00']])
      expect((await exchange(channel, put(300))).sw).toBe(0x6d00)
      expect(channel.left).toBe(0)
    })

    it('sends ENVELOPE in the interindustry class on the command’s logical channel', async () => {
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

    it('overwrites every part of a sensitive command and sends none twice', async () => {
      const channel = enveloping([
        [`00c20000ff00db000000012c${aa(248)}`, '9000'],
        [`00c2000034${aa(52)}`, '6c10'],
      ])
      expect((await exchange(channel, put(300), { sensitive: true })).sw).toBe(0x6c10)
      expect(channel.received.every((each) => each.every((byte) => byte === 0))).toBe(true)
    })

    it('does not send the last ENVELOPE again after 6Cxx', async () => {
      const channel = enveloping([
        [`00c20000ff00db000000012c${aa(248)}`, '9000'],
        [`00c2000036${aa(52)}010000`, '6c10'],
      ])
      expect((await exchange(channel, { ...put(300), responseBytes: 256 })).sw).toBe(0x6c10)
      expect(channel.left).toBe(0)
    })

    it('uses chaining if the card supports that too', async () => {
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

    it('terminates if the reader has capacity for a few bytes only', async () => {
      for (const commandBytes of [7, 8, 9, 10, 11, 12]) {
        const channel = { ...answering(() => fromHex('9000'), { ...short, commandBytes }), atr }
        expect((await exchange(channel, { ...put(30), responseBytes: 256 })).sw).toBe(0x9000)
      }
    })

    it('sends an extended APDU if the reader supports it', async () => {
      const channel = enveloping([[`00db000000012c${aa(300)}`, '9000']], extended)
      expect((await exchange(channel, put(300))).sw).toBe(0x9000)
    })
  })

  it('limits Le to what the reader can carry', async () => {
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

  it('does not send GET RESPONSE if follow is false', async () => {
    const channel = new ScriptedChannel([['00b0000000', '016110']], extended)
    expect(await exchange(channel, read, { follow: false })).toEqual({ data: fromHex('01'), sw: 0x6110 })
  })

  it('refuses a command that does not fit into one short APDU if follow is false', async () => {
    const channel = new ScriptedChannel([])
    await expect(exchange(channel, put(256), { follow: false })).rejects.toMatchObject({
      code: 'card/not-supported',
    })
  })

  it('rejects with MalformedError if the card never ends its response', async () => {
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

  it('sends no further APDU after an abort', async () => {
    const signal = { aborted: false, reason: 'enough', addEventListener() {}, removeEventListener() {} }
    const channel = new ScriptedChannel([['00b0000000', '016101']])
    channel.onTransmit = () => (signal.aborted = true)
    await expect(exchange(channel, read, { signal: signal as AbortSignalLike })).rejects.toMatchObject({
      code: 'work/aborted',
    })
  })

  it('has errors with the name of the command and the status word', () => {
    expect(() => expectOk({ data: new Uint8Array(), sw: 0x6982 }, 'READ BINARY')).toThrow(
      /READ BINARY with 6982 \(security/,
    )
  })
})

describe('exchange sends the data as they were at the call', () => {
  it.each([
    ['an array', () => new Uint8Array(600).fill(0xaa)],
    ['a Node Buffer', () => Buffer.from(Buffer.alloc(600, 0xaa).toString('base64'), 'base64')],
  ])('in every part of a chain, even if %s is overwritten meanwhile', async (_what, make) => {
    const data = make()
    const channel = new ScriptedChannel([
      [`10db0000ff${aa(255)}`, '9000'],
      [`10db0000ff${aa(255)}`, '9000'],
      [`00db00005a${aa(90)}`, '9000'],
    ])
    channel.onTransmit = () => data.fill(0)
    expect((await exchange(channel, { ...put(0), data })).sw).toBe(0x9000)
  })

  it('when it sends a command again after 6Cxx', async () => {
    const data = new Uint8Array(2).fill(0xaa)
    const channel = new ScriptedChannel([
      ['00db000002aaaa00', '6c02'],
      ['00db000002aaaa02', '9000'],
    ])
    channel.onTransmit = () => data.fill(0)
    expect((await exchange(channel, { ...put(0), data, responseBytes: 256 })).sw).toBe(0x9000)
  })
})
