/** Tests the sentences for people, and which of them `explain` chooses for an error. */
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

const errorWith = (code: string, cause?: unknown): Error =>
  Object.assign(new Error('for developers', { cause }), { code })

describe('setStrings', () => {
  it('replaces the given sentences and keeps all others', () => {
    setStrings({
      noReader: 'Kein Leser ist da.',
      errors: { 'reader/in-use': 'Ein anderes Programm hat den Leser.' },
      phases: { done: 'Fertig' },
    })
    expect(strings().noReader).toBe('Kein Leser ist da.')
    expect(strings().connectReader).toBe(english.connectReader)
    expect(explain(errorWith('reader/in-use'))).toBe('Ein anderes Programm hat den Leser.')
    expect(explain(errorWith('reader/not-granted'))).toBe(english.errors['reader/not-granted'])
    expect(strings().phases).toEqual({ ...english.phases, done: 'Fertig' })
    const login = { title: 'PIN eingeben', field: 'PIN', why: () => 'Zum Anmelden.' }
    setStrings({ pinPurposes: { login } })
    expect(strings().pinPurposes).toEqual({ ...english.pinPurposes, login })
  })

  it('keeps the sentences of earlier calls', () => {
    setStrings({ errors: { 'reader/in-use': 'one' } })
    setStrings({ phases: { started: 'three' } })
    setStrings({ errors: { 'reader/not-granted': 'two' } })
    setStrings({ phases: { done: 'four' } })
    expect(strings().phases).toMatchObject({ started: 'three', done: 'four' })
    expect(explain(errorWith('reader/in-use'))).toBe('one')
    expect(explain(errorWith('reader/not-granted'))).toBe('two')
  })
})

const sentenceOf = (code: string): string | undefined =>
  (english.errors as Readonly<Record<string, string>>)[code]

