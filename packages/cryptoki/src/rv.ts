/** The border above: every error of cards and readers becomes a return value of PKCS#11, with the error as its cause. */
import { type ApduErrorCode, isNotExecuted, isWebtokiError, SW } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError, isCryptokiError } from './errors.ts'

/** By the literal code of each error; `card/gone`, `card/pin-format` and `card/status` are looked at more closely. */
const returnValues: Readonly<Record<ApduErrorCode, CKR>> = {
  'card/gone': CKR.DEVICE_REMOVED,
  'card/absent': CKR.TOKEN_NOT_PRESENT,
  'card/mute': CKR.TOKEN_NOT_PRESENT,
  'card/garbled': CKR.DEVICE_ERROR,
  'card/too-slow': CKR.DEVICE_ERROR,
  'wire/malformed': CKR.DEVICE_ERROR,
  'card/status': CKR.DEVICE_ERROR,
  'card/touch-missed': CKR.FUNCTION_REJECTED,
  'card/pin-format': CKR.PIN_INVALID,
  'card/pin-wrong': CKR.PIN_INCORRECT,
  'card/pin-blocked': CKR.PIN_LOCKED,
  // Nothing was sent, and no code of the standard says so.
  'card/last-try': CKR.FUNCTION_FAILED,
  'card/pin-pad-cancelled': CKR.FUNCTION_CANCELED,
  'card/pin-pad-timeout': CKR.FUNCTION_CANCELED,
  'card/pin-pad-refused': CKR.DEVICE_ERROR,
  'card/not-supported': CKR.FUNCTION_NOT_SUPPORTED,
  'card/transaction': CKR.FUNCTION_FAILED,
  'work/aborted': CKR.FUNCTION_CANCELED,
  'reader/protected-class': CKR.TOKEN_NOT_PRESENT,
  'reader/in-use': CKR.TOKEN_NOT_PRESENT,
  'reader/not-granted': CKR.TOKEN_NOT_PRESENT,
  'reader/unreachable': CKR.TOKEN_NOT_PRESENT,
  'reader/none': CKR.TOKEN_NOT_PRESENT,
  'reader/closed': CKR.TOKEN_NOT_PRESENT,
  'reader/gone': CKR.DEVICE_REMOVED,
  'reader/refused': CKR.DEVICE_ERROR,
  'reader/timeout': CKR.DEVICE_ERROR,
  'reader/transfer': CKR.DEVICE_ERROR,
  'reader/not-supported': CKR.TOKEN_NOT_RECOGNIZED,
  'reader/firmware': CKR.DEVICE_ERROR,
}

/**
 * Session functions never answer CKR_TOKEN_NOT_PRESENT, slot functions never CKR_DEVICE_REMOVED for a card that is not
 * there (PKCS#11 v2.40, 5.1.2 and 5.1.3).
 */
export function toCryptokiError(error: unknown, asked: 'slot' | 'session' = 'session'): CryptokiError {
  if (isCryptokiError(error)) return error
  if (isWebtokiError(error, 'card/gone')) {
    if (asked === 'slot') {
      const detail = error.why === 'closed' ? 'the card was given back meanwhile; try again' : undefined
      return new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause: error, detail })
    }
    if (error.why === 'closed') return new CryptokiError(CKR.SESSION_CLOSED, { cause: error })
    // A card that was reset is there, and has forgotten everything.
    return new CryptokiError(error.why === 'reset' ? CKR.DEVICE_ERROR : CKR.DEVICE_REMOVED, { cause: error })
  }
  if (isWebtokiError(error, 'card/status')) {
    // A CanoKey whose other interface is in use answers so.
    const isBusy = error.command.startsWith('SELECT') && isNotExecuted(error.sw)
    const detail = isBusy ? 'the card is busy with something else; finish that and try again' : undefined
    return new CryptokiError(fromStatus(error.command, error.sw), { cause: error, ...(detail && { detail }) })
  }
  // What a caller's own stream or PIN source throws is no PKCS#11 matter; it stands in the cause.
  if (!isWebtokiError(error))
    return new CryptokiError(CKR.FUNCTION_FAILED, { cause: error, detail: wordsOf(error) })
  // Only PinFormatError has a length as its reason.
  const isLength = (error as { readonly why?: unknown }).why === 'length'
  const known = (returnValues as Readonly<Record<string, CKR>>)[error.code] ?? CKR.GENERAL_ERROR
  const rv = isLength ? CKR.PIN_LEN_RANGE : known
  const fitting = asked === 'session' && rv === CKR.TOKEN_NOT_PRESENT ? CKR.DEVICE_ERROR : rv
  // An abort tells the caller's own reason, which no sentence of ours could.
  if (error.code === 'work/aborted') return new CryptokiError(fitting, { cause: error })
  return new CryptokiError(fitting, { cause: error, detail: withoutStop(error.message) })
}

/** Commands that compare a PIN or PUK: their status words are about that, and not about an earlier login. */
const comparesPin = /^(VERIFY|CHANGE|RESET RETRY)/

/**
 * By status word; of two return values the first is for commands that compare a PIN, the second for all others. What is
 * not listed is CKR_DEVICE_ERROR.
 */
const statusValues: ReadonlyMap<number, readonly [CKR, CKR]> = /* @__PURE__ */ new Map([
  // After VERIFY: the card compares no PIN over this interface (SP 800-73-4 part 2, 3.2.1). A login cannot want a login.
  [SW.SECURITY_STATUS_NOT_SATISFIED, [CKR.DEVICE_ERROR, CKR.USER_NOT_LOGGED_IN]],
  // After VERIFY: wrong, and the card does not tell how many attempts are left. After others it is any warning.
  [SW.WARNING, [CKR.PIN_INCORRECT, CKR.DEVICE_ERROR]],
  // A key whose PIN is blocked is refused like the PIN itself.
  [SW.AUTHENTICATION_BLOCKED, [CKR.PIN_LOCKED, CKR.PIN_LOCKED]],
  // Characters or a length that no PIN of this card has: nothing was compared.
  [SW.WRONG_DATA, [CKR.PIN_INVALID, CKR.DEVICE_ERROR]],
  [SW.NOT_ENOUGH_MEMORY, [CKR.DEVICE_MEMORY, CKR.DEVICE_MEMORY]],
])

function fromStatus(command: string, sw: number): CKR {
  const [ofPin, ofOthers] = statusValues.get(sw) ?? [CKR.DEVICE_ERROR, CKR.DEVICE_ERROR]
  return comparesPin.test(command) ? ofPin : ofOthers
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? withoutStop(error.message) || error.name : 'the caller’s own code failed'
}

function withoutStop(message: string): string {
  return message.replace(/\.$/, '')
}
