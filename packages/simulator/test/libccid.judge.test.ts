/** Checks the virtual readers with Debian's pcscd and libccid, in a separate mount namespace. */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { VirtualCcidReader, createEchoCard, type ReaderProfile, readerProfiles } from '../src/index.ts'
import { type Pcscd, startBus, startPcscd, type VirtualUsbBus } from '../src/node/index.ts'
import { compile, LineProgram, whatIsMissing } from './bus/line-program.ts'

const asRoot = process.getuid?.() === 0
const missing =
  whatIsMissing(['gcc', 'pkg-config', 'pcscd', 'unshare', 'nsenter'], ['libpcsclite']) ??
  (asRoot ? undefined : 'a private mount namespace needs root')
if (missing !== undefined) console.warn(`The virtual readers are not checked with libccid: ${missing}.`)

const atr = '3b8580018073c021c0d6'
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const pattern = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, at) => (at * 7) & 0xff)

/** Returns true if bits 16 to 18 of dwFeatures state the extended APDU level. */
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

  // libccid accepts a vendor-class interface only from listed devices. The list of version 1.5.2 in Debian 12 has
  // 1DB2:080C but not 1DB2:0600, so this reader is checked with the other product ID.
  const profiles: Readonly<Record<string, ReaderProfile>> = {
    ...readerProfiles,
    dualiAbcm6: { ...readerProfiles.dualiAbcm6, productId: 0x080c },
    // The MR800 is not in the list either, so it is checked with the IDs of a reader with the same controller.
    jinmuyuMr800: { ...readerProfiles.jinmuyuMr800, productId: 0x6010, manufacturer: 'ATMEL' },
  }

  // packages/ccid checks readers at TPDU level together with the driver.
  const isApdu = (profile: ReaderProfile): boolean => profile.ccidDescriptor.slice(84, 86) !== '01'
  for (const [name, profile] of Object.entries(profiles).filter(([, each]) => isApdu(each))) {
    test(`${name}: ATR, a 4096-byte echo, time extensions, card removal and reinsertion work`, async () => {
      const host = await client()
      const reader = new VirtualCcidReader(profile)
      reader.insert(createEchoCard())
      bus.plug(reader)
      const maker = profile.manufacturer.split(' ')[0] ?? ''
      expect((await host.ask('reader')).toLowerCase()).toContain(maker.toLowerCase())
      expect(await host.ask('wait present')).toBe(`ok ${atr}`)
      expect(await host.ask('connect')).toBe('ok')

      if (isExtended(profile)) {
        // The data is longer than any message of these readers, so wLevelParameter chains command and response.
        const data = pattern(4096)
        const echoed = await host.ask(`transmit 0010000000${'1000'}${hex(data)}0000`)
        expect(echoed === `ok ${hex(data)}9000`).toBe(true)
      } else {
        const parts = Array.from({ length: 17 }, (_, at) => pattern(4096).slice(at * 241, (at + 1) * 241))
        for (const [at, part] of parts.entries()) {
          const isLast = at === parts.length - 1
          const length = part.length.toString(16).padStart(2, '0')
          const response = await host.ask(
            `transmit ${isLast ? '00' : '10'}100000${length}${hex(part)}${isLast ? '00' : ''}`,
          )
          if (!isLast) expect(response).toBe('ok 9000')
          else expect(response === `ok ${hex(pattern(4096).slice(0, 256))}6100`).toBe(true)
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
