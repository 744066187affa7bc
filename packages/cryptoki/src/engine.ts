/** The operation engine of one session: Init, Update, Final, single part, cancel (PKCS#11 v2.40, 5.2 and 5.8 to 5.13). It knows no key and no card; streams and C functions both drive it. */
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

/** What one operation does with its data. It throws CryptokiError, or errors of cards and readers. */
export interface OperationWork {
  /** The most bytes that one `update` should get; absent: few enough to keep the thread responsive. */
  readonly stepBytes?: number | undefined
  /** The Init has succeeded: what holds a key or state begins here, so that an Init that fails leaves none behind. */
  begin?(): void
  /** Output of a cipher; empty for all others. */
  update(chunk: Uint8Array, progress: Progress): Promise<Uint8Array>
  /** The rest of the output, or the result; empty if a verification succeeds. `signature` is what is verified. */
  final(progress: Progress, signature?: Uint8Array): Promise<Uint8Array>
  /** The most bytes that the call gives for `inputBytes` more of input; known without the card. */
  outputBytes(call: OperationCall, inputBytes: number): number
  /** The operation has ended, however that came: state and keys can be overwritten. */
  end(): void
  /** Whether `authorise` may be called now. */
  readonly wantsAuthorisation?: boolean
  /** C_Login with CKU_CONTEXT_SPECIFIC, before the data are complete. Absent: the operation never wants it. */
  authorise?(source: PinSource, progress: Progress): Promise<void>
}

/** What an Init asks for once all else has been checked. */
export interface WantedOperation {
  readonly type: OperationType
  /** Logging out ends it: it holds a private key, or it is a search. */
  readonly endsOnLogout: boolean
  /** Absent for a search. */
  readonly work?: OperationWork
}

/** Options of a call that gives output. */
export interface OutputOptions {
  /** Size of the caller's buffer, in bytes. Too small: CKR_BUFFER_TOO_SMALL, nothing is lost, and the call can be repeated. */
  readonly maxBytes?: number
  /** What a verification verifies. */
  readonly signature?: Uint8Array | undefined
  /** Told of phases. Default: nobody. */
  readonly progress?: Progress
}

/** The policy of an engine, asked at each Init. */
export interface EngineSettings {
  /** CKF_DUAL_CRYPTO_OPERATIONS of the token. */
  readonly dual: () => boolean
  readonly singlePartWhileActive: 'reject' | 'allow'
}

/** An Init that waits for its place. */
interface Waiting {
  readonly types: readonly OperationType[]
  readonly begin: () => void
  readonly refuse: (error: CryptokiError) => void
}

/** Made by a session. */
export class OperationEngine {
  readonly #settings: EngineSettings
  readonly #active = new Set<ActiveOperation>()
  readonly #calls = new Set<SinglePartCall>()
  readonly #waiting: Waiting[] = []

  constructor(settings: EngineSettings) {
    this.#settings = settings
  }

