import {
  AbortedError,
  CardGoneError,
  PinError,
  PinFormatError,
  PinPadCancelledError,
  ReaderRefusedError,
  ReadersUnreachableError,
  StatusError,
  TouchMissedError,
} from '@webtoki/apdu'
import { CKR, CryptokiError } from '@webtoki/cryptoki'
import { CertificateUseError, DocumentError, type DocumentReason } from '@webtoki/documents'
import { english, explain, PinDialogError, setStrings, strings } from '@webtoki/ui'
import { afterEach, describe, expect, it } from 'vitest'
import { isWebtokiError } from 'webtoki'

afterEach(() => setStrings(english))

const coded = (code: string, cause?: unknown): Error =>
  Object.assign(new Error('for developers', { cause }), { code })

describe('a site’s own sentences', () => {
  it('stand in the place of those they name, and of no others', () => {
    setStrings({
      noReader: 'Kein Leser ist da.',
      errors: { 'reader/in-use': 'Ein anderes Programm hat den Leser.' },
      phases: { done: 'Fertig' },
    })
    expect(strings().noReader).toBe('Kein Leser ist da.')
    expect(strings().connectReader).toBe(english.connectReader)
    expect(explain(coded('reader/in-use'))).toBe('Ein anderes Programm hat den Leser.')
    expect(explain(coded('reader/not-granted'))).toBe(english.errors['reader/not-granted'])
    expect(strings().phases).toEqual({ ...english.phases, done: 'Fertig' })
    const login = { title: 'PIN eingeben', field: 'PIN', why: () => 'Zum Anmelden.' }
    setStrings({ pinPurposes: { login } })
    expect(strings().pinPurposes).toEqual({ ...english.pinPurposes, login })
  })

  it('are kept when more are given later', () => {
    setStrings({ errors: { 'reader/in-use': 'one' } })
    setStrings({ phases: { started: 'three' } })
    setStrings({ errors: { 'reader/not-granted': 'two' } })
    setStrings({ phases: { done: 'four' } })
    expect(strings().phases).toMatchObject({ started: 'three', done: 'four' })
    expect(explain(coded('reader/in-use'))).toBe('one')
    expect(explain(coded('reader/not-granted'))).toBe('two')
  })
})

const sentenceOf = (code: string): string | undefined =>
  (english.errors as Readonly<Record<string, string>>)[code]

