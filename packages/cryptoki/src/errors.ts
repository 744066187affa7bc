/** The one error that leaves this room: a return value of PKCS#11, with what caused it. */
import { isWebtokiError, WebtokiError } from '@webtoki/apdu'
import type { OperationType } from './operation-rules.ts'
import { CKR, ckrName } from './constants.ts'

type Kebab<Name extends string> = Name extends `${infer Head}_${infer Rest}`
  ? `${Lowercase<Head>}-${Kebab<Rest>}`
  : Lowercase<Name>

/** `CryptokiError`'s codes: 'cryptoki/pin-incorrect' for CKR_PIN_INCORRECT. */
export type CryptokiErrorCode = `cryptoki/${Kebab<keyof typeof CKR>}`

/** What a person can do about it, or what it means. Not every code has a sentence of its own. */
const sentences: ReadonlyMap<number, string> = /* @__PURE__ */ new Map([
  [
    CKR.OPERATION_ACTIVE,
    'another operation is active in this session; let it end, cancel it, or use another session',
  ],
  [CKR.OPERATION_NOT_INITIALIZED, 'the operation is not active any more'],
  [CKR.DEVICE_REMOVED, 'the card or its reader was removed; put it back and start again'],
  [CKR.DEVICE_ERROR, 'the card or its reader failed; take the card out, put it back and try again'],
  [CKR.TOKEN_NOT_PRESENT, 'there is no card in the reader, or it does not answer'],
  [CKR.TOKEN_NOT_RECOGNIZED, 'the card has no application that can be used here'],
  [CKR.SESSION_HANDLE_INVALID, 'the session has ended; open a new one'],
  [CKR.SESSION_CLOSED, 'the session was closed'],
  [CKR.PIN_INCORRECT, 'the PIN was wrong'],
  [CKR.PIN_LOCKED, 'the PIN is blocked; it must be unblocked first'],
  [CKR.PIN_LEN_RANGE, 'a PIN of that length cannot be right; it was not sent'],
  [CKR.PIN_INVALID, 'the PIN has characters or a length that the card does not take'],
  [CKR.FUNCTION_REJECTED, 'the person did not agree on the device'],
  [CKR.USER_NOT_LOGGED_IN, 'a login is needed first'],
  [CKR.USER_ALREADY_LOGGED_IN, 'the user is logged in already'],
  [CKR.FUNCTION_CANCELED, 'it was cancelled'],
  [CKR.FUNCTION_NOT_SUPPORTED, 'the token cannot do that'],
  [CKR.MECHANISM_INVALID, 'the token does not know this mechanism'],
  [CKR.MECHANISM_PARAM_INVALID, 'the parameters do not fit the mechanism'],
  [CKR.KEY_HANDLE_INVALID, 'the key is no longer valid; search for it again'],
  [CKR.OBJECT_HANDLE_INVALID, 'the object is no longer valid; search for it again'],
  [CKR.KEY_TYPE_INCONSISTENT, 'the key does not fit the mechanism'],
  [CKR.KEY_FUNCTION_NOT_PERMITTED, 'the key is not meant for that'],
  [CKR.KEY_SIZE_RANGE, 'the key is of a size or on a curve that the token does not use'],
  [CKR.DATA_LEN_RANGE, 'the data is too long for the mechanism and key'],
  [CKR.SIGNATURE_INVALID, 'the signature does not fit the data and key'],
  [CKR.SIGNATURE_LEN_RANGE, 'the signature cannot be of that length'],
])

/** Options of `CryptokiError`. */
export interface CryptokiErrorOptions extends ErrorOptions {
  /** More than the code tells, in place of its usual sentence. */
  readonly detail?: string | undefined
  /** CKR_OPERATION_ACTIVE: the operations that stand in the way. */
  readonly active?: readonly OperationType[] | undefined
}

/** `rv` is the return value, `rvName` its name; `cause` says what the card, the reader or the caller did. */
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

/** Whether it is one of ours, of whichever copy of this package; with a return value: whether it is that one. */
export function isCryptokiError(error: unknown, rv?: CKR): error is CryptokiError {
  if (!isWebtokiError(error) || !error.code.startsWith('cryptoki/')) return false
  return rv === undefined || (error as CryptokiError).rv === rv
}
