/** How a session makes its operations: as streams, call by call, and as functions of one call. */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { ActiveSearch } from './active-search.ts'
import { type Attributes, templateAtCall } from './attributes.ts'
import { type CipherStream, cipherStream } from './cipher-stream.ts'
import { CKR } from './constants.ts'
import { type ActiveOperation, OperationEngine, type OutputOptions, type WantedOperation } from './engine.ts'
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
import { type Operation, operation, type Started, type WaitingLine } from './operation.ts'
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

/** What can be refused has been; nothing is touched yet. */
interface Prepared<T> {
  readonly wanted: readonly WantedOperation[]
  run(operations: readonly ActiveOperation[], progress: Progress): Promise<T>
}

/** The operations that are in no pair. */
type RecoverSpec = Extract<RawOperationSpec, { readonly type: KeyOperationType }> & {
  readonly type: 'sign-recover' | 'verify-recover'
}

/** The same of a function of one call. */
export interface PreparedCall<T> {
  /** It holds a private key. */
  readonly endsOnLogout: boolean
  run(progress: Progress): Promise<T>
  /** It has ended, however that came. */
  end?(): void
}

/** Loaded by the first who makes an object. */
export const objectFunctions: () => Promise<typeof import('./object-functions.ts')> = () =>
  import('./object-functions.ts')
type ObjectFunctions = Awaited<ReturnType<typeof objectFunctions>>

/** The session that operations belong to. */
export interface OperationHost {
  readonly context: TokenContext
  readonly policy: SessionPolicy
  /** Throws if the session has ended. */
  check(): void
  hasEnded(): boolean
  showsPrivate(): boolean
}

