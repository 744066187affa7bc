/** ATRs of real cards, compared with another parser; limits of ISO/IEC 7816-3:2006 clause 8; and hostile bytes. */
import { readFileSync } from 'node:fs'
import {
  type Atr,
  atrStatesChaining,
  atrStatesExtended,
  decodeAtr,
  decodeCompactTlvs,
  decodeHistoricalBytes,
  fromHex,
  MalformedError,
  toHex,
} from '../src/index.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

interface Expectation {
  readonly atr: string
  readonly convention: 'direct' | 'inverse'
  readonly interfaceBytes: Readonly<Record<string, string>>
  readonly protocols: readonly number[]
  readonly fi?: number | 'RFU'
  readonly di?: number | 'RFU'
  readonly cyclesPerEtu?: number
  readonly extraGuardTimeN?: number
  readonly specificMode?: { protocol: number; ableToChange: boolean; parametersImplicit: boolean }
  readonly tc2?: number
  readonly ifsc?: number
  readonly bwi?: number
  readonly cwi?: number
  readonly edc?: 'LRC' | 'CRC'
  readonly t15?: { clockStop: string; classes: readonly string[] }
  readonly categoryIndicator?: string
  readonly historicalBytes: string
  readonly tck?: string
  readonly tckCorrect?: boolean
  readonly isoTckRequired: boolean
  readonly isoLengthOk: boolean
  readonly note?: string
}

const vectors = new URL('./vectors/gpl-2.0-or-later/', import.meta.url)
const listed = readFileSync(new URL('atrs.jsonl', vectors), 'utf8')
  .trim()
  .split('\n')
  .map((line) => (JSON.parse(line) as { atr: string }).atr)
const expectations = JSON.parse(
  readFileSync(new URL('atr-expectations.json', vectors), 'utf8'),
) as Expectation[]

const clockStopNames = {
  'not-supported': 'not supported',
  low: 'state L',
  high: 'state H',
  'no-preference': 'no preference',
} as const

describe('the list of ATRs of real cards', () => {
  it('is decoded leniently, each ATR with at least one protocol other than 15', () => {
    expect(listed).toHaveLength(3042)
    for (const hex of listed) {
      const atr = decodeAtr(fromHex(hex), { lenient: true })
      expect(atr.protocols.length, hex).toBeGreaterThan(0)
      expect(atr.protocols, hex).not.toContain(15)
    }
  })

  it('is free of faults in nine of ten cases, which are the ones that strict decoding accepts', () => {
    const good = listed.filter((hex) => decodeAtr(fromHex(hex), { lenient: true }).faults.length === 0)
    const accepted = listed.filter((hex) => strictly(fromHex(hex)) !== undefined)
    expect(accepted).toEqual(good)
    expect(good.length).toBeGreaterThan(0.9 * listed.length)
  })
})

describe("decodeAtr agrees with pcsc-tools' ATR_analysis on", () => {
  it.each(expectations)('$atr', (expected) => {
    const atr = decodeAtr(fromHex(expected.atr), { lenient: true })
    expect(atr.convention).toBe(expected.convention)
    expect(byName(atr)).toEqual(expected.interfaceBytes)
    expect(indicated(atr)).toEqual(expected.protocols)
    expect(toHex(atr.historicalBytes)).toBe(expected.historicalBytes)
    if (expected.categoryIndicator !== undefined) {
      expect(decodeHistoricalBytes(atr.historicalBytes).category).toBe(
        Number.parseInt(expected.categoryIndicator, 16),
      )
    }
    if (expected.fi !== undefined) expect(atr.fi ?? 'RFU').toBe(expected.fi)
    if (expected.di !== undefined) expect(atr.di ?? 'RFU').toBe(expected.di)
    if (expected.cyclesPerEtu !== undefined) expect((atr.fi ?? 0) / (atr.di ?? 0)).toBe(expected.cyclesPerEtu)
    if (expected.extraGuardTimeN !== undefined) expect(atr.extraGuardTime).toBe(expected.extraGuardTimeN)
    if (expected.tc2 !== undefined && atr.protocols.includes(0)) expect(atr.wi).toBe(expected.tc2)
    if (expected.ifsc !== undefined) expect(atr.t1?.ifscBytes).toBe(expected.ifsc)
    if (expected.bwi !== undefined) expect(atr.t1?.bwi).toBe(expected.bwi)
    if (expected.cwi !== undefined) expect(atr.t1?.cwi).toBe(expected.cwi)
    if (expected.edc !== undefined) expect(atr.t1?.errorDetection).toBe(expected.edc)
    if (expected.t15 !== undefined) {
      expect(clockStopNames[atr.clockStop]).toBe(expected.t15.clockStop)
      expect(atr.classes).toEqual(expected.t15.classes)
    }
    const mode = atr.specificMode && {
      protocol: atr.specificMode.protocol,
      ableToChange: atr.specificMode.canChange,
      parametersImplicit: atr.specificMode.implicitParameters,
    }
    expect(mode).toEqual(expected.specificMode)

    const lengthFaults = ['truncated', 'surplus-bytes', 'tck-missing'] as const
    expect(!lengthFaults.some((fault) => atr.faults.includes(fault))).toBe(expected.isoLengthOk)
    if (!expected.isoTckRequired) expect(atr.tck).toBeUndefined()
    else if (expected.note === undefined) {
      expect(atr.tck).toBe(Number.parseInt(expected.tck ?? '', 16))
      expect(!atr.faults.includes('tck-wrong')).toBe(expected.tckCorrect)
    }
  })
})

