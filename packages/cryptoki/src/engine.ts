/**
 * The operation engine of one session: Init, Update, Final, single-part calls and cancellation (PKCS#11 v2.40, 5.2 and 5.8 to
 * 5.13). It is independent of keys and cards. Operations over a source and callers in the style of the C functions both use it.
 */
import { concatBytes, isByteSource } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import { Progress } from './progress.ts'
import {
  admit,
  admitSinglePart,
  afterCall,
  type ConflictPolicy,
  mayCall,
  type OperationCall,
  type OperationPhase,
  type OperationType,
} from './operation-rules.ts'
import type { PinSource } from './pin.ts'

/** The data processing of one operation. It throws CryptokiError, or the errors of cards and readers. */
export interface OperationWork {
  /** The most bytes to pass to one `update`. Default: few enough to keep the thread responsive. */
  readonly stepBytes?: number | undefined
  /** Called when the Init has succeeded. Keys and state are acquired here, so that a failed Init leaves nothing to release. */
  begin?(): void
  /** Resolves to the output of a cipher, and to no bytes for all other operations. */
  update(chunk: Uint8Array, progress: Progress): Promise<Uint8Array>
  /**
   * Resolves to the rest of the output or to the result, and to no bytes if a verification succeeds. `signature` is the
   * signature to verify.
   */
  final(progress: Progress, signature?: Uint8Array): Promise<Uint8Array>
  /** Returns the most bytes that the call can output for `inputBytes` more bytes of input. Does not use the card. */
  outputBytes(call: OperationCall, inputBytes: number): number
  /** Called when the operation has ended for any reason, to overwrite keys and state. */
  end(): void
  /** True if the key requires a PIN for this use that has not been given. */
  readonly needsAuthorisation?: boolean
  /** C_Login with CKU_CONTEXT_SPECIFIC, before the data are complete. Absent if the operation never requires it. */
  authorise?(source: PinSource, progress: Progress): Promise<void>
}

/** An operation that an Init requests after all other checks. */
export interface RequestedOperation {
  readonly type: OperationType
  /** True if a logout ends it, because it uses a private key or is a search. */
  readonly endsOnLogout: boolean
  /** Absent for a search. */
  readonly work?: OperationWork
}

/** Options of a call with output. */
export interface OutputOptions {
  /**
   * The size of the caller's buffer in bytes. If it is too small, the call rejects with CKR_BUFFER_TOO_SMALL, loses nothing
   * and can be repeated.
   */
  readonly maxBytes?: number
  /** The signature to verify. */
  readonly signature?: Uint8Array | undefined
  /** Receives the events of the call. Default: events are dropped. */
  readonly progress?: Progress
}

/** The policy of an engine, evaluated at each Init. */
export interface EngineSettings {
  /** CKF_DUAL_CRYPTO_OPERATIONS of the token. */
  readonly dual: () => boolean
  readonly singlePartWhileActive: 'reject' | 'allow'
}

/** An Init that waits until it no longer conflicts with active operations. */
interface QueuedInit {
  readonly types: readonly OperationType[]
  readonly begin: () => void
  readonly refuse: (error: CryptokiError) => void
}

/** The active operations, running single-part functions and waiting Inits of one session. */
export class OperationEngine {
  readonly #settings: EngineSettings
  readonly #active = new Set<ActiveOperation>()
  readonly #calls = new Set<SinglePartCall>()
  readonly #queue: QueuedInit[] = []

  constructor(settings: EngineSettings) {
    this.#settings = settings
  }

