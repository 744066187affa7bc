/** Conversion of typed PINs, with ICU's table of number systems as the reference for digits of other scripts. */
import { PinFormatError, type PinLimits, pinOf } from '@webtoki/apdu'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const digits: PinLimits = { minBytes: 6, maxBytes: 8, alphabet: 'digits' }
const text: PinLimits = { minBytes: 6, maxBytes: 20, alphabet: 'text' }

const resultOf = (typed: string, limits: PinLimits): unknown => {
  try {
    return new TextDecoder().decode(pinOf(bytesOf(typed), limits))
  } catch (error) {
    return error
  }
}

describe('a PIN of digits', () => {
  // ICU's table, as Node's Intl provides it.
  const systems = Intl.supportedValuesOf('numberingSystem').filter((system) => {
    const nine = new Intl.NumberFormat(`en-u-nu-${system}`, { useGrouping: false }).format(9)
    return /^\p{Nd}$/u.test(nine)
  })

  it.each(systems)('may be typed in digits of the number system %s', (system) => {
    const inScript = new Intl.NumberFormat(`en-u-nu-${system}`, { useGrouping: false })
    const typed = [9, 0, 8, 1, 7, 2, 6, 3].map((digit) => inScript.format(digit)).join('')
    expect(resultOf(typed, digits)).toBe('90817263')
  })

  it('has its length counted in characters, not in bytes', () => {
    expect(resultOf('１２３４５６', digits)).toBe('123456')
    expect(resultOf('１２３４５', digits)).toMatchObject({ why: 'length' })
    expect(resultOf('１２３４５６７８９', digits)).toMatchObject({ why: 'length' })
  })

  it.each(['12345a', 'secret', '12 456', '123456²', '12345½', '一二三四五六', '', '１２３４５\uFFFD'])(
    'is refused if it contains anything but decimal digits: %j',
    (typed) => {
      const error = resultOf(typed, digits)
      expect(error).toBeInstanceOf(PinFormatError)
      expect(error).toMatchObject({ ...digits, why: typed === '' ? 'length' : 'alphabet' })
      expect((error as Error).message).not.toContain(typed || '\0')
    },
  )

  it('of random bytes becomes ASCII digits within its limits or is refused', () => {
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
  it('is not changed, not even digits of other scripts', () => {
    expect(resultOf('pass１２', text)).toBe('pass１２')
  })

  it('is refused if it is shorter or longer than the card allows', () => {
    for (const typed of ['12345', '1'.repeat(21)])
      expect(resultOf(typed, text)).toMatchObject({ code: 'card/pin-format', why: 'length', maxBytes: 20 })
  })
})