/** Makes the operations of one session over its engine. */
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

  /** A search that runs to its end, or to `max`. */
  search(template: Attributes, options: FindOptions & OperationOptions): Operation<readonly CkObject[]> {
    let fitting: Attributes
    let which: FindOptions
    try {
      fitting = templateAtCall(template)
      which = findOptionsAtCall(options)
    } catch (error) {
      return this.refused(error)
    }
    return this.#operation(
      ['search'],
      () => ({
        wanted: [{ type: 'search', endsOnLogout: true }],
        run: async (_operations, progress) => {
          progress.tell({ phase: 'awaiting-card', why: 'working' })
          const found: CkObject[] = []
          const { max = Infinity } = which
          if (max === 0) return found
          for await (const object of this.#find(fitting, which, progress)) {
            progress.check()
            found.push(object)
            progress.tell({ phase: 'found', object })
            if (found.length >= max) break
          }
          return found
        },
      }),
      options,
    )
  }

  /** A search that a caller drives itself. */
  beginSearch(template: Attributes, options: FindOptions): ActiveSearch {
    const onConflict = conflictOf(this.#host.policy.onConflict)
    this.engine.admit(['search'], onConflict)
    const fitting = templateAtCall(template)
    const which = findOptionsAtCall(options)
    const { operations, announce } = this.engine.begin([{ type: 'search', endsOnLogout: true }], onConflict)
    const search = new ActiveSearch(
      operations[0] as ActiveOperation,
      (progress) => this.#find(fitting, which, progress),
      (error) => this.#host.context.translate(error),
    )
    announce()
    return search
  }

  /** Init of operations that a caller drives call by call; a mechanism of null cancels instead. */
  begin(specs: readonly (RawOperationSpec | CancellingSpec)[]): readonly ActiveOperation[] {
    if (specs.some((spec) => spec?.mechanism === null)) {
      this.#cancelBy(specs as readonly CancellingSpec[])
      return []
    }
    return this.#begin(specs as readonly RawOperationSpec[])
  }

  /** One part for both of two operations: the cipher's output, or nothing for either. */
  async updateTogether(
    operations: readonly [ActiveOperation, ActiveOperation],
    chunk: Uint8Array,
    options: OutputOptions,
  ): Promise<Uint8Array> {
    if (!isByteSource(chunk)) throw badOption('the chunk')
    const own = copyOf(chunk)
    const active = this.engine.operations
    const cipher = operations.find(({ type }) => type === 'encrypt' || type === 'decrypt')
    const other = operations.find((each) => each !== cipher)
    const areActive = operations.every((each) => active.includes(each))
    if (cipher === undefined || other === undefined || !areActive)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    const output = await cipher.update(own, options)
    await other.update(cipher.type === 'decrypt' ? output : own)
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
        detail: 'the mechanism is null, and nothing can be cancelled',
      })
    this.engine.cancel((each) => each.type === type, new CryptokiError(CKR.FUNCTION_CANCELED))
  }

  #begin(specs: readonly RawOperationSpec[]): readonly ActiveOperation[] {
    const asked = specs.map(specAtCall)
    const onConflict = conflictOf(this.#host.policy.onConflict)
    this.engine.admit(
      asked.map(({ type }) => type),
      onConflict,
    )
    const wanted = asked.map((spec) => this.#init.operation(spec, false))
    const { operations, announce } = this.engine.begin(wanted, onConflict)
    for (const each of operations) {
      each.explain = (error) => {
        const translated = this.#host.context.translate(error)
        this.#host.context.keyFailed(error)
        return translated
      }
    }
    announce()
    return operations
  }

  /** One operation over a source. */
  single<S extends OperationSpec | RecoverSpec>(
    spec: S,
    data: DataSource,
    options: OperationOptions,
  ): Operation<ResultOf<S>> {
    return this.specified([spec], data, options, ([value]) => value) as Operation<ResultOf<S>>
  }

  /** One or two operations over a source. */
  specified(
    specs: readonly RawOperationSpec[],
    data: DataSource,
    options: OperationOptions,
    shape: (values: readonly unknown[]) => unknown,
  ): Operation<unknown> {
    const given = dataAtCall(data)
    return this.#begun(specs, options, (own) => {
      const wanted = own.map((spec) => this.#init.operation(spec, true))
      // Last of what can be refused: an Init that fails for another reason leaves the source as it is.
      const open = claimSource(given)
      return {
        wanted,
        run: async (operations, progress) => shape(await run(own, operations, open, progress)),
      }
    })
  }

  /** Takes the specs as they are now: what is written into them before the operation runs, or while it does, does not count. */
  #begun<T>(
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

  /** A cipher as a pair of web streams. */
  stream(spec: RawOperationSpec, options: CipherStreamOptions): CipherStream {
    return cipherStream((move, signal) =>
      this.#begun([spec], options, ([own]) => ({
        wanted: [this.#init.operation(own as RawOperationSpec, true)],
        run: ([active], progress) => move(active as ActiveOperation, progress),
      })).result({ signal, onEvent: (options as CipherStreamOptions | null)?.onEvent }),
    )
  }

  /** A call whose arguments are none: told when the operation begins, as everything that an Init refuses. */
  refused(error: unknown): Operation<never> {
    return operation(
      () => {
        this.#host.check()
        throw error
      },
      (thrown) => this.#host.context.translate(thrown),
    )
  }

  /** A stream over the engine: Init in the order of the standard, and nothing is ended before it can fail no more. */
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
        // Refused for other operations' sake before key and mechanism are looked at, ended only after.
        this.engine.admit(types, onConflict)
        const prepared = prepare()
        const { operations, announce } = this.engine.begin(prepared.wanted, onConflict)
        return {
          operations,
          announce,
          failed: (error) => this.#host.context.keyFailed(error),
          run: (progress) => prepared.run(operations, progress),
        }
      },
      (error) => this.#host.context.translate(error),
      policy === 'wait' ? this.#queue(types) : undefined,
    )
  }

  /**
   * A function of one call, as an operation that is never active: it can be aborted and tells its phases, and what ends the
   * session or the login ends it.
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
          failed: (error) => this.#host.context.keyFailed(error),
          run: (progress) => prepared.run(progress),
        }
      },
      (error) => this.#host.context.translate(error),
    )
  }

  /** For `onConflict: 'wait'`. */
  #queue(types: readonly OperationType[]): WaitingLine {
    return {
      mustWait: () => !this.#host.hasEnded() && this.engine.mustWait(types),
      wait: (begin, refuse) => this.engine.wait(types, begin, refuse),
    }
  }
  /** A function of one call with a template. Arguments count as they are at the call. */
  withTemplate<T>(
    mechanism: RawMechanism,
    template: Attributes,
    options: KeyOptions,
    prepare: (mechanism: RawMechanism, template: Attributes) => PreparedCall<T>,
  ): Operation<T> {
    let own: RawMechanism
    let fitting: Attributes
    try {
      checkOptions(options)
      own = mechanismAtCall(mechanism)
      fitting = templateAtCall(template)
    } catch (error) {
      return this.refused(error)
    }
    return this.singlePart(() => prepare(own, fitting))
  }

  /** The same with a key, which may be on the card. */
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
    return this.withTemplate(mechanism, template, options, (own, fitting) => {
      const call: KeyCall = { purpose, mechanism: own, key, template: fitting, ...pinOf(options) }
      let work: KeyWork | undefined
      let refusal: { readonly error: unknown; readonly isOfKey: boolean } | undefined
      // What is destroyed from now on was good when the call was made.
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

/** An Init that waited for its place finds it free. */
export function conflictOf(policy: SessionPolicy['onConflict']): ConflictPolicy {
  return policy === 'abandon' ? 'abandon' : 'reject'
}
