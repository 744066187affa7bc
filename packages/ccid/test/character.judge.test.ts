/** Debian's libccid beside our driver at readers that carry characters, and at tokens of the control pipe: what the one reports, the other must. */
import { ccidSlots } from '@webtoki/ccid'
import {
  characterReaderProfiles,
  createEchoCard,
  createPivCard,
  eGate,
  konaToken,
  type ReaderProfile,
  type T0CardOptions,
  type UsbDeviceModel,
  type VirtualCard,
  VirtualCcidReader,
  VirtualIccdAToken,
  VirtualIccdToken,
  virtualUsb,
} from '@webtoki/simulator'
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { judgeMissing, pcscHost } from './pcsc-host.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end()
})

/** Sends each APDU and gives back what came; 'gone': nothing that is an answer. */
type Driver = (device: UsbDeviceModel, protocol: 'T=0' | 'T=1', apdus: readonly string[]) => Promise<string[]>

const libccid: Driver = async (device, protocol, apdus) => {
  const host = await pcscHost(device, open)
  const seen = await host.ask('wait present')
  expect(seen).toMatch(/^ok 3b/)
  const lines = [seen.replace('ok ', 'ATR ')]
  expect(await host.ask(`connect ${protocol}`)).toBe('ok')
  for (const apdu of apdus) {
    const said = await host.ask(`transmit ${apdu}`)
    lines.push(said.startsWith('ok ') ? said.slice(3) : 'gone')
  }
  await host.ask('disconnect')
  return lines
}

const ours: Driver = async (device, protocol, apdus) => {
  const source = ccidSlots({ usb: virtualUsb([device], { protectedClasses: false }), pollMs: 20 })
  open.push(() => source.close())
  const [slot] = await firstValueFrom(source.slots$)
  if (slot === undefined) throw new Error('Our driver shows no slot.')
  await firstValueFrom(slot.presence$.pipe(filter((presence) => presence === 'present')))
  const connection = await slot.connect({ protocol })
  const lines = await connection.transaction({}, async (channel) => {
    const said = [`ATR ${hex(channel.atr)}`]
    for (const apdu of apdus) said.push(await channel.transmit(bytesOf(apdu)).then(hex, () => 'gone'))
    return said
  })
  await connection.close()
  return lines
}

/** An echo of 500 bytes in parts, and all that T=0 says in between. PC/SC leaves GET RESPONSE, and no Le to a case 4, to its callers. */
function echoes(partBytes: number): string[] {
  const long = Uint8Array.from({ length: 500 }, (_, at) => (at * 7) & 0xff)
  const apdus: string[] = []
  for (let at = 0; at < long.length; at += partBytes) {
    const part = long.slice(at, at + partBytes)
    const isLast = at + partBytes >= long.length
    apdus.push(`${isLast ? '00' : '10'}100000${part.length.toString(16).padStart(2, '0')}${hex(part)}`)
  }
  for (let left = long.length; left > 0; left -= partBytes)
    apdus.push(`00c00000${Math.min(partBytes, left).toString(16).padStart(2, '0')}`)
  return apdus
}
const others = ['0012000505', '0012000510', '0012003434', '00aa0000', '00aa000000']

/** libccid's answers, ours, and how many XfrBlock messages each took. */
async function compare(
  make: () => UsbDeviceModel,
  protocol: 'T=0' | 'T=1',
  story: readonly string[],
): Promise<{ theirs: readonly string[]; own: readonly string[]; blocks: readonly number[] }> {
  const devices = [make(), make()] as const
  const theirs = await libccid(devices[0], protocol, story)
  const own = await ours(devices[1], protocol, story)
  const blocks = devices.map((each) =>
    each instanceof VirtualCcidReader ? (each.counters.messages.get('XfrBlock') ?? 0) : 0,
  )
  return { theirs, own, blocks }
}

const reader =
  (profile: ReaderProfile, t0: T0CardOptions, card: VirtualCard = createEchoCard()) =>
  () => {
    const made = new VirtualCcidReader(profile)
    made.insert(card, 0, { t0 })
    return made
  }
const { oz776, winbond } = characterReaderProfiles

