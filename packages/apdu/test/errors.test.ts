/** Errors are known by their code and the mark of their base class, whichever copy of the package made them. */
import { CardGoneError, isWebtokiError, PinError, WebtokiError } from '@webtoki/apdu'
import { describe, expect, expectTypeOf, it, vi } from 'vitest'

describe('isWebtokiError', () => {
  it('knows an error of ours, and with codes only those', () => {
    const error: unknown = new PinError(2)
    expect(isWebtokiError(error)).toBe(true)
    expect(isWebtokiError(error, 'card/pin-wrong')).toBe(true)
    expect(isWebtokiError(error, 'card/gone', 'card/pin-wrong')).toBe(true)
    expect(isWebtokiError(error, 'card/gone')).toBe(false)
  })

  it('knows an error of a second copy of the package, which instanceof does not', async () => {
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
  ])('is false for what is none of ours: %s', (error) => {
    expect(isWebtokiError(error)).toBe(false)
    expect(isWebtokiError(error, 'card/gone', 'work/aborted')).toBe(false)
  })

  it('narrows to the classes of the codes', () => {
    const error: unknown = new CardGoneError('removed')
    if (!isWebtokiError(error, 'card/gone', 'card/pin-wrong')) throw error
    expectTypeOf(error).toEqualTypeOf<CardGoneError | PinError>()
    expect(error.code).toBe('card/gone')
    if (error.code === 'card/gone') expectTypeOf(error.why).toEqualTypeOf<CardGoneError['why']>()
  })
})
