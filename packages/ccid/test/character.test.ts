/** Readers at character level: the host runs T=0 and T=1 with the card byte by byte. */
import { createHash, verify, X509Certificate } from 'node:crypto'
import { CardTooSlowError, exchange, MalformedError, type NamedCommand, WebtokiError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import {
  characterReaderProfiles,
  type ContactOptions,
  createEchoCard,
  createPivCard,
  readerProfiles,
  type ReaderProfile,
  type T0CardOptions,
  type VirtualCard,
} from '@webtoki/simulator'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { beginT0, stepT0, type T0Step } from '../src/tpdu/t0-characters.ts'
import { inTime, setUp } from './set-up.ts'

const { oz776, winbond } = characterReaderProfiles
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

// The modules are loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() => Promise.all([import('../src/tpdu/activate.ts'), import('../src/tpdu/character-line.ts')]))

function put(card: VirtualCard, contact: ContactOptions = {}, profile: ReaderProfile = oz776) {
  const made = setUp({ profile })
  made.reader.insert(card, 0, contact)
  const transmit = async (apdu: string): Promise<string> => {
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const response = await inTime(
      made.clock,
      connection.transaction({}, (channel) => channel.transmit(bytesOf(apdu))),
    )
    await connection.close()
    return hex(response)
  }
  return { ...made, transmit }
}

const counting = (bytes: number): string => hex(Uint8Array.from({ length: bytes }, (_, at) => at & 0xff))

const echo = (bytes: number): NamedCommand => ({
  name: 'ECHO',
  cla: 0,
  ins: 0x10,
  p1: 0,
  p2: 0,
  data: Uint8Array.from({ length: bytes }, (_, at) => (at * 7) & 0xff),
  responseBytes: 65_536,
})

const lines: Readonly<Record<string, T0CardOptions>> = {
  'requests all data at once': {},
  'requests data byte by byte': { acknowledges: 'byte-by-byte' },
  'sends NULL before each procedure byte': { nulls: 3 },
  'sends NULL before each byte': { nulls: 2, acknowledges: 'byte-by-byte' },
}

describe.each(Object.entries(lines))('a T=0 card that %s', (_, t0) => {
  it('exchanges a case 1 VERIFY that reads the retry counter', async () => {
    const made = put(createPivCard({ protocols: 'T=0' }), { t0 })
    const applet = new PivApplet(await (await made.slot()).connect())
    const work = applet.transaction((channel) => applet.pin.learnTries(channel))
    expect(await inTime(made.clock, work)).toBe(3)
    await made.source.close()
  })

  it.each([
    { what: 'an unknown instruction', apdu: '00aa000010', response: '6d00' },
    { what: 'case 2, a wrong Le', apdu: '0012000510', response: '6c05' },
    { what: 'case 2', apdu: '0012000505', response: '00010203049000' },
    {
      what: 'case 2 that fills the packets of a reader',
      apdu: '0012003434',
      response: `${counting(52)}9000`,
    },
    { what: 'case 2 of 256 bytes', apdu: '0012010000', response: `${counting(256)}9000` },
    { what: 'case 3', apdu: '1010000002aabb', response: '9000' },
    { what: 'case 3 of 255 bytes', apdu: `10100000ff${'5a'.repeat(255)}`, response: '9000' },
    { what: 'case 4', apdu: '0010000002aabb00', response: '6102' },
  ])('returns $response for $what', async ({ apdu, response }) => {
    const made = put(createEchoCard(), { t0 })
    expect(await made.transmit(apdu)).toBe(response)
    await made.source.close()
  })

  it.each([oz776, winbond])(
    'returns 1000 bytes by chaining and GET RESPONSE on $product',
    async (profile) => {
      const made = put(createEchoCard(), { t0 }, profile)
      const connection = await (await made.slot()).connect({ protocol: 'T=0' })
      const response = await inTime(
        made.clock,
        connection.transaction({}, (channel) => exchange(channel, echo(1000))),
      )
      expect(hex(response.data)).toBe(hex(echo(1000).data as Uint8Array))
      expect(response.sw).toBe(0x9000)
      await made.source.close()
    },
  )
})

describe('a card with extended lengths and no chaining, over T=0', () => {
  it.each([
    ['character level', oz776],
    ['short messages at character level', winbond],
    ['TPDU level', readerProfiles.scr331],
  ] as const)('returns 1000 bytes that were sent in ENVELOPE commands at %s', async (_, profile) => {
    const card = createEchoCard({ chaining: false })
    const made = put(card, {}, profile)
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const response = await inTime(
      made.clock,
      connection.transaction({}, (channel) => exchange(channel, echo(1000))),
    )
    expect(hex(response.data)).toBe(hex(echo(1000).data as Uint8Array))
    expect(response.sw).toBe(0x9000)
    expect(card.log.some(({ ins }) => ins === 0xc2)).toBe(true)
    await made.source.close()
  })
})

describe('a PIV card in a reader at character level', () => {
  it.each([
    ['O2Micro Oz776, T=0', oz776, 'T=0'],
    ['O2Micro Oz776, T=1', oz776, 'T=1'],
    ['Winbond, T=0', winbond, 'T=0'],
    ['Winbond, T=1', winbond, 'T=1'],
  ] as const)('reads a certificate, verifies a PIN and signs on %s', async (_, profile, protocol) => {
    const card = createPivCard({ protocols: protocol })
    const made = setUp({ profile })
    made.reader.insert(card)
    const connection = await (await made.slot()).connect()
    const applet = new PivApplet(connection)
    const nineC = pivSlot(0x9c) as PivSlot
    const digest = createHash('sha256').update('a challenge').digest()
    const work = connection.transaction(applet, async (channel) => {
      await applet.select(channel)
      const certificate = await applet.readCertificate(channel, nineC)
      await applet.pin.verify(channel, new TextEncoder().encode('123456'))
      const signature = await applet.generalAuthenticate(channel, 0x11, nineC.key, {
        tag: 0x81,
        value: digest,
      })
      return { certificate, signature }
    })
    const { certificate, signature } = await inTime(made.clock, work)
    const { publicKey } = new X509Certificate(certificate?.der as Uint8Array)
    // OpenSSL verifies the signature independently.
    expect(verify('sha256', Buffer.from('a challenge'), publicKey, signature)).toBe(true)
    expect(card.pinTriesLeft).toBe(3)
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
    await made.source.close()
  })
})

/** A card whose line deviates as given, from the first command on. */
describe('a T=0 card that violates the protocol', () => {
  const breakages = {
    'an invalid procedure byte': { t0: { breaksBy: 'wrong-procedure-byte' }, code: 'wire/malformed' },
    'silence before the last byte of data': { t0: { breaksBy: 'short-of-data' }, code: 'card/mute' },
  } as const

  it.each(Object.entries(breakages))(
    'with %s ends in a typed error, and the next connection works',
    async (_, { t0, code }) => {
      const card = createEchoCard()
      const made = put(card, { t0 })
      const cardSlot = await made.slot()
      const connection = await cardSlot.connect({ protocol: 'T=0' })
      const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0012000505')))
      await expect(inTime(made.clock, work)).rejects.toMatchObject({ code })
      expect((await connection.gone).why).toBe('reset')
      made.reader.insert(card)
      expect(await made.transmit('0012000505')).toBe('00010203049000')
      await made.source.close()
    },
  )

  it('and goes mute after its data was sent has executed the command at most once', async () => {
    const card = createEchoCard()
    const made = put(card, { t0: { breaksBy: 'short-of-data' } })
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0010000002aabb')))
    await expect(inTime(made.clock, work)).rejects.toMatchObject({ code: 'card/mute' })
    expect(card.log.length).toBeLessThan(2)
    await made.source.close()
  })

  it.each([500, undefined])('with endless NULL is limited by a maxWaitMs of %s', async (maxWaitMs) => {
    const made = put(createEchoCard(), { t0: { breaksBy: 'null-for-ever' } })
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    const notifications: string[] = []
    const options = {
      onWait: (why: string) => void notifications.push(why),
      ...(maxWaitMs === undefined ? {} : { maxWaitMs }),
    }
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0012000505'), options))
    await expect(inTime(made.clock, work)).rejects.toBeInstanceOf(CardTooSlowError)
    expect(notifications[0]).toBe('time-extension')
    expect(notifications.length).toBeLessThanOrEqual((maxWaitMs ?? 180_000) / 10)
    await made.source.close()
  })

  it('a card removed during a T=0 command is reported as removed', async () => {
    const made = put(createEchoCard())
    const connection = await (await made.slot()).connect({ protocol: 'T=0' })
    made.reader.faults.schedule({ kind: 'card-pulled', ends: 'once', moment: 'during' }, { skip: 1 })
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0010000002aabb')))
    await expect(inTime(made.clock, work)).rejects.toMatchObject({ code: 'card/gone', why: 'removed' })
    await made.source.close()
  })

  it.each(['006000000100', '00900000'])(
    'the INS 6X or 9X of %s is refused over T=0 before anything is sent',
    async (apdu) => {
      const made = put(createEchoCard())
      await expect(made.transmit(apdu)).rejects.toBeInstanceOf(MalformedError)
      expect(made.reader.counters.messages.get('XfrBlock')).toBeUndefined()
      await made.source.close()
    },
  )
})

/** Returns data and a warning for INS 10. Over T=0 the card decides which comes first. */
class WarningCard implements VirtualCard {
  readonly atr = bytesOf('3b00')
  readonly #warning: string
  constructor(warning: string) {
    this.#warning = warning
  }
  reset(): void {}
  powerOff(): void {}
  async process(command: Uint8Array): Promise<Uint8Array> {
    if (command[1] !== 0x10) return bytesOf('6985')
    return bytesOf(command[2] === 0 ? `c0ffee${this.#warning}` : this.#warning)
  }
}

describe.each([
  ['TPDU level', readerProfiles.scr331],
  ['character level', oz776],
] as const)('case 4 over T=0 at %s', (_, profile) => {
  const send = async (card: VirtualCard, warnsFirst: boolean, p1 = 0): Promise<string> => {
    const made = put(card, { t0: { warnsFirst } }, profile)
    const connection = await (await made.slot()).connect()
    const command = { ...echo(2), p1, responseBytes: 256 }
    const response = await inTime(
      made.clock,
      connection.transaction({}, (channel) => exchange(channel, command)),
    )
    await made.source.close()
    return `${hex(response.data)} ${response.sw.toString(16)}`
  }

  it.each(['6282', '6300', '63c2', '9000'])('returns data with %s after 61xx', async (status) => {
    expect(await send(new WarningCard(status), false)).toBe(`c0ffee ${status}`)
  })

  it.each(['6282', '6300', '63c2'])(
    'returns data and warning %s if the warning comes first',
    async (status) => {
      expect(await send(new WarningCard(status), true)).toBe(`c0ffee ${status}`)
    },
  )

  it.each(['6282', '63c2', '9000', '9100', '6a82'])(
    'returns a status of %s without data unchanged',
    async (status) => {
      expect(await send(new WarningCard(status), true, 1)).toBe(` ${status}`)
    },
  )
})

describe('the T=0 state machine', () => {
  const run = (first: T0Step, came: readonly Uint8Array[]): T0Step[] => {
    const steps = [first]
    for (const bytes of came) {
      const last = steps.at(-1) as T0Step
      if (last.action.do !== 'send') break
      steps.push(stepT0(last.state, bytes))
    }
    return steps
  }

  it('does not take a NULL between data and status word for a status word', () => {
    const steps = run(beginT0(bytesOf('00b0000002'), 2), ['b0', '010260', '60', '90', '00'].map(bytesOf))
    expect(steps.at(-1)?.action).toEqual({ do: 'finish', response: bytesOf('01029000') })
    expect(steps.slice(0, -1).map(({ action }) => action.do === 'send' && action.expects)).toEqual([
      1, 4, 1, 1, 1,
    ])
  })

  it('takes data that looks like a procedure byte for data', () => {
    const steps = run(beginT0(bytesOf('00b0000003'), 3), ['b0', '60b090', '9000'].map(bytesOf))
    expect(steps.at(-1)?.action).toEqual({ do: 'finish', response: bytesOf('60b0909000') })
  })

  it('resets if the card sends while the reader should', () => {
    const steps = run(beginT0(bytesOf('00d6000002aabb'), 0), [bytesOf('d690')])
    expect(steps.at(-1)?.action).toEqual({ do: 'reset', why: 'surplus bytes' })
  })

  it('responds to any bytes with the end, a reset, or progress by a byte or a NULL', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 5 }),
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom('60', 'a4', '5b', '9000', '6102', 'a4a4', '6060').map(bytesOf),
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }),
        fc.integer({ min: 0, max: 255 }),
        fc.boolean(),
        (came, p3, out) => {
          const header = Uint8Array.of(0, 0xa4, 0, 0, p3)
          const tpdu = out ? Uint8Array.of(...header, ...new Uint8Array(p3).fill(1)) : header
          const responseBytes = out ? 0 : p3 || 256
          const left = ({ state }: T0Step): number =>
            state.unsent.length + state.missing + (state.phase.name === 'sw2' ? 0 : 1)
          const steps = run(beginT0(tpdu, responseBytes), came)
          for (const [at, step] of steps.entries()) {
            if (step.action.do !== 'send' || at === 0) continue
            const before = steps[at - 1] as T0Step
            const isIdle = step.action.waits || step.state.phase !== before.state.phase
            expect(left(step) < left(before) || isIdle).toBe(true)
            expect(step.action.expects).toBeGreaterThan(0)
            expect(step.action.expects).toBeLessThanOrEqual(258)
          }
          const end = steps.at(-1)?.action
          if (end?.do === 'finish') expect(end.response.length).toBeLessThanOrEqual(258)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('arbitrary bytes from the reader', () => {
  it.each(['T=0', 'T=1'] as const)(
    'over %s give a correct response or a typed error, and the next connection works',
    async (protocol) => {
      const wrong = fc.oneof(
        fc.uint8Array({ maxLength: 4 }),
        fc.uint8Array({ maxLength: 260 }),
        fc.constantFrom('60', '10', 'ef', '9000', '61ff', '6c01', '00e001').map(bytesOf),
      )
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.option(wrong), { minLength: 1, maxLength: 12 }),
          fc.integer({ min: 1, max: 255 }),
          async (script, dataBytes) => {
            const made = setUp({ profile: winbond })
            let isHostile = false
            const left = [...script]
            const line: ContactOptions['line'] = (bytes, to) =>
              to === 'reader' && isHostile ? (left.shift() ?? bytes) : bytes
            const card = createEchoCard()
            made.reader.insert(card, 0, { line })
            const slot = await made.slot()
            const connection = await inTime(made.clock, slot.connect({ protocol }))
            isHostile = true
            const data = new Uint8Array(dataBytes).fill(7)
            const work = connection.transaction({}, (channel) =>
              exchange(channel, { ...echo(0), data, responseBytes: 256 }, { maxWaitMs: 2000 }),
            )
            const error = await inTime(made.clock, work).then(
              () => undefined,
              (reason: unknown) => reason,
            )
            expect(error === undefined || error instanceof WebtokiError).toBe(true)
            isHostile = false
            await inTime(made.clock, connection.close())
            const again = await inTime(made.clock, slot.connect({ protocol }))
            const second = again.transaction({}, (channel) => exchange(channel, echo(40)))
            expect((await inTime(made.clock, second)).sw).toBe(0x9000)
            await inTime(made.clock, made.source.close())
          },
        ),
        { numRuns: 150 },
      )
    },
    60_000,
  )

  it('without a single byte of a response give a typed error', async () => {
    const made = put(createEchoCard(), { line: (bytes, to) => (to === 'reader' ? new Uint8Array(0) : bytes) })
    await expect(made.transmit('0012000505')).rejects.toMatchObject({ code: 'wire/malformed' })
    await made.source.close()
  })
})
