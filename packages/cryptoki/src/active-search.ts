/** A search that its caller drives call by call: C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal (PKCS#11 v2.40, 5.7). */
import { CKR } from './constants.ts'
import type { ActiveOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import type { CkObject } from './object.ts'
import { Progress } from './progress.ts'

/** Made by `Session.beginSearch`. It is active until `final`, also after it has told every object. */
export class ActiveSearch {
  readonly #operation: ActiveOperation
  readonly #objects: AsyncGenerator<CkObject, void, undefined>
  readonly #progress = new Progress(() => {})
  readonly #explain: (error: unknown) => unknown
  #isBusy = false
  #endReason: unknown = new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)

  /** `find` begins to read with the first `next`. */
  constructor(
    operation: ActiveOperation,
    find: (progress: Progress) => AsyncGenerator<CkObject, void, undefined>,
    explain: (error: unknown) => unknown,
  ) {
    this.#operation = operation
    this.#objects = find(this.#progress)
    this.#explain = explain
    operation.onCancel = (error) => {
      this.#endReason = error
      this.#progress.abort(error)
    }
  }

  get active(): boolean {
    return this.#operation.active
  }

  /**
   * The next objects, `max` at most; none when there are no more. Rejects with CKR_OPERATION_NOT_INITIALIZED if the search
   * has ended, with the reason if it ends during the call, with CKR_OPERATION_ACTIVE while another call of it runs, which goes on. Any other error ends the search.
   */
  async next(max: number): Promise<readonly CkObject[]> {
    if (!this.active) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    if (!Number.isSafeInteger(max) || max < 0)
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'the number of objects must be 0 or more' })
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
      throw this.#operation.release() ? this.#explain(error) : this.#endReason
    } finally {
      this.#isBusy = false
    }
  }

  /** Ends it. Throws CKR_OPERATION_NOT_INITIALIZED if it has ended. */
  final(): void {
    if (!this.#operation.release()) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    this.#progress.abort(this.#endReason)
  }
}
