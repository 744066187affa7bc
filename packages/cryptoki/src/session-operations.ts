/** Creates the operations of a session: run over a source, driven in single calls, and single-part functions (PKCS#11 v2.40, 5.7 to 5.15). */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { ActiveSearch } from './active-search.ts'
import { type Attributes, templateAtCall } from './attributes.ts'
import { type CipherStream, cipherStream } from './cipher-stream.ts'
import { CKR } from './constants.ts'
import {
  type ActiveOperation,
  OperationEngine,
  type OutputOptions,
  type RequestedOperation,
} from './engine.ts'
import { CryptokiError } from './errors.ts'
import { Init, type InitParts } from './init.ts'
import type { KeyOperationType, KeyPurpose } from './key-use.ts'
import type { KeyWork } from './key-work.ts'
import { mechanismAtCall, type RawMechanism } from './mechanisms.ts'
import type { KeyCall } from './object-functions.ts'
import { CkObject } from './object.ts'
import type { ConflictPolicy, OperationType } from './operation-rules.ts'
import {
  type OperationSpec,
  type RawOperationSpec,
  type ResultOf,
  run,
  specAtCall,
} from './operation-spec.ts'
import { type Operation, operation, type Started, type InitQueue } from './operation.ts'
import type { Progress } from './progress.ts'
import { badOption, checkOptions, findOptionsAtCall, pinOf } from './session-arguments.ts'
import type {
  CancellingSpec,
  CipherStreamOptions,
  KeyOptions,
  OperationOptions,
  SessionPolicy,
} from './session-options.ts'
import { claimSource, dataAtCall, type DataSource } from './source.ts'
import type { FindOptions, TokenContext } from './token-context.ts'

/** An operation whose arguments have been checked, before it becomes active. */
interface Prepared<T> {
  readonly requested: readonly RequestedOperation[]
  run(operations: readonly ActiveOperation[], progress: Progress): Promise<T>
}

/** The specs of the operations that are not part of any pair. */
type RecoverSpec = Extract<RawOperationSpec, { readonly type: KeyOperationType }> & {
  readonly type: 'sign-recover' | 'verify-recover'
}

/** A single-part function whose arguments have been checked. */
export interface PreparedCall<T> {
  /** True if it uses a private key. */
  readonly endsOnLogout: boolean
  run(progress: Progress): Promise<T>
  /** Called once when it has ended, with success or not. */
  end?(): void
}

/** Loaded on first use, because logins and signatures do not need it. */
export const objectFunctions: () => Promise<typeof import('./object-functions.ts')> = () =>
  import('./object-functions.ts')
type ObjectFunctions = Awaited<ReturnType<typeof objectFunctions>>

/** The session of the operations. */
export interface OperationHost {
  readonly context: TokenContext
  readonly policy: SessionPolicy
  /** Throws if the session has ended. */
  check(): void
  hasEnded(): boolean
  showsPrivate(): boolean
}

/** Creates the operations of one session, and registers them with its engine. */
export class SessionOperations {
  readonly engine: OperationEngine
  readonly #host: OperationHost
  readonly #init: Init

  constructor(host: OperationHost, init: InitParts) {
    this.#host = host
    this.#init = new Init(init)
    this.engine = new OperationEngine({
      dual: () => host.policy.dualOperations,
      singlePartWhileActive: host.policy.singlePartWhileActive,
    })
  }

