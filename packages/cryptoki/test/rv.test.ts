/** The return value for each error of cards and readers, in a session function and in a slot function. */
import {
  AbortedError,
  CardGoneError,
  CardAbsentError,
  CardSilentError,
  LastTryError,
  PinBlockedError,
  PinError,
  PinPadCancelledError,
  PinPadTimeoutError,
  ReaderInUseError,
  WebtokiError,
  StatusError,
  TouchMissedError,
} from '@webtoki/apdu'
import { CKR } from '@webtoki/cryptoki'
import { describe, expect, it, vi } from 'vitest'
import { toCryptokiError } from '../src/rv.ts'

class PinFormat extends WebtokiError {
  readonly code = 'card/pin-format'
  override get name(): string {
    return 'PinFormat'
  }
}

describe('in a session function', () => {
  it.each([
    ['a pulled card', new CardGoneError('removed'), CKR.DEVICE_REMOVED],
    ['an unplugged reader', new CardGoneError('reader-gone'), CKR.DEVICE_REMOVED],
    ['a card that was reset', new CardGoneError('reset'), CKR.DEVICE_ERROR],
    ['a card that was released', new CardGoneError('closed'), CKR.SESSION_CLOSED],
    // CKR_TOKEN_NOT_PRESENT is for slot functions only (PKCS#11 v2.40, 5.1.2 and 5.1.3).
    ['a mute card', new CardSilentError(), CKR.DEVICE_ERROR],
    ['a reader without a card', new CardAbsentError(), CKR.DEVICE_ERROR],
    ['a reader in use by another tab', new ReaderInUseError({ by: 'tab' }), CKR.DEVICE_ERROR],
    ['a wrong PIN', new PinError(2), CKR.PIN_INCORRECT],
    ['a wrong PIN without a count', new StatusError('VERIFY', 0x6300, ''), CKR.PIN_INCORRECT],
    ['a PIN that cannot be verified now', new StatusError('VERIFY', 0x6982, ''), CKR.DEVICE_ERROR],
    ['characters that a PIN cannot have', new StatusError('VERIFY', 0x6a80, ''), CKR.PIN_INVALID],
    ['a new PIN that is refused', new StatusError('CHANGE REFERENCE DATA', 0x6a80, ''), CKR.PIN_INVALID],
    ['a wrong PUK', new StatusError('RESET RETRY COUNTER', 0x6300, ''), CKR.PIN_INCORRECT],
    ['a blocked PIN', new PinBlockedError(), CKR.PIN_LOCKED],
    ['a blocked PIN, as a status word', new StatusError('VERIFY', 0x6983, ''), CKR.PIN_LOCKED],
    ['a last attempt without consent', new LastTryError(), CKR.FUNCTION_FAILED],
    ['an entry cancelled on the PIN pad', new PinPadCancelledError(), CKR.FUNCTION_CANCELED],
    ['a PIN pad time-out', new PinPadTimeoutError(), CKR.FUNCTION_CANCELED],
    ['a key without login', new StatusError('SIGN', 0x6982, ''), CKR.USER_NOT_LOGGED_IN],
    ['a warning after another command', new StatusError('GET DATA', 0x6300, ''), CKR.DEVICE_ERROR],
    ['wrong data of another command', new StatusError('SIGN', 0x6a80, ''), CKR.DEVICE_ERROR],
    ['a missed touch', new TouchMissedError(), CKR.FUNCTION_REJECTED],
    ['a PIN with characters that the card does not allow', new PinFormat('no'), CKR.PIN_INVALID],
    ['a full card', new StatusError('PUT DATA', 0x6a84, ''), CKR.DEVICE_MEMORY],
    ['any other status', new StatusError('SIGN', 0x6f00, ''), CKR.DEVICE_ERROR],
    ['an abort by the caller', new AbortedError(), CKR.FUNCTION_CANCELED],
    ['an error thrown by the caller’s code', new TypeError('no'), CKR.FUNCTION_FAILED],
  ])('%s', (_, error, code) => {
    const translated = toCryptokiError(error)
    expect(translated.rv).toBe(code)
    expect(translated.cause).toBe(error)
  })
})

describe('in a slot function', () => {
  it.each([
    ['a pulled card', new CardGoneError('removed')],
    ['a card that was released', new CardGoneError('closed')],
    ['a mute card', new CardSilentError()],
    ['a reader without a card', new CardAbsentError()],
    ['a reader in use by another tab', new ReaderInUseError({ by: 'tab' })],
  ])('%s returns CKR_TOKEN_NOT_PRESENT', (_, error) => {
    expect(toCryptokiError(error, 'slot').rv).toBe(CKR.TOKEN_NOT_PRESENT)
  })
})

describe('with a second copy of the packages, whose classes differ,', () => {
  it('a pulled card, a status word, an abort and a return value are recognized', async () => {
    vi.resetModules()
    const other = await import('@webtoki/apdu')
    const { CryptokiError } = await import('@webtoki/cryptoki')
    const removed = new other.CardGoneError('removed')
    expect(removed).not.toBeInstanceOf(CardGoneError)
    expect(toCryptokiError(removed).rv).toBe(CKR.DEVICE_REMOVED)
    expect(toCryptokiError(removed, 'slot').rv).toBe(CKR.TOKEN_NOT_PRESENT)
    expect(toCryptokiError(new other.StatusError('SIGN', 0x6982, '')).rv).toBe(CKR.USER_NOT_LOGGED_IN)
    expect(toCryptokiError(new other.PinError(2)).rv).toBe(CKR.PIN_INCORRECT)
    expect(toCryptokiError(new other.AbortedError()).rv).toBe(CKR.FUNCTION_CANCELED)
    const translated = new CryptokiError(CKR.KEY_HANDLE_INVALID)
    expect(toCryptokiError(translated)).toBe(translated)
  })

  it('a foreign error with the same code is not taken for an error of these packages', () => {
    const foreign = Object.assign(new Error('no'), { code: 'card/gone', why: 'removed' })
    expect(toCryptokiError(foreign).rv).toBe(CKR.FUNCTION_FAILED)
  })
})