describe.skipIf(judgeMissing !== undefined)('libccid and we report the same of', () => {
  it.each([
    ['O2Micro Oz776, all at once', reader(oz776, {}), 200],
    ['O2Micro Oz776, NULL three times first', reader(oz776, { nullsAtFirst: 3 }), 200],
    ['Winbond, all at once', reader(winbond, {}), 100],
    ['Winbond, NULL three times first', reader(winbond, { nullsAtFirst: 3 }), 100],
    ['e-gate (ICCD version A)', () => new VirtualIccdAToken(eGate, createEchoCard()), 200],
    ['e-gate, long at work', () => new VirtualIccdAToken(eGate, createEchoCard(), { nulls: 4 }), 200],
    [
      'e-gate, byte by byte',
      () => new VirtualIccdAToken(eGate, createEchoCard(), { acknowledges: 'byte-by-byte' }),
      200,
    ],
  ] as const)('%s: T=0', async (name, make, partBytes) => {
    // Winbond's messages are too short for 256 bytes at once, and libccid does not part them.
    const story = [...echoes(partBytes), ...others, ...(partBytes > 128 ? ['0012010000'] : [])]
    const { theirs, own, blocks } = await compare(make, 'T=0', story)
    expect(own).toEqual(theirs)
    expect(theirs).not.toContain('gone')
    expect(theirs).toContain('6100')
    const [forThem = 0, forUs = 0] = blocks
    if (forUs > 0) console.log(`${name}: ${forUs} XfrBlock messages, libccid ${forThem}`)
    expect(forUs).toBeLessThanOrEqual(forThem)
  })

  it('O2Micro Oz776, a card that takes its data byte by byte', async () => {
    const story = ['1010000003aabbcc', '0010000002ddee', '0020000000']
    const { theirs, own } = await compare(reader(oz776, { acknowledges: 'byte-by-byte' }), 'T=0', story)
    expect(own).toEqual(theirs)
    expect(theirs.slice(1)).toEqual(['9000', '6105', '6d00'])
  })

  it('Winbond: T=1, whose blocks are asked for by their prologue', async () => {
    const story = [...echoes(100), '0012000505', '001200ff00', '001000000301020300']
    const { theirs, own } = await compare(reader(winbond, {}), 'T=1', story)
    expect(own).toEqual(theirs)
    expect(theirs).not.toContain('gone')
    expect(theirs.at(-1)).toBe('0102039000')
  })

  it('a PIV card behind each: SELECT, the wrong PIN, the right one', async () => {
    const story = [
      '00a4040009a00000030800001000',
      '0020008008363534333231ffff',
      '0020008008313233343536ffff',
      '00200080',
    ]
    for (const make of [
      reader(oz776, {}, createPivCard({ protocols: 'T=0' })),
      () => new VirtualIccdAToken(eGate, createPivCard({ protocols: 'T=0' })),
    ]) {
      // The same card twice: the right PIN gives it its tries back.
      const { theirs, own } = await compare(make, 'T=0', story)
      expect(own).toEqual(theirs)
      expect(theirs.slice(2)).toEqual(['63c2', '9000', '9000'])
    }
  })
})

/**
 * What libccid 1.5.2 cannot, by its own log (LIBCCID_ifdLogLevel 15), with what we make of the same.
 *
 * KONA (ICCD version B at character level): the token answers `00 10`, bResponseType and the procedure byte, and libccid
 * logs `receive: 00 10`, then `Unrecognized Procedure byte (0x00) found!`. It was to receive one byte and kept the first,
 * which is not the card's. Its ATR, its header and the number of bytes that it waits for are as ours.
 *
 * NULL between data and status word: libccid waits for data and status word at once and takes the last two bytes for the
 * status word, 60 90 in place of 90 00.
 *
 * Data that a card gives byte by byte: libccid waits for the second procedure byte and never asks the reader for it; no
 * answer came in 40 seconds, so it is not run here.
 */
describe.skipIf(judgeMissing !== undefined)('libccid 1.5.2 fails, and we do not, with', () => {
  it('KONA: one ATR, and every command lost', async () => {
    const make = () => new VirtualIccdToken(konaToken, createEchoCard())
    const { theirs, own } = await compare(make, 'T=0', [...echoes(200), ...others])
    expect(theirs[0]).toBe(own[0])
    expect(theirs.slice(1).every((line) => line === 'gone')).toBe(true)
    const { own: other } = await compare(reader(oz776, {}), 'T=0', [...echoes(200), ...others])
    expect(own).toEqual(other)
  })

  it('NULL between data and status word', async () => {
    const { theirs, own } = await compare(reader(oz776, { nulls: 1 }), 'T=0', ['0012000505'])
    expect(theirs.at(-1)).toBe('00010203046090')
    expect(own.at(-1)).toBe('00010203049000')
  })

  it('data that comes byte by byte', async () => {
    const make = reader(oz776, { acknowledges: 'byte-by-byte' })
    expect((await ours(make(), 'T=0', ['0012000505'])).at(-1)).toBe('00010203049000')
  })
})
