import { PinFormatError, type PinLimits, pinOf } from '@webtoki/apdu'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const digits: PinLimits = { minBytes: 6, maxBytes: 8, alphabet: 'digits' }
const text: PinLimits = { minBytes: 6, maxBytes: 20, alphabet: 'text' }

const fault = (typed: string, limits: PinLimits): unknown => {
  try {
    return new TextDecoder().decode(pinOf(bytesOf(typed), limits))
  } catch (error) {
    return error
  }
}

describe('a PIN of digits', () => {
  // The second opinion is ICU's table of number systems, which node:intl brings.
  const systems = Intl.supportedValuesOf('numberingSystem').filter((system) => {
    const nine = new Intl.NumberFormat(`en-u-nu-${system}`, { useGrouping: false }).format(9)
    return /^\p{Nd}$/u.test(nine)
  })

  it.each(systems)('is taken in the digits of the script %s', (system) => {
    const inScript = new Intl.NumberFormat(`en-u-nu-${system}`, { useGrouping: false })
    const typed = [9, 0, 8, 1, 7, 2, 6, 3].map((digit) => inScript.format(digit)).join('')
    expect(fault(typed, digits)).toBe('90817263')
  })

  it('counts characters, not the bytes that they are typed as', () => {
    expect(fault('１２３４５６', digits)).toBe('123456')
    expect(fault('１２３４５', digits)).toMatchObject({ why: 'length' })
    expect(fault('１２３４５６７８９', digits)).toMatchObject({ why: 'length' })
  })

  it.each(['12345a', 'secret', '12 456', '123456²', '12345½', '一二三四五六', '', '１２３４５\uFFFD'])(
    'is refused for what no card compares: %j',
    (typed) => {
      const error = fault(typed, digits)
      expect(error).toBeInstanceOf(PinFormatError)
      expect(error).toMatchObject({ ...digits, why: typed === '' ? 'length' : 'alphabet' })
      expect((error as Error).message).not.toContain(typed || '\0')
    },
  )

  it('is ASCII digits within its limits, or an error, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (typed) => {
        const before = typed.slice()
        try {
          const pin = pinOf(typed, digits)
          expect(new TextDecoder().decode(pin)).toMatch(/^[0-9]{6,8}$/)
        } catch (error) {
          expect(error).toBeInstanceOf(PinFormatError)
        }
        expect(typed).toEqual(before)
      }),
    )
  })
})

describe('a PIN of text', () => {
  it('is taken as it was typed, digits of other scripts too', () => {
    expect(fault('pass１２', text)).toBe('pass１２')
  })

  it('is refused if it is shorter or longer than the card takes', () => {
    for (const typed of ['12345', '1'.repeat(21)])
      expect(fault(typed, text)).toMatchObject({ code: 'card/pin-format', why: 'length', maxBytes: 20 })
  })
})
