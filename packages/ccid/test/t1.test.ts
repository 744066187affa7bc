/** T=1 with the simulator's card side over a line that damages blocks (ISO/IEC 7816-3:2006, 11.6). */
import { CardGarbledError, CardSilentError, CardTooSlowError, ReaderRefusedError } from '@webtoki/apdu'
import { EchoCard, T1Card, type T1CardOptions } from '@webtoki/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeBlock, encodeBlock, type T1Block } from '../src/tpdu/t1-block.ts'
import type { T1Transport } from '../src/tpdu/t1-transport.ts'
import { plainT1 } from './plain-t1.ts'

type Fault = 'ok' | 'corrupt' | 'lost'

function setUp(faults: Fault[] = [], options: T1CardOptions = {}) {
  const echo = new EchoCard()
  const side = new T1Card(echo, options)
  const sent: Uint8Array[] = []
  const damage = (block: Uint8Array): Uint8Array | undefined => {
    const fault = faults.shift() ?? 'ok'
    if (fault === 'lost') return undefined
    const copy = block.slice()
    if (fault === 'corrupt') copy[1] = (copy[1] as number) ^ 0x40
    return copy
  }
  const waited: number[] = []
  const detection = options.detection ?? 'LRC'
  const restart = (): T1Transport => {
    side.restart()
    return plainT1(
      async (block, waitingTimes) => {
        sent.push(block.slice())
        waited.push(waitingTimes)
        const out = damage(block)
        if (out === undefined) return 'silent'
        const response = await side.processBlock(out)
        return (response === 'mute' ? undefined : damage(response)) ?? 'silent'
      },
      { detection },
    )
  }
  return {
    transport: restart(),
    restart,
    side,
    echo,
    sent,
    waited,
    pcbs: () => sent.map((block) => block[1]),
  }
}

function echoCommand(size: number, seed = 1): Uint8Array {
  const data = Array.from({ length: size }, (_, i) => (i * 7 + seed) & 0xff)
  return Uint8Array.of(0, 0x10, 0, 0, size, ...data, 0)
}

const answerTo = (command: Uint8Array) => [...command.slice(5, -1), 0x90, 0]

describe('a sensitive command over T=1', () => {
  it.each(['executed', 'lost'])('leaves no copy of its blocks if it is %s', async (end) => {
    const blocks: Uint8Array[] = []
    const side = new T1Card(new EchoCard())
    const transport = plainT1(async (block) => {
      blocks.push(block)
      if (end === 'lost') throw new CardSilentError()
      const response = await side.processBlock(block.slice())
      return response === 'mute' ? 'silent' : response
    })
    await transport.transmit(echoCommand(50), { sensitive: true }).catch(() => {})
    expect(blocks.length).toBeGreaterThan(0)
    expect(blocks.every((block) => block.every((byte) => byte === 0))).toBe(true)
  })
})

describe('T=1 blocks', () => {
  const information = fc.uint8Array({ maxLength: 254 })
  const block: fc.Arbitrary<T1Block> = fc.oneof(
    fc.record({
      kind: fc.constant('I' as const),
      sequence: fc.constantFrom(0 as const, 1 as const),
      more: fc.boolean(),
      data: information,
    }),
    fc.record({
      kind: fc.constant('R' as const),
      expected: fc.constantFrom(0 as const, 1 as const),
      error: fc.constantFrom('none' as const, 'detection' as const, 'other' as const),
    }),
    fc.record({
      kind: fc.constant('S' as const),
      about: fc.constantFrom('ifs' as const, 'wtx' as const),
      isResponse: fc.boolean(),
      value: fc.integer({ min: 1, max: 254 }),
    }),
    fc.record({
      kind: fc.constant('S' as const),
      about: fc.constantFrom('resynch' as const, 'abort' as const),
      isResponse: fc.boolean(),
      value: fc.constant(undefined),
    }),
  )

  it.each(['LRC', 'CRC'] as const)(
    'survive encoding and decoding, and one changed bit is detected: %s',
    (detection) => {
      fc.assert(
        fc.property(block, fc.nat(), fc.integer({ min: 0, max: 7 }), (each, at, bit) => {
          const bytes = encodeBlock(each, 0, detection)
          expect(decodeBlock(bytes, 0, detection)).toEqual(each)
          const position = at % bytes.length
          bytes[position] = (bytes[position] as number) ^ (1 << bit)
          expect(['detection', 'other']).toContain(decodeBlock(bytes, 0, detection))
        }),
      )
    },
  )

  it.each([
    ['nothing', ''],
    ['a prologue alone', '000000'],
    ['the reserved length 255', `0000ff${'00'.repeat(256)}`],
    ['a reserved I-block', '00010001'],
    ['an R-block with data', '00800100' + '81'],
    ['S(IFS) of 0', '00c1010' + '0c0'],
    ['an unknown S-block', '00c500c5'],
  ])('that are invalid are rejected: %s', (_, text) => {
    expect(['detection', 'other']).toContain(decodeBlock(Uint8Array.from(Buffer.from(text, 'hex')), 0, 'LRC'))
  })

  it('decode from any bytes to a block or an error', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('LRC' as const, 'CRC' as const),
        (bytes, detection) => {
          expect(decodeBlock(bytes, 0, detection)).toBeDefined()
        },
      ),
    )
  })
})