  /** Whether an operation or a call under way holds a private key. */
  get usesPrivateKey(): boolean {
    return [...this.#active, ...this.#calls].some((each) => each.endsOnLogout && !isSearch(each))
  }

  /** The operations active now: 0, 1 or 2. */
  get operations(): readonly ActiveOperation[] {
    return [...this.#active]
  }

  get active(): readonly OperationType[] {
    return this.operations.map(({ type }) => type)
  }

  /** The types that must end for these to begin together. Throws CKR_OPERATION_ACTIVE. */
  admit(
    wanted: readonly OperationType[],
    onConflict: ConflictPolicy,
    active: readonly OperationType[] = this.active,
  ): readonly OperationType[] {
    const dual = this.#settings.dual()
    const ends: OperationType[] = []
    const begun: OperationType[] = []
    let standing = active
    for (const type of wanted) {
      const admission = admit([...standing, ...begun], type, { dual, onConflict })
      // Whatever the policy: what this very call begins does not end for its other half.
      if (admission.rv !== CKR.OK || admission.ends.some((each) => begun.includes(each)))
        throw this.#isActive()
      ends.push(...admission.ends)
      standing = standing.filter((each) => !admission.ends.includes(each))
      begun.push(type)
    }
    return ends
  }

  #isActive(): CryptokiError {
    return new CryptokiError(CKR.OPERATION_ACTIVE, { active: this.active })
  }

  /**
   * The last step of an Init, which can fail no more but for CKR_OPERATION_ACTIVE: all of it begins, or nothing. What must
   * end for it has left, and it is in, before `announce` tells anybody: an Init made on hearing of it meets the session as
   * it is then.
   */
  begin(
    wanted: readonly WantedOperation[],
    onConflict: ConflictPolicy,
  ): { readonly operations: readonly ActiveOperation[]; readonly announce: () => void } {
    const ends = this.admit(
      wanted.map(({ type }) => type),
      onConflict,
    )
    const ending = this.operations.filter(({ type }) => ends.includes(type))
    for (const each of ending) each.release()
    const operations = wanted.map((each) => {
      const active = new ActiveOperation(each, (done) => this.#left(done))
      this.#active.add(active)
      return active
    })
    const announce = (): void => {
      for (const each of ending) each.notifyEnd(new CryptokiError(CKR.OPERATION_NOT_INITIALIZED))
    }
    return { operations, announce }
  }

  #left(operation: ActiveOperation): void {
    this.#active.delete(operation)
    void Promise.resolve().then(() => this.#beginNext())
  }

  /** Whether an Init of these types has to wait: others are active, or came before it. What never fits does not wait. */
  mustWait(types: readonly OperationType[]): boolean {
    return this.#fits(types, []) && (this.#waiting.length > 0 || !this.#fits(types))
  }

  #fits(types: readonly OperationType[], active?: readonly OperationType[]): boolean {
    try {
      this.admit(types, 'reject', active)
      return true
    } catch {
      return false
    }
  }

  /** `begin` is called, in the order of these calls, once the types fit; `refuse` if the session ends first. Returns how to leave the queue. */
  wait(
    types: readonly OperationType[],
    begin: () => void,
    refuse: (error: CryptokiError) => void,
  ): () => void {
    const entry = { types, begin, refuse }
    this.#waiting.push(entry)
    return () => {
      const at = this.#waiting.indexOf(entry)
      if (at < 0) return
      this.#waiting.splice(at, 1)
      void Promise.resolve().then(() => this.#beginNext())
    }
  }

  #beginNext(): void {
    for (let [next] = this.#waiting; next !== undefined && this.#fits(next.types); [next] = this.#waiting) {
      this.#waiting.shift()
      next.begin()
    }
  }

  /** A function of one call begins. It takes no place, and ends with the session, or with the login if it holds a private key. */
  call(endsOnLogout: boolean, end: () => void): SinglePartCall {
    const call = new SinglePartCall(endsOnLogout, () => {
      this.#calls.delete(call)
      end()
    })
    this.#calls.add(call)
    return call
  }

  /** Throws CKR_OPERATION_ACTIVE if a one-call function is not allowed beside what is active. */
  checkSinglePart(): void {
    if (admitSinglePart(this.active, this.#settings.singlePartWhileActive) !== CKR.OK) throw this.#isActive()
  }

  /** An Init made on hearing of an end is not among those to be cancelled. */
  cancel(which: (operation: ActiveOperation) => boolean, error: CryptokiError): void {
    for (const each of this.operations.filter(which)) each.cancel(error)
  }

  #endAll(which: (each: ActiveOperation | SinglePartCall) => boolean, error: CryptokiError): void {
    for (const each of [...this.#active, ...this.#calls].filter(which)) each.cancel(error)
  }

  /** The user logged out: what holds a private key ends, and searches. */
  loggedOut(error: CryptokiError): void {
    this.#endAll(({ endsOnLogout }) => endsOnLogout, error)
  }

  /** The session has ended: what is active ends, and so does what waits. */
  close(error: CryptokiError): void {
    this.#endAll(() => true, error)
    for (const { refuse } of this.#waiting.splice(0)) refuse(error)
  }
}

/** One function of one call while it runs. */
export class SinglePartCall {
  readonly endsOnLogout: boolean
  readonly #end: () => void
  #isOver = false
  /** Set by whoever drives it: told when it is ended from outside. */
  onCancel: (error: unknown) => void = () => {}

  constructor(endsOnLogout: boolean, end: () => void) {
    this.endsOnLogout = endsOnLogout
    this.#end = end
  }

  /** False if it was over already. */
  release(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#end()
    return true
  }

  /** Ends it from outside. */
  cancel(error: unknown): void {
    if (this.release()) this.onCancel(error)
  }
}

/** One operation from Init until it ends. Its calls come one after the other, as a C caller makes them. */
export class ActiveOperation {
  readonly type: OperationType
  readonly endsOnLogout: boolean
  readonly #work: OperationWork | undefined
  readonly #leave: (operation: ActiveOperation) => void
  readonly #progress = new Progress(() => {})
  #phase: OperationPhase | 'gone' = 'fresh'
  #isBusy = false
  /** Output that did not fit the caller's buffer. */
  #kept: Uint8Array | undefined
  /** Set by whoever drives it: told when the operation is ended from outside. */
  onCancel: (error: unknown) => void = () => {}
  /** Set by whoever drives it: makes of a failed call's error what its caller is told. The operation has ended by then, except after `authorise`. */
  explain: (error: unknown) => unknown = (error) => error

  constructor(wanted: WantedOperation, leave: (operation: ActiveOperation) => void) {
    this.type = wanted.type
    this.endsOnLogout = wanted.endsOnLogout
    this.#work = wanted.work
    wanted.work?.begin?.()
    this.#leave = leave
  }

  get active(): boolean {
    return this.#phase !== 'gone'
  }

  /** Where it stands; 'gone' once it has ended. */
  get phase(): OperationPhase | 'gone' {
    return this.#phase
  }

  /** What its work says of the size of steps. */
  get stepBytes(): number | undefined {
    return this.#work?.stepBytes
  }

  /** C_SignUpdate and alike. */
  async update(chunk: Uint8Array, options: OutputOptions = {}): Promise<Uint8Array> {
    this.#checkBytes(chunk)
    return this.#call('update', options, (work, progress) => work.update(chunk, progress), chunk.length)
  }

  /** C_SignFinal and alike. The operation has ended when this resolves. */
  final(options: OutputOptions = {}): Promise<Uint8Array> {
    return this.#call('final', options, (work, progress) => work.final(progress, options.signature))
  }

  /** C_Sign and alike: all of the data at once. */
  async single(data: Uint8Array, options: OutputOptions = {}): Promise<Uint8Array> {
    this.#checkBytes(data)
    const whole = async (work: OperationWork, progress: Progress): Promise<Uint8Array> => {
      const first = await work.update(data, progress)
      const rest = await work.final(progress, options.signature)
      return first.length === 0 ? rest : concatBytes(first, rest)
    }
    return this.#call('single', options, whole, data.length)
  }

  /** Any error of a call ends its operation (PKCS#11 v2.40, 5.8 to 5.13). */
  #checkBytes(data: unknown): void {
    if (isByteSource(data)) return
    if (!this.release()) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${this.type}: the data are not bytes` })
  }

  /** A size query: the most bytes that the call would give. It consumes nothing. Throws CKR_OPERATION_NOT_INITIALIZED, CKR_OPERATION_ACTIVE. */
  outputBytes(call: OperationCall, inputBytes = 0): number {
    const work = this.#enter(call)
    // A verification has no output whose size could be asked.
    const phase = afterCall(this.type, call, 'size-query')
    if (phase !== 'gone') this.#phase = phase
    return this.#kept?.length ?? work.outputBytes(call, inputBytes)
  }

  /** Whether its key wants a PIN for this very use, and has not got it. */
  get wantsAuthorisation(): boolean {
    return this.active && this.#work?.wantsAuthorisation === true
  }

  /** C_Login with CKU_CONTEXT_SPECIFIC. Throws CKR_OPERATION_NOT_INITIALIZED if the operation wants none; it is unharmed then. */
  async authorise(source: PinSource, progress: Progress = this.#progress): Promise<void> {
    const work = this.#work
    if (!this.wantsAuthorisation || work?.authorise === undefined)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    try {
      await work.authorise(source, progress)
    } catch (error) {
      throw this.active ? this.explain(error) : this.#endReason
    }
  }

  /** What a call needs to go on; the operation ends if single and multiple parts are mixed. */
  #enter(call: OperationCall): OperationWork {
    const work = this.#work
    if (this.#phase === 'gone' || work === undefined) throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    // Two callers at once: the second is refused, and the first goes on.
    if (this.#isBusy) throw new CryptokiError(CKR.OPERATION_ACTIVE, { active: [this.type] })
    // Single and multiple parts were mixed; or a result waits for a larger buffer, and takes no more data.
    const isMixed =
      mayCall(this.#phase, call).rv !== CKR.OK || (this.#kept !== undefined && call === 'update')
    if (!isMixed) return work
    this.release()
    throw new CryptokiError(CKR.OPERATION_ACTIVE, {
      active: [this.type],
      detail: 'the call does not fit the ones before it',
    })
  }

  async #call(
    call: OperationCall,
    { maxBytes, progress = this.#progress }: OutputOptions,
    run: (work: OperationWork, progress: Progress) => Promise<Uint8Array>,
    inputBytes = 0,
  ): Promise<Uint8Array> {
    const work = this.#enter(call)
    // A signature that is made and then refused would cost a person a PIN, and data that a stream has taken cannot be returned.
    const isKnown = call === 'update' || isSizeExact(this.type)
    if (isKnown && maxBytes !== undefined && maxBytes < work.outputBytes(call, inputBytes))
      throw this.#tooSmall(call)
    this.#isBusy = true
    let output: Uint8Array
    try {
      output = this.#kept ?? (await run(work, progress))
    } catch (error) {
      throw this.release() ? this.explain(error) : this.#endReason
    } finally {
      this.#isBusy = false
    }
    // Ended meanwhile: the answer is nobody's.
    if (!this.active) throw this.#endReason
    if (maxBytes !== undefined && output.length > maxBytes) {
      this.#kept = output
      throw this.#tooSmall(call)
    }
    this.#kept = undefined
    this.#became(afterCall(this.type, call, 'done'))
    return output
  }

  #endReason: unknown = new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)

  #tooSmall(call: OperationCall): CryptokiError {
    this.#became(afterCall(this.type, call, 'buffer-too-small'))
    return new CryptokiError(CKR.BUFFER_TOO_SMALL)
  }

  #became(phase: OperationPhase | 'gone'): void {
    if (phase === 'gone') this.release()
    else this.#phase = phase
  }

  /** Frees the place; false if it was free already. */
  release(): boolean {
    if (this.#phase === 'gone') return false
    this.#phase = 'gone'
    this.#kept = undefined
    this.#work?.end()
    this.#leave(this)
    return true
  }

  /** Ends it from outside: the place is free before the error is told. */
  cancel(error: unknown): void {
    if (this.release()) this.notifyEnd(error)
  }

  notifyEnd(error: unknown): void {
    this.#endReason = error
    this.#progress.abort(error)
    this.onCancel(error)
  }
}

function isSearch(each: ActiveOperation | SinglePartCall): boolean {
  return 'type' in each && each.type === 'search'
}

/** A decryption tells only the most that may come out; others are always as long as they say. */
function isSizeExact(type: OperationType): boolean {
  return type !== 'decrypt' && type !== 'verify-recover'
}
