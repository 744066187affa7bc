/**
 * The choice of protocol and parameters, and the evaluation of PPS responses, as pure functions (ISO/IEC 7816-3:2006,
 * 6.3.1, 8.3, 9).
 */
import { decodeAtr } from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'
import type { CcidDescriptor } from '../src/descriptors.ts'
import { chooseParameters, acceptedPps } from '../src/tpdu/parameters.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const atr = (text: string) => decodeAtr(hex(text), { lenient: true })

/** 4 MHz, both protocols, TPDU level, no automatic features. */
const reader = {
  protocols: 3,
  features: 0,
  defaultClockKHz: 4_000,
  maxDataRateBps: 344_086,
  dataRateCount: 0,
} as CcidDescriptor

describe('a response to PPS', () => {
  const request = hex('ff 11 96 78')

  it('that echoes the request accepts it', () => {
    expect(acceptedPps(request, request)).toEqual({ fiDi: 0x96 })
    expect(acceptedPps(hex('ff 01 fe'), hex('ff 01 fe'))).toEqual({ fiDi: 0x11 })
  })

  it('without the speed accepts the protocol at the default speed', () => {
    expect(acceptedPps(request, hex('ff 01 fe'))).toEqual({ fiDi: 0x11 })
  })

  it.each([
    ['with a wrong check byte', 'ff 11 96 79'],
    ['of another protocol', 'ff 10 96 79'],
    ['of another speed', 'ff 11 95 7b'],
    ['of two bytes', 'ff ff'],
    ['that announces a speed and has none', 'ff 11 ee'],
    ['with a surplus byte', 'ff 01 fe 00'],
    ['that is not a PPS', '3b 11 96 bc'],
    ['without a byte', ''],
  ])('%s accepts nothing', (_, response) => {
    expect(acceptedPps(request, hex(response))).toBeUndefined()
  })
})

describe('the choice of parameters', () => {
  it('uses both protocols if the reader states none', () => {
    const silent = { ...reader, protocols: 0 }
    expect(chooseParameters(atr('3b 80 01 81'), silent, undefined).protocol).toBe(1)
    expect(chooseParameters(atr('3b 00'), silent, undefined).protocol).toBe(0)
  })

  it('uses the default speed and no PPS for a reserved TA1', () => {
    for (const ta1 of ['70', '90', '9f', 'f6']) {
      const { fiDi, pps } = chooseParameters(atr(`3b 90 ${ta1} 01 00`), reader, undefined)
      expect({ fiDi, pps }).toEqual({ fiDi: 0x11, pps: undefined })
    }
  })

  it('uses the card’s speed in specific mode, even beyond the reader’s maximum', () => {
    // TA1 98: 4 MHz × 12 / 512 is 93750 baud; TA2 11.
    const slow = { ...reader, maxDataRateBps: 10_753 }
    const { fiDi, pps } = chooseParameters(atr('3b 90 98 11 81 98'), slow, undefined)
    expect({ fiDi, pps }).toEqual({ fiDi: 0x98, pps: undefined })
  })

  it('places Di 12 and 20 by their value in the search for the next slower speed', () => {
    // TA1 96 means Di 32. A limit of 160000 baud leaves Di 20; TA1 95 (Di 16) would be slower than necessary.
    const { fiDi } = chooseParameters(
      atr('3b 90 96 01 07'),
      { ...reader, maxDataRateBps: 160_000 },
      undefined,
    )
    expect(fiDi).toBe(0x99)
  })

  it('never negotiates a speed below the default', () => {
    // Fi 2048: Di 1, 2 and 4 are slower than the default of 4 MHz / 372.
    const { fiDi, pps } = chooseParameters(
      atr('3b 90 d5 01 44'),
      { ...reader, maxDataRateBps: 11_000 },
      undefined,
    )
    expect({ fiDi, pps }).toEqual({ fiDi: 0x11, pps: undefined })
  })
})
