/** Logins of one session that are under way: each asks its PIN source, tells its phases, and ends with the session. */
import { Subject } from 'rxjs'
import { CKR, CKU } from './constants.ts'
import type { OperationEngine } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { thenWorking } from './key-work.ts'
import type { PinSource } from './pin.ts'
import { type OperationEvent, Progress } from './progress.ts'
import { checkOptions } from './session-arguments.ts'
import type { LoginOptions } from './session-options.ts'
import type { TokenContext } from './token-context.ts'
import type { LoginUser } from './token.ts'

/** What logins need of their session. */
export interface LoginParts {
  readonly context: TokenContext
  readonly engine: OperationEngine
  /** Tells the PIN source which reader asks. */
  readonly naming: (pin: PinSource, what: string | undefined) => PinSource
}

/** C_Login of one session. */
export class SessionLogins {
  readonly #parts: LoginParts
  readonly #underWay = new Set<Progress>()
  #hasEnded = false

  constructor(parts: LoginParts) {
    this.#parts = parts
  }

  /** Asks the source once; rejects with a CryptokiError. */
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
    const { context, naming } = this.#parts
    // What the listener throws is reported as rxjs does, and costs no login.
    const events = new Subject<OperationEvent<never>>()
    events.subscribe((event) => options.onEvent?.(event))
    const progress = new Progress((event) => events.next(event))
    const source = thenWorking(naming(pin, options.for), progress)
    const leave = (): void => progress.abort(options.signal?.reason)
    if (options.signal?.aborted) leave()
    else options.signal?.addEventListener('abort', leave, { once: true })
    this.#underWay.add(progress)
    try {
      if (user === CKU.CONTEXT_SPECIFIC) await this.#authorise(source, progress)
      else
        await context.login(user, source, {
          ...progress.transmitOptions,
          onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }),
        })
    } catch (error) {
      if (user === CKU.CONTEXT_SPECIFIC) context.keyFailed(error)
      // The session's own end is a better reason than "aborted".
      throw this.#hasEnded ? progress.signal.reason : context.translate(error)
    } finally {
      options.signal?.removeEventListener('abort', leave)
      this.#underWay.delete(progress)
    }
  }

  async #authorise(pin: PinSource, progress: Progress): Promise<void> {
    const wanting = this.#parts.engine.operations.find((each) => each.wantsAuthorisation)
    if (wanting !== undefined) return wanting.authorise(pin, progress)
    throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED, {
      detail: 'no active operation wants a PIN of its own',
    })
  }

  /** The session has ended: dialogs close, and their logins reject with this error. */
  end(error: CryptokiError): void {
    this.#hasEnded = true
    for (const progress of this.#underWay) progress.abort(error)
  }
}
