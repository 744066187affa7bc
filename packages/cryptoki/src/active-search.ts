/** A search driven in single calls: C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal (PKCS#11 v2.40, 5.7). */
import { CKR } from './constants.ts'
import type { ActiveOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import type { CkObject } from './object.ts'
import { Progress } from './progress.ts'

/** An active search, created by `Session.beginSearch`. It stays active until `final`, even after it has returned every object. */
export class ActiveSearch {
  readonly #operation: ActiveOperation
  readonly #objects: AsyncGenerator<CkObject, void, undefined>
  readonly #progress = new Progress(() => {})
  readonly #translate: (error: unknown) => unknown
  #isBusy = false
  #endReason: unknown = new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)

  /** `find` does not access the card before the first `next`. */
  constructor(
    operation: ActiveOperation,
    find: (progress: Progress) => AsyncGenerator<CkObject, void, undefined>,
    translate: (error: unknown) => unknown,
  ) {
    this.#operation = operation
    this.#objects = find(this.#progress)
    this.#translate = translate
    operation.onCancel = (error) => {
      this.#endReason = error
      this.#progress.abort(error)
    }
  }

  get active(): boolean {
    return this.#operation.active
  }

  /**
   * C_FindObjects: resolves to the next objects, at most `max`, or to none if there are no more. Rejects with
   * CKR_OPERATION_NOT_INITIALIZED if the search has ended, and with the reason if it ends during the call. If another call is
   * running, rejects with CKR_OPERATION_ACTIVE, and the other call continues. Any other error ends the search.
   */
  async next(max: number): Promise<readonly CkObject[]> {
    if (!this.active) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    if (!Number.isSafeInteger(max) || max < 0)
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'max must be a whole number, 0 or more' })
    if (this.#isBusy) throw new CryptokiError(CKR.OPERATION_ACTIVE, { active: ['search'] })
    this.#isBusy = true
    const found: CkObject[] = []
    try {
      while (found.length < max) {
        const step = await this.#objects.next()
        if (!this.active) throw this.#endReason
        if (step.done) break
        found.push(step.value)
      }
      return found
    } catch (error) {
      throw this.#operation.release() ? this.#translate(error) : this.#endReason
    } finally {
      this.#isBusy = false
    }
  }

  /** C_FindObjectsFinal: ends the search. Throws CKR_OPERATION_NOT_INITIALIZED if it has ended. */
  final(): void {
    if (!this.#operation.release()) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    this.#progress.abort(this.#endReason)
  }
}