  /** True if an active operation or a running single-part function uses a private key. */
  get usesPrivateKey(): boolean {
    return [...this.#active, ...this.#calls].some((each) => each.endsOnLogout && !isSearch(each))
  }

  /** The active operations: 0, 1 or 2. */
  get operations(): readonly ActiveOperation[] {
    return [...this.#active]
  }

  get active(): readonly OperationType[] {
    return this.operations.map(({ type }) => type)
  }

  /** Returns the types of operations that must end before the requested ones may start together. Throws CKR_OPERATION_ACTIVE. */
  admit(
    requested: readonly OperationType[],
    onConflict: ConflictPolicy,
    active: readonly OperationType[] = this.active,
  ): readonly OperationType[] {
    const dual = this.#settings.dual()
    const ends: OperationType[] = []
    const begun: OperationType[] = []
    let remaining = active
    for (const type of requested) {
      const admission = admit([...remaining, ...begun], type, { dual, onConflict })
      // Under no policy does the second operation of one Init end the first.
      if (admission.rv !== CKR.OK || admission.ends.some((each) => begun.includes(each)))
        throw this.#activeError()
      ends.push(...admission.ends)
      remaining = remaining.filter((each) => !admission.ends.includes(each))
      begun.push(type)
    }
    return ends
  }

  #activeError(): CryptokiError {
    return new CryptokiError(CKR.OPERATION_ACTIVE, { active: this.active })
  }

  /**
   * The last step of an Init: starts all requested operations, or throws CKR_OPERATION_ACTIVE and starts none. The abandoned
   * operations are released, and the new ones active, before the caller calls `notify`. A listener that starts another
   * Init in that notification therefore sees the final state of the session.
   */
  begin(
    requested: readonly RequestedOperation[],
    onConflict: ConflictPolicy,
  ): { readonly operations: readonly ActiveOperation[]; readonly notify: () => void } {
    const ends = this.admit(
      requested.map(({ type }) => type),
      onConflict,
    )
    const ending = this.operations.filter(({ type }) => ends.includes(type))
    for (const each of ending) each.release()
    const operations = requested.map((each) => {
      const active = new ActiveOperation(each, (done) => this.#remove(done))
      this.#active.add(active)
      return active
    })
    const notify = (): void => {
      for (const each of ending) each.notifyEnd(new CryptokiError(CKR.OPERATION_NOT_INITIALIZED))
    }
    return { operations, notify }
  }

  #remove(operation: ActiveOperation): void {
    this.#active.delete(operation)
    void Promise.resolve().then(() => this.#beginNext())
  }

  /**
   * Returns true if an Init of these types has to wait for active operations or for earlier Inits. Returns false for a
   * combination that is never allowed, so that it fails at once.
   */
  mustWait(types: readonly OperationType[]): boolean {
    return this.#fits(types, []) && (this.#queue.length > 0 || !this.#fits(types))
  }

  #fits(types: readonly OperationType[], active?: readonly OperationType[]): boolean {
    try {
      this.admit(types, 'reject', active)
      return true
    } catch {
      return false
    }
  }

  /**
   * Adds an Init to the queue. `begin` is called when the types fit and all earlier Inits have started; `refuse` is called if
   * the session ends first. Returns a function that removes the Init from the queue.
   */
  wait(
    types: readonly OperationType[],
    begin: () => void,
    refuse: (error: CryptokiError) => void,
  ): () => void {
    const entry = { types, begin, refuse }
    this.#queue.push(entry)
    return () => {
      const at = this.#queue.indexOf(entry)
      if (at < 0) return
      this.#queue.splice(at, 1)
      void Promise.resolve().then(() => this.#beginNext())
    }
  }

  #beginNext(): void {
    for (let [next] = this.#queue; next !== undefined && this.#fits(next.types); [next] = this.#queue) {
      this.#queue.shift()
      next.begin()
    }
  }

  /**
   * Registers a single-part function. It never conflicts with operations. It ends with the session, and with the login if it
   * uses a private key.
   */
  call(endsOnLogout: boolean, end: () => void): SinglePartCall {
    const call = new SinglePartCall(endsOnLogout, () => {
      this.#calls.delete(call)
      end()
    })
    this.#calls.add(call)
    return call
  }

  /** Throws CKR_OPERATION_ACTIVE if the policy does not allow a single-part function while operations are active. */
  checkSinglePart(): void {
    if (admitSinglePart(this.active, this.#settings.singlePartWhileActive) !== CKR.OK)
      throw this.#activeError()
  }

  /** Cancels the operations that match. Operations that a listener starts during the cancellation are not affected. */
  cancel(which: (operation: ActiveOperation) => boolean, error: CryptokiError): void {
    for (const each of this.operations.filter(which)) each.cancel(error)
  }

  #endAll(which: (each: ActiveOperation | SinglePartCall) => boolean, error: CryptokiError): void {
    for (const each of [...this.#active, ...this.#calls].filter(which)) each.cancel(error)
  }

  /** Ends everything that uses a private key, and searches, because the user logged out. */
  loggedOut(error: CryptokiError): void {
    this.#endAll(({ endsOnLogout }) => endsOnLogout, error)
  }

  /** Ends all active operations, single-part functions and waiting Inits, because the session has ended. */
  close(error: CryptokiError): void {
    this.#endAll(() => true, error)
    for (const { refuse } of this.#queue.splice(0)) refuse(error)
  }
}

/** A running single-part function. */
export class SinglePartCall {
  readonly endsOnLogout: boolean
  readonly #end: () => void
  #hasEnded = false
  /** Set by the caller that runs the function. Called when the function is cancelled. */
  onCancel: (error: unknown) => void = () => {}

  constructor(endsOnLogout: boolean, end: () => void) {
    this.endsOnLogout = endsOnLogout
    this.#end = end
  }

  /** Ends the function. Returns false if it had ended already. */
  release(): boolean {
    if (this.#hasEnded) return false
    this.#hasEnded = true
    this.#end()
    return true
  }

  /** Ends the function with an error, because the session or login ended. */
  cancel(error: unknown): void {
    if (this.release()) this.onCancel(error)
  }
}

/** One operation from its Init until it ends. Calls must not overlap, as in the C functions. */
export class ActiveOperation {
  readonly type: OperationType
  readonly endsOnLogout: boolean
  readonly #work: OperationWork | undefined
  readonly #onRelease: (operation: ActiveOperation) => void
  readonly #progress = new Progress(() => {})
  #phase: OperationPhase | 'gone' = 'fresh'
  #isBusy = false
  /** Output that was too long for the caller's buffer. */
  #pendingOutput: Uint8Array | undefined
  /** Set by the caller that drives the operation. Called when the operation is cancelled or abandoned. */
  onCancel: (error: unknown) => void = () => {}
  /**
   * Set by the caller that drives the operation. Translates the error of a failed call. The operation has ended by then, except
   * after `authorise`.
   */
  translateError: (error: unknown) => unknown = (error) => error

  constructor(requested: RequestedOperation, onRelease: (operation: ActiveOperation) => void) {
    this.type = requested.type
    this.endsOnLogout = requested.endsOnLogout
    this.#work = requested.work
    requested.work?.begin?.()
    this.#onRelease = onRelease
  }

  get active(): boolean {
    return this.#phase !== 'gone'
  }

  /** The phase of the operation; 'gone' after it has ended. */
  get phase(): OperationPhase | 'gone' {
    return this.#phase
  }

  /** The most bytes to pass to one `update`; undefined for the default. */
  get stepBytes(): number | undefined {
    return this.#work?.stepBytes
  }

  /** C_SignUpdate and similar functions. */
  async update(chunk: Uint8Array, options: OutputOptions = {}): Promise<Uint8Array> {
    this.#checkBytes(chunk)
    return this.#call('update', options, (work, progress) => work.update(chunk, progress), chunk.length)
  }

  /** C_SignFinal and similar functions. The operation has ended when this resolves. */
  final(options: OutputOptions = {}): Promise<Uint8Array> {
    return this.#call('final', options, (work, progress) => work.final(progress, options.signature))
  }

  /** C_Sign and similar functions, which process all of the data at once. */
  async single(data: Uint8Array, options: OutputOptions = {}): Promise<Uint8Array> {
    this.#checkBytes(data)
    const whole = async (work: OperationWork, progress: Progress): Promise<Uint8Array> => {
      const first = await work.update(data, progress)
      const rest = await work.final(progress, options.signature)
      return first.length === 0 ? rest : concatBytes(first, rest)
    }
    return this.#call('single', options, whole, data.length)
  }

  /** Throws CKR_ARGUMENTS_BAD if the data is not a byte array, and ends the operation (PKCS#11 v2.40, 5.8 to 5.13). */
  #checkBytes(data: unknown): void {
    if (isByteSource(data)) return
    if (!this.release()) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${this.type}: the data must be a Uint8Array` })
  }

  /**
   * A size query: returns the most bytes that the call would output, and consumes nothing. Throws
   * CKR_OPERATION_NOT_INITIALIZED, CKR_OPERATION_ACTIVE.
   */
  outputBytes(call: OperationCall, inputBytes = 0): number {
    const work = this.#enter(call)
    // A verification has no output, so a size query ends it.
    const phase = afterCall(this.type, call, 'size-query')
    if (phase !== 'gone') this.#phase = phase
    return this.#pendingOutput?.length ?? work.outputBytes(call, inputBytes)
  }

  /** True if the operation is active and its key requires a PIN for this use that has not been given. */
  get needsAuthorisation(): boolean {
    return this.active && this.#work?.needsAuthorisation === true
  }

  /**
   * C_Login with CKU_CONTEXT_SPECIFIC. If the operation does not require it, rejects with CKR_OPERATION_NOT_INITIALIZED and the
   * operation stays active.
   */
  async authorise(source: PinSource, progress: Progress = this.#progress): Promise<void> {
    const work = this.#work
    if (!this.needsAuthorisation || work?.authorise === undefined)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    try {
      await work.authorise(source, progress)
    } catch (error) {
      throw this.active ? this.translateError(error) : this.#endReason
    }
  }

  /** Checks that the call is allowed and returns the work. Ends the operation if single-part and multi-part calls are mixed. */
  #enter(call: OperationCall): OperationWork {
    const work = this.#work
    if (this.#phase === 'gone' || work === undefined) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    // If two calls overlap, the second is refused and the first continues.
    if (this.#isBusy) throw new CryptokiError(CKR.OPERATION_ACTIVE, { active: [this.type] })
    // Single-part and multi-part calls are mixed, or the call adds data while output waits for a larger buffer.
    const isMixed =
      mayCall(this.#phase, call).rv !== CKR.OK || (this.#pendingOutput !== undefined && call === 'update')
    if (!isMixed) return work
    this.release()
    throw new CryptokiError(CKR.OPERATION_ACTIVE, {
      active: [this.type],
      detail: 'the call does not fit the previous ones',
    })
  }

  async #call(
    call: OperationCall,
    { maxBytes, progress = this.#progress }: OutputOptions,
    run: (work: OperationWork, progress: Progress) => Promise<Uint8Array>,
    inputBytes = 0,
  ): Promise<Uint8Array> {
    const work = this.#enter(call)
    // The size is checked first: a signature made in vain would cost a PIN entry, and data given to a stream is consumed.
    const isKnown = call === 'update' || isSizeExact(this.type)
    if (isKnown && maxBytes !== undefined && maxBytes < work.outputBytes(call, inputBytes))
      throw this.#tooSmall(call)
    this.#isBusy = true
    let output: Uint8Array
    try {
      output = this.#pendingOutput ?? (await run(work, progress))
    } catch (error) {
      throw this.release() ? this.translateError(error) : this.#endReason
    } finally {
      this.#isBusy = false
    }
    // The operation ended during the call: its output is discarded.
    if (!this.active) throw this.#endReason
    if (maxBytes !== undefined && output.length > maxBytes) {
      this.#pendingOutput = output
      throw this.#tooSmall(call)
    }
    this.#pendingOutput = undefined
    this.#setPhase(afterCall(this.type, call, 'done'))
    return output
  }

  #endReason: unknown = new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)

  #tooSmall(call: OperationCall): CryptokiError {
    this.#setPhase(afterCall(this.type, call, 'buffer-too-small'))
    return new CryptokiError(CKR.BUFFER_TOO_SMALL)
  }

  #setPhase(phase: OperationPhase | 'gone'): void {
    if (phase === 'gone') this.release()
    else this.#phase = phase
  }

  /** Ends the operation, so that the next one may start. Returns false if it had ended already. */
  release(): boolean {
    if (this.#phase === 'gone') return false
    this.#phase = 'gone'
    this.#pendingOutput = undefined
    this.#work?.end()
    this.#onRelease(this)
    return true
  }

  /** Ends the operation with an error. It is released before the error is reported, so that a listener may start the next one. */
  cancel(error: unknown): void {
    if (this.release()) this.notifyEnd(error)
  }

  /** Reports the error with which the released operation ended: aborts its progress and calls `onCancel`. */
  notifyEnd(error: unknown): void {
    this.#endReason = error
    this.#progress.abort(error)
    this.onCancel(error)
  }
}

function isSearch(each: ActiveOperation | SinglePartCall): boolean {
  return 'type' in each && each.type === 'search'
}

/** True if `outputBytes` is exact. For decryption and recovery it is an upper bound, because the padding is not known yet. */
function isSizeExact(type: OperationType): boolean {
  return type !== 'decrypt' && type !== 'verify-recover'
}
