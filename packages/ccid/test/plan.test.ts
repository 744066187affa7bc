/** Plans of all real readers whose descriptors are in the collection. */
import { readFileSync } from 'node:fs'
import { describePlan, listQuirks, planFor, quirkOf, quirksOf, type ReaderPlan } from '@webtoki/ccid'
import { describe, expect, it } from 'vitest'
import { corrected } from '../src/corrected.ts'
import { decodeCcidDescriptor, type Endpoint } from '../src/descriptors.ts'

type Line = [
  file: string,
  id: string,
  interfaceClass: number,
  protocol: number,
  endpoints: string,
  hex: string,
]
const lines = JSON.parse(
  readFileSync(new URL('vectors/lgpl-2.1/ccid-readers.json', import.meta.url), 'utf8'),
) as Line[]

function endpointsOf(letters: string): Endpoint[] {
  const of = (letter: string): Endpoint => ({
    number: 1,
    direction: letter === 'o' ? 'out' : 'in',
    type: letter === 'n' ? 'interrupt' : 'bulk',
    packetBytes: 64,
  })
  return letters.split('').map(of)
}

function plan([, id, , interfaceProtocol, endpoints, hex]: Line): ReaderPlan {
  const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
  const descriptor = decodeCcidDescriptor(Uint8Array.from(Buffer.from(hex, 'hex')))
  return planFor({
    vendorId,
    productId,
    usbInterface: { descriptor, interfaceProtocol, endpoints: endpointsOf(endpoints) },
  })
}

const named = (file: string): ReaderPlan => {
  const found = lines.find(([name]) => name === file)
  if (found === undefined) throw new Error(`There is no ${file}.`)
  return plan(found)
}

describe('the plan of every reader in the collection', () => {
  it('can be computed and printed', () => {
    expect(lines).toHaveLength(570)
    for (const line of lines) {
      const made = plan(line)
      expect(describePlan(made).every((text) => /^\S.{13}\S/.test(text))).toBe(true)
      expect(made.protocols.length).toBeGreaterThan(0)
      // If the driver sends the blocks, the plan states their length.
      const sendsBlocks = made.level === 'tpdu' || made.level === 'character'
      expect(made.ifsd !== undefined).toBe(sendsBlocks && made.protocols.includes('T=1'))
      if (made.ifsd !== undefined) expect(made.ifsd.bytes).toBeGreaterThanOrEqual(1)
      if (made.ifsd !== undefined)
        expect(made.ifsd.bytes).toBeLessThanOrEqual(Math.min(254, made.messageBytes - 14))
    }
  })

  it('supports the reader', () => {
    expect(lines.filter((line) => plan(line).refusal !== undefined).map(([file]) => file)).toEqual([])
  })

  it('states why a reader with too short messages is not supported', () => {
    const [, , , , , hex] = lines.find(([file]) => file === 'SCR331.txt') as Line
    const tiny = `${hex.slice(0, 88)}0e000000${hex.slice(96)}`
    const made = plan(['', '04e6:e001', 11, 0, 'ion', tiny])
    expect(describePlan(made).at(-1)).toBe('not supported messages of 14 bytes are too short for a command')
  })

  it('identifies tokens by bit 0x800 of dwFeatures', () => {
    const tokens = lines.flatMap(([file, id, , interfaceProtocol, endpoints, hex]) => {
      const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
      const descriptor = decodeCcidDescriptor(Uint8Array.from(Buffer.from(hex, 'hex')))
      const usbInterface = { descriptor, interfaceProtocol, endpoints: endpointsOf(endpoints) }
      const { slotKinds = [] } = corrected({ vendorId, productId }, usbInterface).quirk
      return slotKinds[0] === 'token' ? [file] : []
    })
    // Read from the hex digits, independently of the decoder: byte 41 of the descriptor.
    const bit800 = lines.filter(([, , , , , hex]) => '89abcdef'.includes(hex.charAt(2 * 41 + 1)))
    expect(tokens).toEqual(bit800.map(([file]) => file))
    expect(tokens).toHaveLength(31)
  })

  it('has the same levels as a count from the raw numbers', () => {
    const count: Record<string, number> = {}
    const changed: string[] = []
    for (const line of lines) {
      const { level } = decodeCcidDescriptor(Uint8Array.from(Buffer.from(line[5], 'hex')))
      count[level] = (count[level] ?? 0) + 1
      if (plan(line).level !== level) changed.push(line[0])
    }
    expect(count).toEqual({ extended: 216, tpdu: 197, short: 152, character: 5 })
    expect(changed).toEqual([
      'Aktiv_Rutoken_Magistra.txt',
      'Cherry_SmartTerminal_XX44.txt',
      'Gemalto_PDT.txt',
      'GnD_StarSignCardToken350.txt',
      'GnD_StarSignCardToken550.txt',
      'HID_Aviator.txt',
      'JCOP41V221.txt',
      'Kobil_EMV_CAP.txt',
      'Philips_SmartMX.txt',
      'e-gate.txt',
    ])
  })
})

