/** Tokens on the control pipe: ICCD version A, and version B at character level. */
import { createHash, verify, X509Certificate } from 'node:crypto'
import { exchange, type WebtokiError, TransferError } from '@webtoki/apdu'
import { PivApplet, type PivSlot, pivSlot } from '@webtoki/apdu/piv'
import { ccidSlots } from '@webtoki/ccid'
import {
  createEchoCard,
  createPivCard,
  eGate,
  HandClock,
  konaToken,
  type T0CardOptions,
  type VirtualCard,
  VirtualBus,
  VirtualIccdAToken,
  VirtualIccdToken,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { IccdA } from '../src/iccd-a.ts'
import type { IccdWire } from '../src/iccd-wire.ts'
import { driverClock, inTime } from './set-up.ts'

// The modules are loaded on demand, which takes real time that the manual clock does not cover.
beforeAll(() =>
  Promise.all([
    import('../src/iccd-pipe.ts'),
    import('../src/tpdu/activate.ts'),
    import('../src/tpdu/character-line.ts'),
  ]),
)

const makes = {
  'e-gate, version A': (card: VirtualCard, t0?: T0CardOptions) => new VirtualIccdAToken(eGate, card, t0),
  'KONA, version B at character level': (card: VirtualCard, t0: T0CardOptions = {}) =>
    new VirtualIccdToken(konaToken, card, 'V0000001', { t0 }),
} as const

function put(make: (typeof makes)[keyof typeof makes], card: VirtualCard, t0?: T0CardOptions) {
  const clock = new HandClock()
  const token = make(card, t0)
  const bus = new VirtualBus()
  bus.plug(token)
  // The browser's protected classes apply: an ordinary page may use the e-gate, which has the vendor class, but not
  // the other device.
  const protectedClasses = make === makes['e-gate, version A']
  const source = ccidSlots({ usb: bus.context({ protectedClasses }), clock: driverClock(clock) })
  const slot = async () => {
    const [first] = await firstValueFrom(source.slots$)
    if (first === undefined) throw new Error('There is no slot.')
    return first
  }
  return { clock, token, bus, source, slot }
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe.each(Object.entries(makes))('%s', (_, make) => {
  it.each([
    ['at once', {}],
    ['byte by byte', { acknowledges: 'byte-by-byte' }],
    ['after NULLs', { nulls: 7 }],
  ] as const)('returns 700 bytes with a card that responds %s', async (__, t0) => {
    const { slot, source, clock } = put(make, createEchoCard(), t0)
    const connection = await inTime(clock, (await slot()).connect())
    const data = Uint8Array.from({ length: 700 }, (___, at) => (at * 7) & 0xff)
    const command = { name: 'ECHO', cla: 0, ins: 0x10, p1: 0, p2: 0, data, responseBytes: 65_536 }
    const response = await inTime(
      clock,
      connection.transaction({}, (channel) => exchange(channel, command)),
    )
    expect(hex(response.data)).toBe(hex(data))
    expect(response.sw).toBe(0x9000)
    await source.close()
  })

  it.each([
    ['case 1', '00aa0000', '6d00'],
    ['case 2, a wrong Le', '0012000510', '6c05'],
    ['case 2', '0012000505', '00010203049000'],
    ['case 3 of 255 bytes', `10100000ff${'5a'.repeat(255)}`, '9000'],
    ['case 4', '0010000002aabb00', '6102'],
  ])('exchanges %s', async (what, apdu, response) => {
    const { slot, source, clock } = put(make, createEchoCard())
    const connection = await inTime(clock, (await slot()).connect())
    const { commandBytes } = await connection.transaction({}, async (channel) => channel.limits)
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf(apdu)))
    // A message of 261 bytes carries 251 bytes of data.
    if (what.includes('255') && commandBytes < 260)
      await expect(work).rejects.toMatchObject({ code: 'wire/malformed' })
    else expect(hex(await inTime(clock, work))).toBe(response)
    await source.close()
  })

  it('reads a certificate, verifies a PIN and signs', async () => {
    const card = createPivCard({ protocols: 'T=0' })
    const { slot, source, clock } = put(make, card)
    const connection = await inTime(clock, (await slot()).connect())
    const applet = new PivApplet(connection)
    const nineC = pivSlot(0x9c) as PivSlot
    const digest = createHash('sha256').update('a challenge').digest()
    const work = connection.transaction(applet, async (channel) => {
      await applet.select(channel)
      const certificate = await applet.readCertificate(channel, nineC)
      await applet.pin.verify(channel, new TextEncoder().encode('123456'))
      const input = { tag: 0x81, value: digest } as const
      return { certificate, signature: await applet.generalAuthenticate(channel, 0x11, nineC.key, input) }
    })
    const { certificate, signature } = await inTime(clock, work)
    const { publicKey } = new X509Certificate(certificate?.der as Uint8Array)
    expect(verify('sha256', Buffer.from('a challenge'), publicKey, signature)).toBe(true)
    expect(card.log.filter(({ ins, dataBytes }) => ins === 0x20 && dataBytes > 0)).toHaveLength(1)
    await inTime(clock, source.close())
    expect(card.pinVerified).toBe(false)
  })

  it.each(['wrong-procedure-byte', 'short-of-data', 'null-for-ever'] as const)(
    'ends in a typed error after %s, and works with a correct card afterwards',
    async (breaksBy) => {
      const t0: { breaksBy?: typeof breaksBy } = { breaksBy }
      const { slot, source, clock } = put(make, createEchoCard(), t0)
      const cardSlot = await slot()
      const connection = await inTime(clock, cardSlot.connect())
      const options = { timeoutMs: 2000, maxWaitMs: 4000 }
      const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0012000505'), options))
      const error = await inTime(clock, work).catch((reason: WebtokiError) => reason)
      expect((error as WebtokiError).code).toMatch(
        /^(card\/(mute|gone|too-slow)|wire\/malformed|reader\/timeout)$/,
      )
      delete t0.breaksBy
      await inTime(clock, connection.close())
      const again = await inTime(clock, cardSlot.connect())
      const second = again.transaction({}, (channel) => channel.transmit(bytesOf('0012000505')))
      expect(hex(await inTime(clock, second))).toBe('00010203049000')
      await inTime(clock, source.close())
    },
  )

  it('unplugged during a command is reported as gone', async () => {
    const { slot, source, clock, token, bus } = put(make, createEchoCard(), { breaksBy: 'null-for-ever' })
    const connection = await inTime(clock, (await slot()).connect())
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0012000505')))
    const outcome = work.catch((error: WebtokiError) => error.code)
    bus.unplug(token)
    expect(await inTime(clock, outcome)).toMatch(/^(reader|card)\/gone$/)
    await source.close()
  })
})