describe('explain', () => {
  it.each([
    [new CryptokiError(CKR.DEVICE_MEMORY, { cause: new StatusError('PUT DATA', 0x6a84, 'full') })],
    [new CryptokiError(CKR.SESSION_CLOSED, { cause: new CardGoneError('closed') })],
    [new CryptokiError(CKR.FUNCTION_CANCELED, { cause: new AbortedError() })],
  ])('prefers the sentence of the error if the code of its cause is less specific: %s', (error) => {
    expect(explain(error)).toBe(sentenceOf(error.code))
  })

  it('returns the sentence of a refused command that caused no other error', () => {
    expect(explain(new StatusError('PUT DATA', 0x6a84, 'full'))).toBe(english.errors['card/status'])
  })

  it.each(['no-api', 'insecure-context', 'policy'] as const)(
    'says why the page cannot use card readers: %s',
    (why) => {
      const error = new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause: new ReadersUnreachableError(why) })
      expect(explain(error)).toBe(english.errors[`reader/unreachable/${why}`])
    },
  )

  it('has a sentence for a PIN dialog that cannot be shown', () => {
    const error = new PinDialogError('not-connected')
    expect(isWebtokiError(error, 'ui/no-dialog')).toBe(true)
    expect(explain(error)).toBe(english.errors['ui/no-dialog'])
  })

  it('says that a certificate or a key is not meant for the requested use', () => {
    const refused = new CertificateUseError('signing', 'wrong-extended-key-usage', 'it is for clients')
    expect(explain(refused)).toBe(english.errors['certificate/wrong-use'])
    const notPermitted = new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    expect(explain(notPermitted)).toBe(english.errors['cryptoki/key-function-not-permitted'])
  })

  it('returns the sentence of the most specific cause, with the attempts left', () => {
    const wrong = new CryptokiError(CKR.PIN_INCORRECT, { cause: new PinError(1) })
    expect(explain(errorWith('card/failed', wrong))).toBe('That PIN was wrong. 1 attempt left.')
  })

  it('prefers the cause if both have a sentence, and omits the attempts if none is left', () => {
    const locked = Object.assign(new CryptokiError(CKR.PIN_LOCKED), { triesLeft: 0 })
    expect(explain(errorWith('reader/in-use', locked))).toBe(english.errors['cryptoki/pin-locked'])
    expect(explain(errorWith('card/failed', errorWith('card/last-try')))).toBe(
      english.errors['card/last-try'],
    )
    expect(explain(errorWith('reader/in-use', errorWith('card/last-try')))).toBe(
      english.errors['card/last-try'],
    )
  })

  it.each(['page', 'tab'] as const)('says what is using the reader, if that is known: %s', (by) => {
    const error = errorWith('cryptoki', Object.assign(errorWith('reader/in-use'), { by }))
    expect(explain(error)).toBe(english.errors[`reader/in-use/${by}`])
    expect(explain(error)).toMatch(by === 'page' ? /This page/ : /tab/)
    expect(explain(errorWith('cryptoki', Object.assign(errorWith('reader/in-use'), { by: 'unknown' })))).toBe(
      english.errors['reader/in-use'],
    )
  })

  it('returns the general sentence for an error without code and message, and for other values', () => {
    for (const value of [new Error(''), 'a text', undefined]) expect(explain(value)).toBe(english.failed)
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
  it.each(reasons)('has a sentence for the document error %s, which a site can replace', (reason) => {
    expect(explain(new DocumentError(reason))).toBe(english.errors[`documents/${reason}`])
    setStrings({ errors: { [`documents/${reason}`]: 'in other words' } })
    expect(explain(new DocumentError(reason))).toBe('in other words')
  })

  it('never contains the name of a PKCS#11 return value', () => {
    for (const rv of Object.values(CKR)) {
      expect(explain(new CryptokiError(rv))).not.toMatch(/CKR/)
      expect(explain(new CryptokiError(rv, { detail: 'the site said no' }))).not.toMatch(/CKR/)
    }
    expect(explain(new CryptokiError(0x8000_0001 as CKR))).toBe(english.failed)
    const detailed = new CryptokiError(CKR.FUNCTION_FAILED, { detail: 'the site said no' })
    expect(explain(detailed)).toBe(`${english.failed} the site said no.`)
  })

  it('reports a missed touch instead of a missing login', () => {
    const missed = new CryptokiError(CKR.FUNCTION_REJECTED, { cause: new TouchMissedError() })
    expect(explain(missed)).toBe(english.errors['card/touch-missed'])
    expect(explain(missed)).toMatch(/not touched in time/)
  })

  it('has a sentence for each return value that a person can act on', () => {
    for (const rv of [
      CKR.USER_NOT_LOGGED_IN,
      CKR.PIN_INVALID,
      CKR.FUNCTION_NOT_SUPPORTED,
      CKR.KEY_SIZE_RANGE,
    ])
      expect(explain(new CryptokiError(rv))).toBe(sentenceOf(new CryptokiError(rv).code))
  })

  it.each([
    ['length', { minBytes: 6, maxBytes: 8, alphabet: 'digits' }, 'Enter 6 to 8 digits.'],
    ['length', { minBytes: 4, maxBytes: 4, alphabet: 'digits' }, 'Enter 4 digits.'],
    ['length', { minBytes: 6, maxBytes: 127, alphabet: 'text' }, 'Enter 6 to 127 characters.'],
    [
      'alphabet',
      { minBytes: 6, maxBytes: 8, alphabet: 'digits' },
      'Enter 6 to 8 digits and no other characters.',
    ],
  ] as const)(
    'says which PINs the card accepts if the %s of the PIN is wrong: %j',
    (why, limits, sentence) => {
      const refused = new CryptokiError(why === 'length' ? CKR.PIN_LEN_RANGE : CKR.PIN_INVALID, {
        cause: new PinFormatError(why, limits),
      })
      expect(explain(refused)).toBe(`${sentence} Nothing was sent to the card.`)
    },
  )

  it('reports that the person cancelled on the PIN pad instead of how the reader reported it', () => {
    const refusal = new ReaderRefusedError('Secure', 0x40, 0xef, 'PIN_CANCELLED')
    const cancelled = new CryptokiError(CKR.FUNCTION_CANCELED, {
      cause: new PinPadCancelledError({ cause: refusal }),
    })
    expect(explain(cancelled)).toBe(english.errors['card/pin-pad-cancelled'])
    expect(explain(refusal)).toBe(english.errors['reader/refused'])
  })

  it('appends the message of an error whose code has no sentence', () => {
    expect(explain(errorWith('unheard/of'))).toBe(`${english.failed} for developers`)
  })
})

describe('the type of the sentences', () => {
  it('requires a sentence for each explained code and permits no other', () => {
    // @ts-expect-error A code lacks its sentence.
    const incomplete: typeof english.errors = { 'card/gone': '' }
    // @ts-expect-error No error has this code.
    const excessive: typeof english.errors = { ...english.errors, 'card/unheard-of': '' }
    expect([incomplete, excessive]).toHaveLength(2)
  })
})