  /** Creates a search that runs until it has found all objects or `max` of them. */
  search(template: Attributes, options: FindOptions & OperationOptions): Operation<readonly CkObject[]> {
    let ownTemplate: Attributes
    let ownOptions: FindOptions
    try {
      ownTemplate = templateAtCall(template)
      ownOptions = findOptionsAtCall(options)
    } catch (error) {
      return this.refused(error)
    }
    return this.#operation(
      ['search'],
      () => ({
        requested: [{ type: 'search', endsOnLogout: true }],
        run: async (_operations, progress) => {
          progress.report({ phase: 'awaiting-card', why: 'working' })
          const found: CkObject[] = []
          const { max = Infinity } = ownOptions
          if (max === 0) return found
          for await (const object of this.#find(ownTemplate, ownOptions, progress)) {
            progress.check()
            found.push(object)
            progress.report({ phase: 'found', object })
            if (found.length >= max) break
          }
          return found
        },
      }),
      options,
    )
  }

  /** C_FindObjectsInit, for callers that fetch the objects in several calls. */
  beginSearch(template: Attributes, options: FindOptions): ActiveSearch {
    const onConflict = conflictOf(this.#host.policy.onConflict)
    this.engine.admit(['search'], onConflict)
    const ownTemplate = templateAtCall(template)
    const ownOptions = findOptionsAtCall(options)
    const { operations, notify } = this.engine.begin([{ type: 'search', endsOnLogout: true }], onConflict)
    const search = new ActiveSearch(
      operations[0] as ActiveOperation,
      (progress) => this.#find(ownTemplate, ownOptions, progress),
      (error) => this.#host.context.translate(error),
    )
    notify()
    return search
  }

  /** The Init of operations that the caller drives in single calls. A mechanism of null cancels instead. */
  begin(specs: readonly (RawOperationSpec | CancellingSpec)[]): readonly ActiveOperation[] {
    if (specs.some((spec) => spec?.mechanism === null)) {
      this.#cancelBy(specs as readonly CancellingSpec[])
      return []
    }
    return this.#begin(specs as readonly RawOperationSpec[])
  }

  /** Updates the cipher and then the other operation. If the cipher fails, the other operation is not updated. */
  async updateTogether(
    operations: readonly [ActiveOperation, ActiveOperation],
    chunk: Uint8Array,
    options: OutputOptions,
  ): Promise<Uint8Array> {
    if (!isByteSource(chunk)) throw badOption('the chunk')
    const ownChunk = copyOf(chunk)
    const active = this.engine.operations
    const cipher = operations.find(({ type }) => type === 'encrypt' || type === 'decrypt')
    const other = operations.find((each) => each !== cipher)
    const areActive = operations.every((each) => active.includes(each))
    if (cipher === undefined || other === undefined || !areActive)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    const output = await cipher.update(ownChunk, options)
    await other.update(cipher.type === 'decrypt' ? output : ownChunk)
    return output
  }

  #find(
    template: Attributes,
    which: FindOptions,
    progress: Progress,
  ): AsyncGenerator<CkObject, void, undefined> {
    const options = { ...progress.transmitOptions, ...which }
    return this.#host.context.find(template, this.#host.showsPrivate(), options)
  }

  #cancelBy(specs: readonly CancellingSpec[]): void {
    const [spec, ...others] = specs
    const type = spec?.type
    if (type === undefined || others.length > 0 || !this.engine.active.includes(type))
      throw new CryptokiError(CKR.ARGUMENTS_BAD, {
        detail: 'no active operation of this type to cancel',
      })
    this.engine.cancel((each) => each.type === type, new CryptokiError(CKR.FUNCTION_CANCELED))
  }

  #begin(specs: readonly RawOperationSpec[]): readonly ActiveOperation[] {
    const ownSpecs = specs.map(specAtCall)
    const onConflict = conflictOf(this.#host.policy.onConflict)
    this.engine.admit(
      ownSpecs.map(({ type }) => type),
      onConflict,
    )
    const requested = ownSpecs.map((spec) => this.#init.operation(spec, false))
    const { operations, notify } = this.engine.begin(requested, onConflict)
    for (const each of operations) {
      each.translateError = (error) => {
        const translated = this.#host.context.translate(error)
        this.#host.context.onKeyError(error)
        return translated
      }
    }
    notify()
    return operations
  }

  /** Creates one operation over a source. */
  single<S extends OperationSpec | RecoverSpec>(
    spec: S,
    data: DataSource,
    options: OperationOptions,
  ): Operation<ResultOf<S>> {
    return this.specified([spec], data, options, ([value]) => value) as Operation<ResultOf<S>>
  }

  /** Creates one operation, or two that form a pair, over a source. `shape` makes the result from the operations' results. */
  specified(
    specs: readonly RawOperationSpec[],
    data: DataSource,
    options: OperationOptions,
    shape: (values: readonly unknown[]) => unknown,
  ): Operation<unknown> {
    const source = dataAtCall(data)
    return this.#prepareAll(specs, options, (own) => {
      const requested = own.map((spec) => this.#init.operation(spec, true))
      // The last step that can fail: an Init that fails for another reason leaves the source unused.
      const open = claimSource(source)
      return {
        requested,
        run: async (operations, progress) => shape(await run(own, operations, open, progress)),
      }
    })
  }

  /** Copies the specs at the call, so that later changes by the caller have no effect. */
  #prepareAll<T>(
    specs: readonly RawOperationSpec[],
    options: OperationOptions,
    prepare: (specs: readonly RawOperationSpec[]) => Prepared<T>,
  ): Operation<T> {
    let own: readonly RawOperationSpec[]
    try {
      checkOptions(options)
      own = specs.map(specAtCall)
    } catch (error) {
      return this.refused(error)
    }
    return this.#operation(
      own.map(({ type }) => type),
      () => prepare(own),
      options,
    )
  }

  /** Creates a cipher as a pair of web streams. */
  stream(spec: RawOperationSpec, options: CipherStreamOptions): CipherStream {
    return cipherStream((move, signal) =>
      this.#prepareAll([spec], options, ([own]) => ({
        requested: [this.#init.operation(own as RawOperationSpec, true)],
        run: ([active], progress) => move(active as ActiveOperation, progress),
      })).result({ signal, onEvent: (options as CipherStreamOptions | null)?.onEvent }),
    )
  }

  /** Creates an operation that fails when it is started. Used for invalid arguments, which fail like any other Init error. */
  refused(error: unknown): Operation<never> {
    return operation(
      () => {
        this.#host.check()
        throw error
      },
      (thrown) => this.#host.context.translate(thrown),
    )
  }

  /** Creates an operation whose Init checks in the order of the standard and abandons others only after all checks have passed. */
  #operation<T>(
    types: readonly OperationType[],
    prepare: () => Prepared<T>,
    options: OperationOptions,
  ): Operation<T> {
    const policy = options.onConflict ?? this.#host.policy.onConflict
    const onConflict = conflictOf(policy)
    return operation(
      (): Started<T> => {
        this.#host.check()
        // Conflicts are refused before the key and mechanism are checked; conflicting operations are ended only afterwards.
        this.engine.admit(types, onConflict)
        const prepared = prepare()
        const { operations, notify } = this.engine.begin(prepared.requested, onConflict)
        return {
          operations,
          notify,
          onFailure: (error) => this.#host.context.onKeyError(error),
          run: (progress) => prepared.run(operations, progress),
        }
      },
      (error) => this.#host.context.translate(error),
      policy === 'wait' ? this.#initQueue(types) : undefined,
    )
  }

  /**
   * Creates a single-part function as an operation that never becomes active. It can be aborted and emits events. It ends with
   * the session, and with the login if it uses a private key.
   */
  singlePart<T>(prepare: () => PreparedCall<T>): Operation<T> {
    return operation(
      (): Started<T> => {
        this.#host.check()
        this.engine.checkSinglePart()
        const prepared = prepare()
        const call = this.engine.call(prepared.endsOnLogout, () => prepared.end?.())
        return {
          operations: [call],
          onFailure: (error) => this.#host.context.onKeyError(error),
          run: (progress) => prepared.run(progress),
        }
      },
      (error) => this.#host.context.translate(error),
    )
  }

  /** The queue for `onConflict: 'wait'`. */
  #initQueue(types: readonly OperationType[]): InitQueue {
    return {
      mustWait: () => !this.#host.hasEnded() && this.engine.mustWait(types),
      wait: (begin, refuse) => this.engine.wait(types, begin, refuse),
    }
  }

  /** Creates a single-part function with a mechanism and a template, both copied at the call. */
  withTemplate<T>(
    mechanism: RawMechanism,
    template: Attributes,
    options: KeyOptions,
    prepare: (mechanism: RawMechanism, template: Attributes) => PreparedCall<T>,
  ): Operation<T> {
    let ownMechanism: RawMechanism
    let ownTemplate: Attributes
    try {
      checkOptions(options)
      ownMechanism = mechanismAtCall(mechanism)
      ownTemplate = templateAtCall(template)
    } catch (error) {
      return this.refused(error)
    }
    return this.singlePart(() => prepare(ownMechanism, ownTemplate))
  }

  /** Creates a single-part function with a mechanism, a template and a key, which may be on the card. */
  withKey<T>(
    purpose: KeyPurpose,
    mechanism: RawMechanism,
    key: CkObject,
    template: Attributes,
    options: KeyOptions,
    steps: {
      readonly begin?: () => void
      run(functions: ObjectFunctions, work: KeyWork, call: KeyCall, progress: Progress): Promise<T>
      readonly end?: () => void
    },
  ): Operation<T> {
    return this.withTemplate(mechanism, template, options, (ownMechanism, ownTemplate) => {
      const call: KeyCall = {
        purpose,
        mechanism: ownMechanism,
        key,
        template: ownTemplate,
        ...pinOf(options),
      }
      let work: KeyWork | undefined
      let refusal: { readonly error: unknown; readonly isOfKey: boolean } | undefined
      // The handles are resolved now, so that objects destroyed after the call do not fail it.
      try {
        work = this.#init.use(call, true).work
        work.begin()
      } catch (error) {
        refusal = { error, isOfKey: true }
      }
      try {
        steps.begin?.()
      } catch (error) {
        refusal ??= { error, isOfKey: false }
      }
      return {
        endsOnLogout: key instanceof CkObject && key.isPrivate,
        run: async (progress) => {
          const functions = await objectFunctions()
          progress.check()
          if (refusal?.isOfKey) throw functions.keyError(purpose, refusal.error)
          if (work === undefined || refusal !== undefined) throw refusal?.error
          return steps.run(functions, work, call, progress)
        },
        end: () => {
          work?.end()
          steps.end?.()
        },
      }
    })
  }
}

/** Returns the engine's policy. An Init that waits is started only when it fits, and so never conflicts. */
export function conflictOf(policy: SessionPolicy['onConflict']): ConflictPolicy {
  return policy === 'abandon' ? 'abandon' : 'reject'
}
