/** Checks and copies the arguments of session calls. Throws CKR_ARGUMENTS_BAD if an argument is not valid. */
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { CkObject } from './object.ts'
import type { PinOptions, PinSource } from './pin.ts'
import type { KeyOptions } from './session-options.ts'
import type { FindOptions, TokenContext } from './token-context.ts'
import type { TokenObject } from './token.ts'

/** Returns the PIN options. Accepts null, because invalid options are refused only when the operation starts. */
export function pinOf(options: KeyOptions | null): PinOptions {
  return { pin: options?.pin, for: options?.for }
}

/** Throws CKR_ARGUMENTS_BAD if the options are not an object, such as a PIN source that is passed directly. */
export function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw badOption('options')
}

/** Copies and checks the options of a search. Throws CKR_ARGUMENTS_BAD. */
export function findOptionsAtCall(options: FindOptions): FindOptions {
  checkOptions(options)
  const { max = Number.MAX_SAFE_INTEGER, after, onUnreadable } = options
  if (!Number.isSafeInteger(max) || max < 0) throw badOption('max')
  if (after !== undefined && !(after instanceof CkObject)) throw badOption('after')
  if (onUnreadable !== undefined && typeof onUnreadable !== 'function') throw badOption('onUnreadable')
  return { max, after, onUnreadable }
}

/** Returns CKR_ARGUMENTS_BAD with the argument's name. */
export function badOption(name: string): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${name} has a wrong type or value` })
}

/** Returns the object of a handle. Throws `rv` if the handle belongs to another token or is no longer valid. */
export function checkHandle(
  object: unknown,
  context: TokenContext,
  rv: CKR = CKR.OBJECT_HANDLE_INVALID,
): TokenObject {
  if (!(object instanceof CkObject))
    throw new CryptokiError(rv, { detail: 'no object given; perhaps the search found none' })
  return object.sourceFor(context, rv)
}

/** Generating more would block the page, and the errors of platforms for larger requests differ. */
const MAX_RANDOM_BYTES = 0x100_0000

/** Throws CKR_ARGUMENTS_BAD if C_GenerateRandom cannot return this number of bytes. */
export function checkRandomBytes(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_RANDOM_BYTES)
    throw new CryptokiError(CKR.ARGUMENTS_BAD, {
      detail: `random: the number of bytes must be between 0 and ${MAX_RANDOM_BYTES}`,
    })
}

/** The PIN source of a session without one, if the reader has a PIN pad. */
export const padOnly: PinSource = ({ pinPad }) => {
  if (pinPad) return undefined
  const detail = 'the PIN pad is not usable; give the session or the call a PIN source'
  throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
}