describe('e-gate, ICCD version A', () => {
  it('is a slot with a card for an ordinary page', async () => {
    const { slot, source, clock } = put(makes['e-gate, version A'], createEchoCard())
    const cardSlot = await slot()
    await clock.advance(50)
    expect(cardSlot.name).toBe('SchlumbergerSema Cyberflex Access')
    expect(await firstValueFrom(cardSlot.presence$)).toBe('present')
    await expect(cardSlot.connect({ protocol: 'T=1' })).rejects.toMatchObject({ code: 'card/not-supported' })
    await source.close()
  })

  it('waits for a slow card and notifies the caller', async () => {
    const { slot, source, clock } = put(makes['e-gate, version A'], createEchoCard(), { nullsAtFirst: 300 })
    const connection = await inTime(clock, (await slot()).connect())
    const notifications: string[] = []
    const options = { timeoutMs: 1000, onWait: (why: string) => void notifications.push(why) }
    const work = connection.transaction({}, (channel) => channel.transmit(bytesOf('0012000505'), options))
    expect(hex(await inTime(clock, work))).toBe('00010203049000')
    expect(notifications.length).toBeGreaterThan(2)
    await source.close()
  })
})

describe('a PIN for an ICCD version A token', () => {
  /** The responses to GET_ICC_STATUS, in order. */
  const wire = (statuses: number[], refusesHeader = false): IccdWire => ({
    isOpen: true,
    out: async () => {
      if (refusesHeader) throw new TransferError('It stalls.')
    },
    in: async (_, lengthBytes) =>
      lengthBytes === 1 ? Uint8Array.of(statuses.shift() ?? 0x20) : bytesOf('6982'),
    wait: async () => {},
    respond: () => {},
  })
  const verifyPin = bytesOf('6f0d000000000000000000200080083132333435' + '36ffff')

  it.each([
    ['requests it', wire([0x10, 0x20])],
    ['refuses the header', wire([0x20])],
    ['is mute', wire([0x80])],
    ['stalls at the header', wire([], true)],
  ])('is overwritten if the card %s', async (_, each) => {
    let copy = new Uint8Array(0)
    const message = Object.assign(verifyPin.slice(), {
      slice: (from: number) => (copy = verifyPin.slice(from)),
    })
    const fetch = await new IccdA(true).send(message, each).catch(() => undefined)
    await fetch?.()
    expect(copy).toHaveLength(13)
    expect(copy.subarray(5).every((byte) => byte === 0)).toBe(true)
  })
})
