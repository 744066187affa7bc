/** Arguments of a session's calls: what they are as they are now, or CKR_ARGUMENTS_BAD. */
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { CkObject } from './object.ts'
import type { PinOptions } from './pin.ts'
import type { KeyOptions } from './session-options.ts'
import type { FindOptions, TokenContext } from './token-context.ts'
import type { TokenObject } from './token.ts'

/** Options that are none are refused later, when the operation begins. */
export function pinOf(options: KeyOptions | null): PinOptions {
  return { pin: options?.pin, for: options?.for }
}

/** Options may be left out; anything but an object is a mistake, such as a PIN source that is not within one. */
export function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw badOption('options')
}

/** The options as they are now. Throws CKR_ARGUMENTS_BAD. */
export function findOptionsAtCall(options: FindOptions): FindOptions {
  checkOptions(options)
  const { max = Number.MAX_SAFE_INTEGER, after, onUnreadable } = options
  if (!Number.isSafeInteger(max) || max < 0) throw badOption('max')
  if (after !== undefined && !(after instanceof CkObject)) throw badOption('after')
  if (onUnreadable !== undefined && typeof onUnreadable !== 'function') throw badOption('onUnreadable')
  return { max, after, onUnreadable }
}

/** CKR_ARGUMENTS_BAD, with the argument's name. */
export function badOption(name: string): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${name} is not what the call takes` })
}

/** The object behind a handle. Throws `rv` if it is not one of this token, or has been destroyed. */
export function checkHandle(
  object: unknown,
  context: TokenContext,
  rv: CKR = CKR.OBJECT_HANDLE_INVALID,
): TokenObject {
  if (!(object instanceof CkObject))
    throw new CryptokiError(rv, { detail: 'no object was given; the search found none' })
  return object.sourceFor(context, rv)
}