describe('the plan from a class descriptor alone', () => {
  /** The input of `webtoki plan --descriptor`. */
  const alone = ([, id, , , , hex]: Line): ReaderPlan => {
    const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
    const descriptor = decodeCcidDescriptor(Uint8Array.from(Buffer.from(hex, 'hex')))
    return planFor({ vendorId, productId, usbInterface: { descriptor } })
  }

  it('states nothing that the interface of any reader contradicts', () => {
    let unknown = 0
    for (const line of lines) {
      const whole = plan(line)
      const { transport, presence, level, levelOfIccd, ...rest } = alone(line)
      expect({ transport, presence }).toEqual({ transport: 'unknown', presence: 'unknown' })
      expect([level, levelOfIccd], line[0]).toContain(whole.level)
      if (levelOfIccd !== undefined) unknown++
      // ICCD version A takes whole T=0 commands, whatever the length of its messages.
      if (whole.transport === 'iccd-a') continue
      const { transport: _, presence: __, level: ___, levelOfIccd: ____, ...expected } = whole
      expect(rest, line[0]).toEqual(expected)
    }
    expect(unknown).toBeGreaterThan(100)
  })

  it('states which values depend on the interface', () => {
    const line = lines.find(([name]) => name === 'Gemalto_PDT.txt') as Line
    const described = describePlan(alone(line))
    expect(described[0]).toBe(
      'exchange      short APDUs (extended APDUs on the control pipe) over bulk endpoints or the control pipe: the class descriptor does not state which',
    )
    expect(described.find((text) => text.startsWith('cards'))).toMatch(/does not state which$/)
  })
})

describe('the plan of', () => {
  it('SCR331: TPDUs, parameters set by the host, IFSD announced by the host', () => {
    expect(named('SCR331.txt')).toMatchObject({
      level: 'tpdu',
      negotiation: 'reader-by-parameters',
      ifsd: { bytes: 252, by: 'host' },
      presence: 'interrupt',
      refusal: undefined,
    })
  })

  it('GemPC Twin: negotiation by the host', () => {
    expect(named('GemPCTwin.txt')).toMatchObject({
      level: 'tpdu',
      negotiation: 'host',
      protocols: ['T=0', 'T=1'],
    })
  })

  it('Gnuk with messages of 64 bytes: extended APDUs in small parts, polling', () => {
    expect(named('Fsij_gnuk.txt')).toMatchObject({ level: 'extended', messageBytes: 64, presence: 'polling' })
  })

  it('Elatec TWN4: blocks no larger than its messages', () => {
    expect(named('Elatec_TWN4_SmartCard_NFC.txt').ifsd).toEqual({ bytes: 50, by: 'host' })
  })

  it('Cherry ST-2xxx: a PIN pad that verifies and changes PINs', () => {
    expect(named('CherrySmartTerminalST2XXX.txt').pinPad).toEqual(['verify', 'modify'])
  })

  it('Winbond: characters over T=0 and T=1', () => {
    expect(describePlan(named('Winbond.txt')).slice(0, 4)).toEqual([
      'exchange      characters over bulk endpoints',
      'protocols     T=0 and T=1',
      'negotiation   the reader, with parameters set by the host',
      'IFSD          123 bytes, announced by the reader',
    ])
  })

  it('e-gate: T=0 commands over the control pipe (ICCD version A)', () => {
    expect(named('e-gate.txt')).toMatchObject({
      transport: 'iccd-a',
      level: 'tpdu',
      protocols: ['T=0'],
      presence: 'polling',
      refusal: undefined,
    })
  })

  it('the HP keyboard: no PIN pad, because its digits reach the computer', () => {
    expect(named('HPUSBSmartCardKeyboard.txt')).toMatchObject({
      pinPad: [],
      quirks: [{ about: 'reader', why: 'the digits of a PIN reach the computer' }],
    })
  })
})

