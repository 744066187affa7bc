/** `isWebtokiError` recognizes errors by their code and the mark of their base class, from any copy of the package. */
import { CardGoneError, isWebtokiError, PinError, WebtokiError } from '@webtoki/apdu'
import { describe, expect, expectTypeOf, it, vi } from 'vitest'

describe('isWebtokiError', () => {
  it('returns true for a Webtoki error, and with codes only for an error with one of them', () => {
    const error: unknown = new PinError(2)
    expect(isWebtokiError(error)).toBe(true)
    expect(isWebtokiError(error, 'card/pin-wrong')).toBe(true)
    expect(isWebtokiError(error, 'card/gone', 'card/pin-wrong')).toBe(true)
    expect(isWebtokiError(error, 'card/gone')).toBe(false)
  })

  it('returns true for an error of a second copy of the package, unlike instanceof', async () => {
    vi.resetModules()
    const other = await import('@webtoki/apdu')
    const error = new other.CardGoneError('removed')
    expect(error instanceof WebtokiError).toBe(false)
    expect(isWebtokiError(error, 'card/gone')).toBe(true)
    expect(other.isWebtokiError(new CardGoneError('reset'))).toBe(true)
  })

  it.each([
    undefined,
    null,
    'card/gone',
    new TypeError('no'),
    Object.assign(new Error('no'), { code: 'card/gone' }),
    { code: 'work/aborted' },
  ])('returns false for another value: %s', (error) => {
    expect(isWebtokiError(error)).toBe(false)
    expect(isWebtokiError(error, 'card/gone', 'work/aborted')).toBe(false)
  })

  it('narrows the type to the classes of the codes', () => {
    const error: unknown = new CardGoneError('removed')
    if (!isWebtokiError(error, 'card/gone', 'card/pin-wrong')) throw error
    expectTypeOf(error).toEqualTypeOf<CardGoneError | PinError>()
    expect(error.code).toBe('card/gone')
    if (error.code === 'card/gone') expectTypeOf(error.why).toEqualTypeOf<CardGoneError['why']>()
  })
})
