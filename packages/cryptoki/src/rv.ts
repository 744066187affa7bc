/** Maps the errors of cards and readers to PKCS#11 return values (PKCS#11 v2.40, 5.1). The error becomes the `cause`. */
import { type ApduErrorCode, isNotExecuted, isWebtokiError, SW } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError, isCryptokiError } from './errors.ts'

/** The return value for each error code. `card/gone`, `card/pin-format` and `card/status` also depend on other properties. */
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
  // Nothing was sent. The standard has no code for this.
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
 * Converts any error to a CryptokiError. `caller` is the kind of function: session functions never return
 * CKR_TOKEN_NOT_PRESENT, and slot functions never return CKR_DEVICE_REMOVED for an absent card (PKCS#11 v2.40, 5.1.2 and
 * 5.1.3).
 */
export function toCryptokiError(error: unknown, caller: 'slot' | 'session' = 'session'): CryptokiError {
  if (isCryptokiError(error)) return error
  if (isWebtokiError(error, 'card/gone')) {
    if (caller === 'slot') {
      const detail = error.why === 'closed' ? 'the card was closed meanwhile; try again' : undefined
      return new CryptokiError(CKR.TOKEN_NOT_PRESENT, { cause: error, detail })
    }
    if (error.why === 'closed') return new CryptokiError(CKR.SESSION_CLOSED, { cause: error })
    // A card that was reset is still present, but has lost its state.
    return new CryptokiError(error.why === 'reset' ? CKR.DEVICE_ERROR : CKR.DEVICE_REMOVED, { cause: error })
  }
  if (isWebtokiError(error, 'card/status')) {
    // A CanoKey returns this status while its other interface is in use.
    const isBusy = error.command.startsWith('SELECT') && isNotExecuted(error.sw)
    const detail = isBusy ? 'the card is busy elsewhere; finish that and try again' : undefined
    return new CryptokiError(fromStatus(error.command, error.sw), { cause: error, ...(detail && { detail }) })
  }
  // Errors of the caller's own code, such as a stream or PIN source, have no return value. The cause preserves them.
  if (!isWebtokiError(error))
    return new CryptokiError(CKR.FUNCTION_FAILED, { cause: error, detail: detailOf(error) })
  // Only PinFormatError has 'length' as its `why`.
  const isLength = (error as { readonly why?: unknown }).why === 'length'
  const known = (returnValues as Readonly<Record<string, CKR>>)[error.code] ?? CKR.GENERAL_ERROR
  const rv = isLength ? CKR.PIN_LEN_RANGE : known
  const returned = caller === 'session' && rv === CKR.TOKEN_NOT_PRESENT ? CKR.DEVICE_ERROR : rv
  // The cause of an abort is the caller's own reason, so its message is not repeated here.
  if (error.code === 'work/aborted') return new CryptokiError(returned, { cause: error })
  return new CryptokiError(returned, { cause: error, detail: withoutFullStop(error.message) })
}

/** Commands that compare a PIN or PUK. Their status words concern that comparison, not an earlier login. */
const comparesPin = /^(VERIFY|CHANGE|RESET RETRY)/

/**
 * The return values for each status word: the first for commands that compare a PIN, the second for all others. The default is
 * CKR_DEVICE_ERROR.
 */
const statusValues: ReadonlyMap<number, readonly [CKR, CKR]> = /* @__PURE__ */ new Map([
  // For VERIFY, the card does not compare PINs over this interface (SP 800-73-4 part 2, 3.2.1), so logging in would not help.
  [SW.SECURITY_STATUS_NOT_SATISFIED, [CKR.DEVICE_ERROR, CKR.USER_NOT_LOGGED_IN]],
  // For VERIFY, the PIN is wrong and the card does not report the attempts left. For other commands it is any warning.
  [SW.WARNING, [CKR.PIN_INCORRECT, CKR.DEVICE_ERROR]],
  // Using a key whose PIN is blocked returns the same status word as verifying that PIN.
  [SW.AUTHENTICATION_BLOCKED, [CKR.PIN_LOCKED, CKR.PIN_LOCKED]],
  // For VERIFY, the PIN has characters or a length that the card does not allow, and was not compared.
  [SW.WRONG_DATA, [CKR.PIN_INVALID, CKR.DEVICE_ERROR]],
  [SW.NOT_ENOUGH_MEMORY, [CKR.DEVICE_MEMORY, CKR.DEVICE_MEMORY]],
])

function fromStatus(command: string, sw: number): CKR {
  const [ofPin, ofOthers] = statusValues.get(sw) ?? [CKR.DEVICE_ERROR, CKR.DEVICE_ERROR]
  return comparesPin.test(command) ? ofPin : ofOthers
}

function detailOf(error: unknown): string {
  return error instanceof Error ? withoutFullStop(error.message) || error.name : 'the caller’s code failed'
}

function withoutFullStop(message: string): string {
  return message.replace(/\.$/, '')
}