/** A link to lines of a fixed revision of libccid; further links may follow. */
const LINK_TO_LINES =
  /^https:\/\/github\.com\/LudovicRousseau\/CCID\/blob\/1\.8\.4\/src\/\w+\.c#L\d+(-L\d+)?( and https:\/\/\S+)*$/

describe('the list of quirks', () => {
  it('has a reason and a link to source lines for each entry, and each is found by its own id', () => {
    const quirks = listQuirks()
    expect(quirks.filter(({ about }) => about === 'reader')).toHaveLength(26)
    expect(quirks.filter(({ about }) => about === 'PIN pad')).toHaveLength(10)
    expect(quirks.filter(({ about }) => about === 'firmware')).toHaveLength(18)
    for (const quirk of quirks) {
      const { id, why, source } = quirk
      expect(id).toMatch(/^[0-9a-f]{4}(:[0-9a-f]{4})?$/)
      expect(why.length, id).toBeGreaterThan(10)
      expect(source, id).toMatch(LINK_TO_LINES)
      const [vendorId = 0, productId = 0] = id.split(':').map((part) => Number.parseInt(part, 16))
      const firmware = /firmware (\d+)\.(\d+)( and|:)/.exec(why)
      const ids = {
        vendorId,
        productId,
        interfaceNumber: 1,
        ...(firmware === null ? {} : { firmware: Number.parseInt(`${firmware[1]}${firmware[2]}`, 16) }),
      }
      expect(quirksOf(ids)).toContainEqual(quirk)
    }
  })

  it('applies an entry for specific versions or interfaces only to those', () => {
    const cherry = { vendorId: 0x046a, productId: 0x00a1 }
    const about = (firmware?: number) => quirksOf({ ...cherry, firmware }).map((each) => each.about)
    expect(about(0x0100)).toEqual(['reader', 'PIN pad'])
    expect(about(0x0102)).toEqual(['PIN pad'])
    expect(about()).toEqual(['PIN pad'])
    const sec1210 = { vendorId: 0x0424, productId: 0x1202 }
    expect(quirkOf({ ...sec1210, interfaceNumber: 1 })).toEqual({ powersOffFirst: true })
    expect(quirkOf({ ...sec1210, interfaceNumber: 0 })).toEqual({})
    const scr331 = { vendorId: 0x04e6, productId: 0xe001 }
    expect(quirksOf({ ...scr331, firmware: 0x0515 })).toHaveLength(1)
    expect(quirksOf({ ...scr331, firmware: 0x0516 })).toEqual([])
    expect(quirksOf(scr331)[0]?.why).toBe('firmware before 5.16 is known to be faulty')
  })

  it('is part of the plan of the reader, with its sources', () => {
    const lines = describePlan(named('SPR532.txt'))
    expect(lines.find((line) => line.startsWith('PIN pad quirk'))).toMatch(
      /Escape 80 02 00.*\(https:.*\/src\/commands\.c#L481-L503 and https:.*\/src\/commands\.c#L740-L750\)$/,
    )
    expect(describePlan(named('HPUSBSmartCardKeyboard.txt')).at(-1)).toMatch(
      /^quirk .*\(https:.*\/src\/ccid\.c#L518-L530\)$/,
    )
    expect(describePlan(named('SCR331.txt')).at(-1)).toMatch(/^firmware .*before 5\.16/)
    expect(named('GemPCTwin.txt').quirks).toEqual([])
  })
})
