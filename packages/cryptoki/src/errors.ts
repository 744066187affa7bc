/** `CryptokiError`, the only error class of this package: a PKCS#11 return value with its cause (PKCS#11 v2.40, 5.1). */
import { isWebtokiError, WebtokiError } from '@webtoki/apdu'
import type { OperationType } from './operation-rules.ts'
import { CKR, ckrName } from './constants.ts'

type Kebab<Name extends string> = Name extends `${infer Head}_${infer Rest}`
  ? `${Lowercase<Head>}-${Kebab<Rest>}`
  : Lowercase<Name>

/** The codes of `CryptokiError`, such as 'cryptoki/pin-incorrect' for CKR_PIN_INCORRECT. */
export type CryptokiErrorCode = `cryptoki/${Kebab<keyof typeof CKR>}`

/** The default message of a return value: what it means and what to do. Return values without one have only their name. */
const sentences: ReadonlyMap<number, string> = /* @__PURE__ */ new Map([
  [
    CKR.OPERATION_ACTIVE,
    'another operation is active in this session; wait for it, cancel it or use another session',
  ],
  [CKR.OPERATION_NOT_INITIALIZED, 'the operation is no longer active'],
  [CKR.DEVICE_REMOVED, 'the card or its reader was removed; insert it and start again'],
  [CKR.DEVICE_ERROR, 'the card or its reader failed; remove the card, insert it and try again'],
  [CKR.TOKEN_NOT_PRESENT, 'the reader has no card, or the card does not respond'],
  [CKR.TOKEN_NOT_RECOGNIZED, 'the card has no supported application'],
  [CKR.SESSION_HANDLE_INVALID, 'the session has ended; open a new one'],
  [CKR.SESSION_CLOSED, 'the session was closed'],
  [CKR.PIN_INCORRECT, 'the PIN was wrong'],
  [CKR.PIN_LOCKED, 'the PIN is blocked; unblock it first'],
  [CKR.PIN_LEN_RANGE, 'the PIN is too short or too long; it was not sent'],
  [CKR.PIN_INVALID, 'the PIN has characters or a length that the card does not allow'],
  [CKR.FUNCTION_REJECTED, 'the user did not confirm on the device'],
  [CKR.USER_NOT_LOGGED_IN, 'log in first'],
  [CKR.USER_ALREADY_LOGGED_IN, 'the user is already logged in'],
  [CKR.FUNCTION_CANCELED, 'the operation was cancelled'],
  [CKR.FUNCTION_NOT_SUPPORTED, 'the token does not support this'],
  [CKR.MECHANISM_INVALID, 'the token does not support this mechanism'],
  [CKR.MECHANISM_PARAM_INVALID, 'the parameters do not fit the mechanism'],
  [CKR.KEY_HANDLE_INVALID, 'the key is no longer valid; search for it again'],
  [CKR.OBJECT_HANDLE_INVALID, 'the object is no longer valid; search for it again'],
  [CKR.KEY_TYPE_INCONSISTENT, 'the key type does not fit the mechanism'],
  [CKR.KEY_FUNCTION_NOT_PERMITTED, 'the key does not permit this use'],
  [CKR.KEY_SIZE_RANGE, 'the token does not support the size or curve of the key'],
  [CKR.DATA_LEN_RANGE, 'the data is too long for the mechanism and key'],
  [CKR.SIGNATURE_INVALID, 'the signature does not match the data and key'],
  [CKR.SIGNATURE_LEN_RANGE, 'the signature has the wrong length'],
])

/** Options of `CryptokiError`. */
export interface CryptokiErrorOptions extends ErrorOptions {
  /** A more specific message, which replaces the default message of the return value. */
  readonly detail?: string | undefined
  /** With CKR_OPERATION_ACTIVE: the active operations. */
  readonly active?: readonly OperationType[] | undefined
}

/** A PKCS#11 return value (`rv`) with its name (`rvName`). `cause` is the error of the card, the reader or the caller. */
export class CryptokiError extends WebtokiError {
  readonly code: CryptokiErrorCode
  readonly rv: CKR
  readonly rvName: string
  /** With CKR_OPERATION_ACTIVE: the operations that are active. */
  readonly active?: readonly OperationType[]
  constructor(rv: CKR, options: CryptokiErrorOptions = {}) {
    const { detail, active, ...rest } = options
    const sentence = detail ?? sentences.get(rv)
    super(sentence === undefined ? `${ckrName(rv)}.` : `${ckrName(rv)}: ${sentence}.`, rest)
    this.rv = rv
    this.rvName = ckrName(rv)
    this.code = codeOf(this.rvName)
    if (active !== undefined) this.active = Object.freeze([...active])
  }
  override get name(): 'CryptokiError' {
    return 'CryptokiError'
  }
}

function codeOf(rvName: string): CryptokiErrorCode {
  return `cryptoki/${rvName.slice('CKR_'.length).toLowerCase().replaceAll('_', '-')}` as CryptokiErrorCode
}

/** Returns true for a CryptokiError of any copy of this package and, if `rv` is given, with that return value. */
export function isCryptokiError(error: unknown, rv?: CKR): error is CryptokiError {
  if (!isWebtokiError(error) || !error.code.startsWith('cryptoki/')) return false
  return rv === undefined || (error as CryptokiError).rv === rv
}
