/**
 * Our readers judged by Debian's pcscd and libccid, in a mount namespace of their own: the machine's pcscd is not
 * touched.
 */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { VirtualCcidReader, createEchoCard, type ReaderProfile, readerProfiles } from '../src/index.ts'
import { type Pcscd, startBus, startPcscd, type VirtualUsbBus } from '../src/node/index.ts'
import { compile, LineProgram, whatIsMissing } from './bus/line-program.ts'

const asRoot = process.getuid?.() === 0
const missing =
  whatIsMissing(['gcc', 'pkg-config', 'pcscd', 'unshare', 'nsenter'], ['libpcsclite']) ??
  (asRoot ? undefined : 'a private mount namespace needs root')
if (missing !== undefined) console.warn(`Our readers are not judged by libccid: ${missing}.`)

const atr = '3b8580018073c021c0d6'
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const pattern = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, at) => (at * 7) & 0xff)

/** Extended APDU level by dwFeatures of the class descriptor, bits 16 to 18. */
const isExtended = (profile: ReaderProfile): boolean =>
  (Number.parseInt(profile.ccidDescriptor.slice(84, 86), 16) & 0x07) === 4

describe.skipIf(missing !== undefined)('pcscd and libccid', () => {
  let bus: VirtualUsbBus
  const programs: LineProgram[] = []
  const daemons: Pcscd[] = []

  afterEach(async () => {
    for (const program of programs.splice(0).reverse()) await program.end()
    for (const daemon of daemons.splice(0)) await daemon.end()
    await bus.close()
  })

  async function client(): Promise<LineProgram> {
    bus = await startBus()
    const daemon = await startPcscd({ bus })
    daemons.push(daemon)
    const program = await compile(join(import.meta.dirname, 'bus/pcsc-host.c'), 'libpcsclite')
    const inside = daemon.inside(program)
    const host = new LineProgram(inside.program, inside.args, {})
    programs.push(host)
    expect(await host.next('answer')).toMatch(/successful/)
    return host
  }

  // libccid takes a vendor-class interface only from ids it lists. 1DB2:0600 is not in the list of Debian 12's 1.5.2,
  // its sibling 1DB2:080C is: so that reader's descriptors are judged under the sibling's number.
  const judged: Readonly<Record<string, ReaderProfile>> = {
    ...readerProfiles,
    dualiAbcm6: { ...readerProfiles.dualiAbcm6, productId: 0x080c },
    // The MR800 is not in that list either: it is judged under the number of a reader on the same controller.
    jinmuyuMr800: { ...readerProfiles.jinmuyuMr800, productId: 0x6010, manufacturer: 'ATMEL' },
  }

  // Readers at TPDU level are judged beside our driver, in packages/ccid.
  const isApdu = (profile: ReaderProfile): boolean => profile.ccidDescriptor.slice(84, 86) !== '01'
  for (const [name, profile] of Object.entries(judged).filter(([, each]) => isApdu(each))) {
    test(`${name}: ATR, the longest echo, time extension, the card out and in again`, async () => {
      const host = await client()
      const reader = new VirtualCcidReader(profile)
      reader.insert(createEchoCard())
      bus.plug(reader)
      const maker = profile.manufacturer.split(' ')[0] ?? ''
      expect((await host.ask('reader')).toLowerCase()).toContain(maker.toLowerCase())
      expect(await host.ask('wait present')).toBe(`ok ${atr}`)
      expect(await host.ask('connect')).toBe('ok')

      if (isExtended(profile)) {
        // Longer than any message of these readers: wLevelParameter chains both ways.
        const data = pattern(4096)
        const echoed = await host.ask(`transmit 0010000000${'1000'}${hex(data)}0000`)
        expect(echoed === `ok ${hex(data)}9000`).toBe(true)
      } else {
        const parts = Array.from({ length: 17 }, (_, at) => pattern(4096).slice(at * 241, (at + 1) * 241))
        for (const [at, part] of parts.entries()) {
          const isLast = at === parts.length - 1
          const length = part.length.toString(16).padStart(2, '0')
          const answer = await host.ask(
            `transmit ${isLast ? '00' : '10'}100000${length}${hex(part)}${isLast ? '00' : ''}`,
          )
          if (!isLast) expect(answer).toBe('ok 9000')
          else expect(answer === `ok ${hex(pattern(4096).slice(0, 256))}6100`).toBe(true)
        }
      }

      reader.faults.schedule({ kind: 'time-extension', ends: 'once', frames: 3 })
      expect(await host.ask('transmit 0010000002aabb00')).toBe('ok aabb9000')

      reader.remove()
      expect(await host.ask('wait empty')).toBe('ok')
      expect(await host.ask('transmit 0010000002aabb00')).toMatch(/removed/)
      expect(await host.ask('disconnect')).toMatch(/ok|removed|Transaction failed/)
      reader.insert(createEchoCard())
      expect(await host.ask('wait present')).toBe(`ok ${atr}`)
      expect(await host.ask('connect')).toBe('ok')
      expect(await host.ask('transmit 0010000002ccdd00')).toBe('ok ccdd9000')

      await bus.unplug(reader)
      expect(await host.ask('wait gone')).toBe('ok')
    })
  }
})
