/** Command APDUs, response APDUs and BER-TLV at the boundaries of their length fields, and with hostile bytes. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeCommand,
  decodeResponse,
  decodeTlv,
  decodeTlvs,
  describeStatus,
  encodeCommand,
  encodeTlv,
  fromHex,
  WebtokiError,
  toHex,
  triesLeftFromStatus,
} from '../src/index.ts'
import boundaries from './vectors/tlv-apdu-boundaries.json' with { type: 'json' }

interface ApduCase {
  name: string
  header: string
  data?: string
  dataByte?: string
  dataLength?: number
  le: number | null
  short?: string | null
  extended?: string | null
  shortPrefix?: string | null
  extendedPrefix?: string | null
}

describe('command APDUs', () => {
  for (const item of boundaries.apduEncoding.cases as ApduCase[]) {
    const [cla = 0, ins = 0, p1 = 0, p2 = 0] = fromHex(item.header)
    const data =
      item.data === undefined ? new Uint8Array(item.dataLength ?? 0).fill(0xaa) : fromHex(item.data)
    const command = { cla, ins, p1, p2, data, ...(item.le === null ? {} : { responseBytes: item.le }) }
    for (const encoding of ['short', 'extended'] as const) {
      const prefix = item[`${encoding}Prefix`]
      const whole = prefix ? prefix + toHex(data) : prefix === null ? null : item[encoding]
      if (whole === undefined) continue
      it(`${item.name} ${whole === null ? 'do not fit' : 'are encoded in'} ${encoding} encoding`, () => {
        if (whole === null) return expect(() => encodeCommand(command, encoding)).toThrow(RangeError)
        const bytes = encodeCommand(command, encoding)
        expect(toHex(bytes)).toBe(whole)
        const read = decodeCommand(bytes)
        expect([read.cla, read.ins, read.p1, read.p2]).toEqual([cla, ins, p1, p2])
        expect(toHex(read.data ?? new Uint8Array())).toBe(toHex(data))
        expect(read.responseBytes).toBe(item.le ?? undefined)
      })
    }
  }

  it('with wrong length fields are refused', () => {
    // Short header; half an extended field; Lc past the end; two bytes after the data; extended Lc 0; extended Lc past
    // the end.
    const malformed = [
      '00a404',
      '00a404000000',
      '00a4040005aa',
      '00a4040001aa0000',
      '00a404000000000000',
      '00a40400000002aa',
    ]
    for (const hex of malformed) expect(() => decodeCommand(fromHex(hex)), hex).toThrow(WebtokiError)
  })

  it('of random bytes decodes or throws a WebtokiError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(succeedsOrThrowsTyped(() => decodeCommand(bytes))).toBe(true)
      }),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(succeedsOrThrowsTyped(() => decodeResponse(bytes))).toBe(true)
      }),
    )
  })

  it('with a response that lacks a valid status word throw MalformedError for it', () => {
    expect(decodeResponse(fromHex('019000'))).toEqual({ data: fromHex('01'), sw: 0x9000 })
    for (const hex of ['', '90', '6000', '0000', 'ff00'])
      expect(() => decodeResponse(fromHex(hex))).toThrow(WebtokiError)
  })
})

describe('status words', () => {
  it('all have a description, and only 63Cx has attempts left', () => {
    for (let sw = 0; sw <= 0xffff; sw++) if (describeStatus(sw) === '') expect.fail(`${sw}`)
    expect(describeStatus(0x63c1)).toBe('verification failed, 1 attempt left')
    expect(describeStatus(0x6100)).toBe('256 or more bytes still available')
    expect(triesLeftFromStatus(0x63cf)).toBe(15)
    expect(triesLeftFromStatus(0x6300)).toBeUndefined()
  })
})

describe('TLV', () => {
  it('encodes the data objects of the vectors and decodes them back', () => {
    for (const { hex, tag, value } of boundaries.tlv) {
      expect(toHex(encodeTlv(tag, fromHex(value)))).toBe(hex)
      expect(decodeTlv(fromHex(hex))).toEqual({ tag, value: fromHex(value) })
    }
    for (const { tag, valueLength, header } of boundaries.tlvLengthBoundaries) {
      const bytes = encodeTlv(tag, new Uint8Array(valueLength).fill(0xcc))
      expect(toHex(bytes)).toBe(header + 'cc'.repeat(valueLength))
      expect(decodeTlv(bytes).value.length).toBe(valueLength)
    }
  })

  it('with a length of 4 GB, an overlong tag or an indefinite length is refused', () => {
    for (const hex of ['5384ffffffff00', '1fffffff00', '5380', '538500000000 01', '5302 01']) {
      expect(() => decodeTlv(fromHex(hex))).toThrow(WebtokiError)
    }
  })

  it('of random bytes decodes or throws a WebtokiError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(succeedsOrThrowsTyped(() => decodeTlvs(bytes))).toBe(true)
      }),
    )
  })
})

/** Returns true if the work succeeds or throws a WebtokiError. */
function succeedsOrThrowsTyped(work: () => unknown): boolean {
  try {
    work()
    return true
  } catch (error) {
    return error instanceof WebtokiError
  }
}
