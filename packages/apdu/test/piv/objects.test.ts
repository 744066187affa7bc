/** Data objects with surplus or missing bytes: some cards send more than the object has (OpenSC, issue 1837). */
import { decodeTlvs, encodeTlv, firstTlv, fromHex, toHex } from '@webtoki/apdu'
import { decodeCertificate, decodeChuid, decodeDiscovery } from '@webtoki/apdu/piv'
import { describe, expect, it } from 'vitest'

const der = encodeTlv(0x30, new Uint8Array(300).fill(5))
const guid = '0102030405060708090a0b0c0d0e0f10'
const objects = {
  certificate: {
    whole: encodeTlv(0x53, encodeTlv(0x70, der), encodeTlv(0x71, [0]), encodeTlv(0xfe)),
    read: async (object: Uint8Array) => toHex((await decodeCertificate(object))?.der ?? new Uint8Array(0)),
    means: toHex(der),
  },
  CHUID: {
    whole: encodeTlv(0x53, encodeTlv(0x30, [1]), encodeTlv(0x34, fromHex(guid)), encodeTlv(0xfe)),
    read: async (object: Uint8Array) => toHex(decodeChuid(object).guid ?? new Uint8Array(0)),
    means: guid,
  },
  'discovery object': {
    whole: fromHex('7e124f0ba0000003080000100001005f2f026020'),
    read: async (object: Uint8Array) => decodeDiscovery(object).pinReference,
    means: 0,
  },
  'discovery object in 53': {
    whole: encodeTlv(0x53, fromHex('7e124f0ba0000003080000100001005f2f026020')),
    read: async (object: Uint8Array) => decodeDiscovery(object).pinReference,
    means: 0,
  },
}

describe.each(Object.entries(objects))('a %s', (_, { whole, read, means }) => {
  it.each(['', '00', '0000', 'ff', 'ffff', '53', '5382', '9000'])(
    'is decoded even if the bytes "%s" follow it',
    async (trailing) => {
      expect(await read(Uint8Array.of(...whole, ...fromHex(trailing)))).toBe(means)
    },
  )

  it('is refused if it is truncated', async () => {
    for (const bytes of [1, 2, 5]) {
      await expect(read(whole.subarray(0, -bytes))).rejects.toMatchObject({ code: 'wire/malformed' })
    }
  })

  it('is refused if other bytes precede it or it is empty', async () => {
    for (const bytes of [Uint8Array.of(0, 0, ...whole), new Uint8Array(0)])
      await expect(read(bytes)).rejects.toMatchObject({ code: 'wire/malformed' })
  })
})

describe('firstTlv', () => {
  it('finds a data object by its tag and ignores the bytes after it', () => {
    const bytes = fromHex('0101aa 0202bbcc 0201dd ff')
    expect(firstTlv(bytes)).toEqual({ tag: 1, value: fromHex('aa') })
    expect(firstTlv(bytes, 2)).toEqual({ tag: 2, value: fromHex('bbcc') })
    expect(() => firstTlv(bytes, 3)).toThrow(expect.objectContaining({ code: 'wire/malformed' }))
    expect(firstTlv(fromHex('0101aa'), 3)).toBeUndefined()
    expect(firstTlv(new Uint8Array(0))).toBeUndefined()
    expect(() => decodeTlvs(bytes)).toThrow(expect.objectContaining({ code: 'wire/malformed' }))
  })
})