describe('an answer to reset', () => {
  it('of two bytes has the default values of the standard', () => {
    expect(decodeAtr(fromHex('3b00'))).toMatchObject({
      convention: 'direct',
      interfaceBytes: [],
      protocols: [0],
      defaultProtocol: 0,
      fi: 372,
      di: 1,
      maxClockKHz: 5000,
      extraGuardTime: 0,
      clockStop: 'not-supported',
      classes: ['A'],
      wi: 10,
      t1: undefined,
      tck: undefined,
      faults: [],
    })
  })

  it('that offers T=0 and T=1 has the parameters of both', () => {
    const atr = decodeAtr(withTck('3bd5960a8031fe458073c021c0'))
    expect(atr).toMatchObject({
      protocols: [0, 1],
      defaultProtocol: 0,
      extraGuardTime: 10,
      wi: 10,
      t1: { ifscBytes: 254, bwi: 4, cwi: 5, errorDetection: 'LRC' },
    })
  })

  it('of a T=1 card without parameters has the defaults of clause 11.4', () => {
    const atr = decodeAtr(withTck('3b8001'))
    expect(atr.t1).toEqual({ ifscBytes: 32, bwi: 4, cwi: 13, errorDetection: 'LRC' })
    expect(atr.wi).toBeUndefined()
  })

  it('has CRC as error detection if TC of T=1 states it', () => {
    expect(decodeAtr(withTck('3b80814101')).t1?.errorDetection).toBe('CRC')
  })

  it('in specific mode has the protocol of TA2 as the default, not the first one offered', () => {
    const atr = decodeAtr(withTck('3b80908101' + '01'), { lenient: true })
    expect(atr.defaultProtocol).toBe(1)
    expect(atr.specificMode).toEqual({ protocol: 1, canChange: false, implicitParameters: false })
  })

  it.each([
    ['3c00', 'unknown-convention'],
    ['3b10', 'truncated'],
    ['3b05010203', 'truncated'],
    ['3b0000', 'surplus-bytes'],
    ['3b8001', 'tck-missing'],
    ['3b800182', 'tck-wrong'],
    ['3b800f8f', 'protocol-order'],
    ['3b80810081', 'protocol-order'],
    ['3b1070', 'reserved-value'],
    ['3b804000', 'reserved-value'],
    [`3b${'00'.repeat(33)}`, 'too-long'],
  ] as const)('%s has the fault %s', (hex, fault) => {
    const bytes = fromHex(hex)
    expect(decodeAtr(bytes, { lenient: true }).faults).toContain(fault)
    expect(() => decodeAtr(bytes)).toThrow(MalformedError)
    expect(() => decodeAtr(bytes)).toThrow(fault)
  })

  it('of fewer than two bytes is refused even by lenient decoding', () => {
    expect(() => decodeAtr(new Uint8Array(0), { lenient: true })).toThrow(MalformedError)
    expect(() => decodeAtr(fromHex('3b'), { lenient: true })).toThrow(MalformedError)
  })

  it('may be a view that starts in the middle of a buffer', () => {
    const whole = fromHex(`ffff${toHex(withTck('3b8501' + '8073c021c0'))}`)
    expect(atrStatesExtended(whole.subarray(2))).toBe(true)
  })

  it('of random bytes is decoded or refused with MalformedError, leniently only if it is too short', () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .tuple(fc.constantFrom(0x3b, 0x3f), fc.uint8Array({ minLength: 1, maxLength: 40 }))
        .map(([ts, rest]) => Uint8Array.of(ts, ...rest)),
    )
    fc.assert(
      fc.property(hostile, (bytes) => {
        const strict = strictly(bytes)
        if (bytes.length < 2) {
          expect(strict).toBeUndefined()
          return
        }
        const lenient = decodeAtr(bytes, { lenient: true })
        expect(lenient.faults.length === 0).toBe(strict !== undefined)
        expect(lenient.historicalBytes.length).toBeLessThanOrEqual(15)
        expect(typeof atrStatesExtended(bytes)).toBe('boolean')
      }),
      { numRuns: 2000 },
    )
  })
})

