/** The logins of one session (PKCS#11 v2.40, 5.6 "C_Login"). They emit events, and are cancelled when the session ends. */
import { Subject } from 'rxjs'
import { CKR, CKS, CKU } from './constants.ts'
import type { OperationEngine } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { withWorkingEvent } from './key-work.ts'
import type { PinSource } from './pin.ts'
import { type OperationEvent, Progress } from './progress.ts'
import { checkOptions } from './session-arguments.ts'
import type { LoginOptions } from './session-options.ts'
import type { TokenContext } from './token-context.ts'
import type { LoginUser } from './token.ts'

/** The constructor arguments of `SessionLogins`. */
export interface LoginParts {
  readonly context: TokenContext
  readonly engine: OperationEngine
  /** Adds the reader's name and the subject to the requests of a PIN source. */
  readonly withReader: (pin: PinSource, subject: string | undefined) => PinSource
}

/** Runs the logins of one session, and cancels those in progress when the session ends. */
export class SessionLogins {
  readonly #parts: LoginParts
  readonly #running = new Set<Progress>()
  #hasEnded = false

  constructor(parts: LoginParts) {
    this.#parts = parts
  }

  /** C_Login. Calls the PIN source once. Rejects with a CryptokiError. */
  async login(
    user: LoginUser | typeof CKU.CONTEXT_SPECIFIC,
    pin: PinSource | undefined,
    options: LoginOptions,
  ): Promise<void> {
    if (pin === undefined)
      throw new CryptokiError(CKR.ARGUMENTS_BAD, {
        detail: 'login: neither the call nor the session has a PIN source',
      })
    if (typeof pin !== 'function')
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'login: the PIN source is not a function' })
    checkOptions(options)
    const { context, withReader } = this.#parts
    // A Subject reports errors of the listener as unhandled and does not let them fail the login.
    const events = new Subject<OperationEvent<never>>()
    events.subscribe((event) => options.onEvent?.(event))
    const progress = new Progress((event) => events.next(event))
    const source = withWorkingEvent(withReader(pin, options.for), progress)
    const abort = (): void => progress.abort(options.signal?.reason)
    if (options.signal?.aborted) abort()
    else options.signal?.addEventListener('abort', abort, { once: true })
    this.#running.add(progress)
    try {
      if (user === CKU.CONTEXT_SPECIFIC) await this.#authorise(source, progress)
      else
        await context.login(user, source, {
          ...progress.transmitOptions,
          onAwaitPin: () => progress.report({ phase: 'awaiting-pin' }),
        })
    } catch (error) {
      if (user === CKU.CONTEXT_SPECIFIC) context.onKeyError(error)
      // The reason why the session ended is more useful than "aborted".
      throw this.#hasEnded ? progress.signal.reason : context.translate(error)
    } finally {
      options.signal?.removeEventListener('abort', abort)
      this.#running.delete(progress)
    }
  }

  async #authorise(pin: PinSource, progress: Progress): Promise<void> {
    const operation = this.#parts.engine.operations.find((each) => each.needsAuthorisation)
    if (operation !== undefined) return operation.authorise(pin, progress)
    throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED, {
      detail: 'no active operation requires a PIN',
    })
  }

  /** Cancels all logins because the session has ended: their dialogs close, and they reject with this error. */
  end(error: CryptokiError): void {
    this.#hasEnded = true
    for (const progress of this.#running) progress.abort(error)
  }
}

/** Returns CKS_* of a session (PKCS#11 v2.40, 5.6). */
export function stateOf(user: LoginUser | undefined, readWrite: boolean): CKS {
  if (user === CKU.SO) return CKS.RW_SO_FUNCTIONS
  if (user === CKU.USER) return readWrite ? CKS.RW_USER_FUNCTIONS : CKS.RO_USER_FUNCTIONS
  return readWrite ? CKS.RW_PUBLIC_SESSION : CKS.RO_PUBLIC_SESSION
}
