/** The last valid and the first invalid value of length fields and reserved values. */
import { decodeAtr, decodeTlv, fromHex } from '@webtoki/apdu'
import { describe, expect, it } from 'vitest'

const malformed = expect.objectContaining({ code: 'wire/malformed' })

describe('BER-TLV', () => {
  it.each([
    ['decodes three tag bytes and refuses four', 'bf810100', 'bf81810100', 0],
    ['decodes four length bytes and refuses five', '04840000000100', '0485000000000100', 1],
    [
      'refuses an indefinite length even if 128 bytes follow',
      '048180' + '00'.repeat(128),
      '0480' + '00'.repeat(128),
      128,
    ],
  ])('%s', (_, good, bad, valueBytes) => {
    expect(decodeTlv(fromHex(good)).value).toHaveLength(valueBytes)
    expect(() => decodeTlv(fromHex(bad))).toThrow(malformed)
  })
})

describe('T=1 in an ATR', () => {
  it.each([
    ['IFSC', '3b808111feee', '3b808111ffef'],
    ['BWI', '3b80812195b5', '3b808121a585'],
  ])('%s is valid up to its maximum and reserved above it', (_, good, bad) => {
    expect(decodeAtr(fromHex(good)).faults).toEqual([])
    expect(decodeAtr(fromHex(bad), { lenient: true }).faults).toEqual(['reserved-value'])
  })
})