describe('historical bytes', () => {
  it('80 73 C0 21 C0 state chaining and extended length', () => {
    const atr = decodeAtr(withTck('3b8501' + '8073c021c0'))
    expect(atrStatesExtended(atr)).toBe(true)
    expect(atrStatesChaining(atr)).toBe(true)
    expect(decodeHistoricalBytes(atr.historicalBytes).capabilities).toEqual({
      selection: {
        fullDfName: true,
        partialDfName: true,
        path: false,
        fileId: false,
        implicitDf: false,
        shortFileId: false,
        recordNumber: false,
        recordId: false,
      },
      dataCoding: 0x21,
      commandChaining: true,
      extendedLength: true,
      extendedLengthInformation: false,
      channelsAssignedBy: { card: false, interfaceDevice: false },
      maxLogicalChannels: 1,
    })
  })

  it('80 73 C0 21 80 state chaining only', () => {
    const bytes = withTck('3b8501' + '8073c02180')
    expect(atrStatesExtended(bytes)).toBe(false)
    expect(atrStatesChaining(bytes)).toBe(true)
  })

  it('with two capability bytes state neither extended length nor chaining', () => {
    const bytes = withTck('3b8401' + '8072c021')
    expect(atrStatesExtended(bytes)).toBe(false)
    expect(atrStatesChaining(bytes)).toBe(false)
  })

  it('of an ATR with a wrong check byte state nothing', () => {
    const bytes = withTck('3b8501' + '8073c021c0')
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
    expect(atrStatesExtended(bytes)).toBe(false)
  })

  it('of category 00 end with life cycle status and status word', () => {
    const { status, objects, capabilities, malformed } = decodeHistoricalBytes(fromHex('0073c021c0059000'))
    expect(status).toEqual({ lifeCycle: 5, sw: 0x9000 })
    expect(objects.map((one) => one.tag)).toEqual([7])
    expect(capabilities?.extendedLength).toBe(true)
    expect(malformed).toBe(false)
  })

  it.each([
    ['8081' + '07', { lifeCycle: 7 }],
    ['8082' + '9000', { sw: 0x9000 }],
    ['8083' + '079000', { lifeCycle: 7, sw: 0x9000 }],
  ])('of category 80 may have a status indicator: %s', (hex, status) => {
    expect(decodeHistoricalBytes(fromHex(hex)).status).toEqual(status)
  })

  it('can contain service data and an application identifier', () => {
    const historical = decodeHistoricalBytes(fromHex('8031a0f5a000000308'))
    expect(historical.serviceData).toBe(0xa0)
    expect(historical.applicationId && toHex(historical.applicationId)).toBe('a000000308')
  })

  it('of category 10 contain a DIR data reference', () => {
    expect(decodeHistoricalBytes(fromHex('1042'))).toMatchObject({ dirDataReference: 0x42, malformed: false })
    expect(decodeHistoricalBytes(fromHex('10'))).toMatchObject({ malformed: true })
  })

  it('of a proprietary category have no data objects', () => {
    expect(decodeHistoricalBytes(fromHex('4173c021c0'))).toMatchObject({ category: 0x41, objects: [] })
    expect(decodeHistoricalBytes(new Uint8Array(0))).toMatchObject({ category: undefined, malformed: false })
  })

  it('whose last object is not whole are malformed and keep the objects before it', () => {
    const { objects, malformed } = decodeHistoricalBytes(fromHex('8031a073c0'))
    expect(objects).toHaveLength(1)
    expect(malformed).toBe(true)
    expect(() => decodeCompactTlvs(fromHex('31a073c0'))).toThrow(MalformedError)
    expect(decodeCompactTlvs(fromHex('31a0'))).toHaveLength(1)
  })
})

function strictly(bytes: Uint8Array): Atr | undefined {
  try {
    return decodeAtr(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedError)
    return undefined
  }
}

/** Interface bytes by the names of the standard, such as TA1. */
function byName(atr: Atr): Record<string, string> {
  const named: Record<string, string> = {}
  for (const [i, group] of atr.interfaceBytes.entries()) {
    for (const name of ['ta', 'tb', 'tc', 'td'] as const) {
      const byte = group[name]
      if (byte !== undefined) named[`${name.toUpperCase()}${i + 1}`] = byte.toString(16).padStart(2, '0')
    }
  }
  return named
}

function indicated(atr: Atr): number[] {
  return atr.interfaceBytes.flatMap(({ td }) => (td === undefined ? [] : [td & 0x0f]))
}

function withTck(hex: string): Uint8Array {
  const bytes = fromHex(hex)
  return Uint8Array.of(
    ...bytes,
    bytes.subarray(1).reduce((sum, byte) => sum ^ byte, 0),
  )
}