describe('T=1', () => {
  it.each(['LRC', 'CRC'] as const)(
    'carries long commands and responses in chains in both directions with %s',
    async (detection) => {
      const { transport } = setUp([], { detection })
      for (const size of [255, 1, 31, 32, 33, 255]) {
        const command = echoCommand(size)
        expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
      }
    },
  )

  it('returns a response in one block after a larger IFSD', async () => {
    const { transport, sent } = setUp()
    expect(await transport.negotiateIfsd(254)).toBe(254)
    sent.length = 0
    const command = echoCommand(20)
    await transport.transmit(command)
    expect(sent).toHaveLength(1)
  })

  it('uses an IFSD of 32 if the card refuses another', async () => {
    const { transport } = setUp(Array<Fault>(3).fill('lost'))
    expect(await transport.negotiateIfsd(254)).toBe(32)
    const command = echoCommand(100)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
  })

  it('uses the block size that the card changes to', async () => {
    const { transport, sent } = setUp([], { changesIfscTo: 200 })
    await transport.transmit(echoCommand(10))
    sent.length = 0
    const command = echoCommand(150)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
    expect(sent[0]).toHaveLength(156 + 4)
  })

  it('grants time extensions with their multiplier up to the limit', async () => {
    const command = echoCommand(3)
    const patient = setUp([], { extensions: [1, 5] })
    const notifications: string[] = []
    const options = { onWait: (why: string) => void notifications.push(why) }
    expect([...(await patient.transport.transmit(command, options))]).toEqual(answerTo(command))
    expect(patient.waited).toEqual([0, 1, 5])
    expect(notifications).toEqual(['time-extension', 'time-extension'])
    const greedy = setUp([], { extensions: [100, 100] })
    await expect(greedy.transport.transmit(command)).rejects.toBeInstanceOf(CardTooSlowError)
  })

  it('ends a chain that the card aborts in a typed error, and the next command works', async () => {
    const { transport, echo } = setUp([], { abortsAfter: 2 })
    await expect(transport.transmit(echoCommand(200))).rejects.toMatchObject({ why: 'aborted' })
    expect(echo.log).toHaveLength(0)
    const command = echoCommand(200)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
  })

  it('does not take a late response after a PIN pad failure for that of the next command', async () => {
    const { transport, side, echo, pcbs } = setUp()
    const template = Uint8Array.of(0, 0x10, 0, 0, 3, 1, 2, 3)
    const fails = async ([nad, pcb, length]: readonly [number, number, number]): Promise<never> => {
      const block = [nad, pcb, length, ...template]
      await side.processBlock(
        Uint8Array.of(
          ...block,
          block.reduce((sum, byte) => sum ^ byte, 0),
        ),
      )
      throw new ReaderRefusedError('Secure', 0x40, 0xfb, 'HW_ERROR')
    }
    await expect(transport.transmitOnPad(template, fails, {})).rejects.toThrow(ReaderRefusedError)
    const command = echoCommand(2, 9)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
    expect(pcbs()[0]).toBe(0xc0)
    expect(echo.log).toHaveLength(2)
  })

  it('continues after a PIN entry without a PIN as if there had been none', async () => {
    const { transport, sent } = setUp()
    const cancels = (): Promise<never> =>
      Promise.reject(new ReaderRefusedError('Secure', 0x40, 0xef, 'PIN_CANCELLED'))
    await expect(transport.transmitOnPad(echoCommand(3), cancels, {})).rejects.toThrow(ReaderRefusedError)
    const command = echoCommand(2, 9)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
    expect(sent).toHaveLength(1)
  })

  it('sends R-blocks, then resynchronises, then gives up on a card that stays silent', async () => {
    const { transport, pcbs, echo } = setUp(Array<Fault>(20).fill('lost'))
    await expect(transport.transmit(echoCommand(3))).rejects.toBeInstanceOf(CardSilentError)
    expect(pcbs()).toEqual([0x00, 0x82, 0x82, 0xc0, 0xc0, 0xc0])
    expect(echo.log).toHaveLength(0)
  })

  it('repeats nothing after a resynchronisation, and the next command works', async () => {
    const { transport, echo } = setUp(Array<Fault>(4).fill('lost'))
    await expect(transport.transmit(echoCommand(3))).rejects.toBeInstanceOf(CardGarbledError)
    expect(echo.log).toHaveLength(0)
    const command = echoCommand(9)
    expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
    expect(echo.log).toHaveLength(1)
  })

  it('recovers from one or two damaged blocks anywhere with the exact response, executed once', async () => {
    const bad = fc.constantFrom<Fault>('corrupt', 'lost')
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.array(bad, { minLength: 1, maxLength: 2 }),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom<T1CardOptions>({}, { detection: 'CRC' }, { extensions: [2] }, { changesIfscTo: 90 }),
        async (position, run, size, options) => {
          const { transport, echo } = setUp([...Array<Fault>(position).fill('ok'), ...run], options)
          for (const seed of [1, 2]) {
            const command = echoCommand(size, seed)
            expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
          }
          expect(echo.log).toHaveLength(2)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('ends any damage in the exact response or a typed error, and later exchanges work', async () => {
    const fault = fc.constantFrom<Fault>('ok', 'ok', 'corrupt', 'lost')
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { maxLength: 60 }),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom<T1CardOptions>({}, { detection: 'CRC' }, { extensions: [2] }, { changesIfscTo: 90 }),
        async (faults, size, options) => {
          const made = setUp(faults, options)
          let { transport } = made
          const command = echoCommand(size)
          try {
            expect([...(await transport.transmit(command))]).toEqual(answerTo(command))
          } catch (error) {
            if (error instanceof CardSilentError) transport = made.restart()
            else if (!(error instanceof CardGarbledError)) throw error
          }
          expect(made.echo.log.length).toBeLessThanOrEqual(1)
          faults.length = 0
          const later = echoCommand(40, 9)
          expect([...(await transport.transmit(later))]).toEqual(answerTo(later))
        },
      ),
      { numRuns: 1000 },
    )
  })
})