describe('an error is explained', () => {
  it.each([
    [new CryptokiError(CKR.DEVICE_MEMORY, { cause: new StatusError('PUT DATA', 0x6a84, 'full') })],
    [new CryptokiError(CKR.SESSION_CLOSED, { cause: new CardGoneError('closed') })],
    [new CryptokiError(CKR.FUNCTION_CANCELED, { cause: new AbortedError() })],
  ])('by what it means where its cause says less: %s', (error) => {
    expect(explain(error)).toBe(sentenceOf(error.code))
  })

  it('by its own sentence where it is no cause of anything: a refused command', () => {
    expect(explain(new StatusError('PUT DATA', 0x6a84, 'full'))).toBe(english.errors['card/status'])
  })

  it.each(['no-api', 'insecure-context', 'policy'] as const)(
    'by why readers cannot be reached: %s',
    (why) => {
      const error = new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause: new ReadersUnreachableError(why) })
      expect(explain(error)).toBe(english.errors[`reader/unreachable/${why}`])
    },
  )

  it('by its code, which tells it apart: a dialog that cannot be shown', () => {
    const error = new PinDialogError('not-connected')
    expect(isWebtokiError(error, 'ui/no-dialog')).toBe(true)
    expect(explain(error)).toBe(english.errors['ui/no-dialog'])
  })

  it('by what to do, if a certificate is not meant for what a person wants', () => {
    const refused = new CertificateUseError('signing', 'wrong-extended-key-usage', 'it is for clients')
    expect(explain(refused)).toBe(english.errors['certificate/wrong-use'])
    const kept = new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    expect(explain(kept)).toBe(english.errors['cryptoki/key-function-not-permitted'])
  })

  it('by the most particular of its causes, with the tries left', () => {
    const wrong = new CryptokiError(CKR.PIN_INCORRECT, { cause: new PinError(1) })
    expect(explain(coded('card/failed', wrong))).toBe('That PIN was wrong. 1 try left.')
  })

  it('by the cause, where both have a sentence, and by no tries where none is left', () => {
    const locked = Object.assign(new CryptokiError(CKR.PIN_LOCKED), { triesLeft: 0 })
    expect(explain(coded('reader/in-use', locked))).toBe(english.errors['cryptoki/pin-locked'])
    expect(explain(coded('card/failed', coded('card/last-try')))).toBe(english.errors['card/last-try'])
    expect(explain(coded('reader/in-use', coded('card/last-try')))).toBe(english.errors['card/last-try'])
  })

  it.each(['page', 'tab'] as const)('by who holds the reader, where that is known: %s', (by) => {
    const error = coded('cryptoki', Object.assign(coded('reader/in-use'), { by }))
    expect(explain(error)).toBe(english.errors[`reader/in-use/${by}`])
    expect(explain(error)).toMatch(by === 'page' ? /This page/ : /tab/)
    expect(explain(coded('cryptoki', Object.assign(coded('reader/in-use'), { by: 'unknown' })))).toBe(
      english.errors['reader/in-use'],
    )
  })

  it('by the one sentence for all where it has none of its own, or is no error', () => {
    for (const silent of [new Error(''), 'a text', undefined]) expect(explain(silent)).toBe(english.failed)
  })

  const reasons: readonly DocumentReason[] = [
    'unreadable',
    'cancelled',
    'malformed',
    'not-signed-data',
    'no-signer',
    'certificate-missing',
    'outside-validity',
    'wrong-argument',
  ]
  it.each(reasons)('a document’s trouble (%s) in a sentence that a site can replace', (reason) => {
    expect(explain(new DocumentError(reason))).toBe(english.errors[`documents/${reason}`])
    setStrings({ errors: { [`documents/${reason}`]: 'in other words' } })
    expect(explain(new DocumentError(reason))).toBe('in other words')
  })

  it('without a return value of PKCS#11, if its sentence is missing', () => {
    for (const rv of Object.values(CKR)) {
      expect(explain(new CryptokiError(rv))).not.toMatch(/CKR/)
      expect(explain(new CryptokiError(rv, { detail: 'the site said no' }))).not.toMatch(/CKR/)
    }
    expect(explain(new CryptokiError(0x8000_0001 as CKR))).toBe(english.failed)
    const own = new CryptokiError(CKR.FUNCTION_FAILED, { detail: 'the site said no' })
    expect(explain(own)).toBe(`${english.failed} the site said no.`)
  })

  it('as a touch that was missed, not as a missing login', () => {
    const missed = new CryptokiError(CKR.FUNCTION_REJECTED, { cause: new TouchMissedError() })
    expect(explain(missed)).toBe(english.errors['card/touch-missed'])
    expect(explain(missed)).toMatch(/not touched in time/)
  })

  it('by a sentence of its own for each return value that a person can do something about', () => {
    for (const rv of [
      CKR.USER_NOT_LOGGED_IN,
      CKR.PIN_INVALID,
      CKR.FUNCTION_NOT_SUPPORTED,
      CKR.KEY_SIZE_RANGE,
    ])
      expect(explain(new CryptokiError(rv))).toBe(sentenceOf(new CryptokiError(rv).code))
  })

  it.each([
    ['length', { minBytes: 6, maxBytes: 8, alphabet: 'digits' }, 'This has to be 6 to 8 digits.'],
    ['length', { minBytes: 4, maxBytes: 4, alphabet: 'digits' }, 'This has to be 4 digits.'],
    ['length', { minBytes: 6, maxBytes: 127, alphabet: 'text' }, 'This has to be 6 to 127 characters.'],
    [
      'alphabet',
      { minBytes: 6, maxBytes: 8, alphabet: 'digits' },
      'This has to be 6 to 8 digits, and nothing but digits.',
    ],
  ] as const)('of a PIN whose %s does not fit, by what this card takes: %j', (why, limits, sentence) => {
    const refused = new CryptokiError(why === 'length' ? CKR.PIN_LEN_RANGE : CKR.PIN_INVALID, {
      cause: new PinFormatError(why, limits),
    })
    expect(explain(refused)).toBe(`${sentence} Nothing has been sent to the card.`)
  })

  it('by what a person did, and not by how the reader told it', () => {
    const told = new ReaderRefusedError('Secure', 0x40, 0xef, 'PIN_CANCELLED')
    const cancelled = new CryptokiError(CKR.FUNCTION_CANCELED, {
      cause: new PinPadCancelledError({ cause: told }),
    })
    expect(explain(cancelled)).toBe(english.errors['card/pin-pad-cancelled'])
    expect(explain(told)).toBe(english.errors['reader/refused'])
  })

  it('in its own words where nobody wrote a sentence for it', () => {
    expect(explain(coded('unheard/of'))).toBe(`${english.failed} for developers`)
  })
})

describe('the sentences', () => {
  it('are there for each code but those that are told in the error’s own words, which the types hold', () => {
    // @ts-expect-error A code without its sentence.
    const incomplete: typeof english.errors = { 'card/gone': '' }
    // @ts-expect-error A sentence for a code that no error has.
    const invented: typeof english.errors = { ...english.errors, 'card/unheard-of': '' }
    expect([incomplete, invented]).toHaveLength(2)
  })
})
