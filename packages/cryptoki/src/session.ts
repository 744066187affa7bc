/** Sessions: PKCS#11 v2.40, 5.6 "Session management", and v2.20, 13.1 "Operations, sessions, and threads". */
import { type AbortSignalLike, copyOf, isByteSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import {
  BehaviorSubject,
  combineLatest,
  distinctUntilChanged,
  map,
  type Observable,
  Subject,
  takeWhile,
} from 'rxjs'
import { ActiveSearch } from './active-search.ts'
import { type Attributes, type AttributeTypes, templateAtCall } from './attributes.ts'
import { type CipherStream, cipherStream } from './cipher-stream.ts'
import { CKA, CKF, CKR, CKS, CKU } from './constants.ts'
import { type ActiveOperation, OperationEngine, type OutputOptions, type WantedOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { Init } from './init.ts'
import type { KeyOperationType, KeyPurpose } from './key-use.ts'
import { type KeyWork, thenWorking } from './key-work.ts'
import {
  type CipherMechanism,
  type DeriveMechanism,
  type DigestMechanism,
  type GenerateMechanism,
  mechanismAtCall,
  type RawMechanism,
  type RecoverMechanism,
  type SignatureMechanism,
  type WrapMechanism,
} from './mechanisms.ts'
import { type AttributeReading, CkObject } from './object.ts'
import type { KeyCall, KeyToWrap, ObjectMaker } from './object-functions.ts'
import { type Operation, operation, type Started, type WaitingLine } from './operation.ts'
import type { ConflictPolicy, OperationType } from './operation-rules.ts'
import {
  type OperationSpec,
  type PartnerOf,
  type RawOperationSpec,
  type ResultOf,
  run,
  type SignatureSource,
  specAtCall,
} from './operation-spec.ts'
import type { PinSource } from './pin.ts'
import { type OperationEvent, Progress } from './progress.ts'
import { claimSource, dataAtCall, type DataSource } from './source.ts'
import type { LoginUser, SoftwareObject, TokenObject } from './token.ts'
import type { ContextSession, FindOptions, TokenContext } from './token-context.ts'

/** How a session behaves; the library's own settings are the default. */
export interface SessionPolicy {
  /**
   * What an Init does that other active operations forbid: it is rejected, as the standard has it, or it ends those, once
   * it can fail no more, or it waits until they have ended.
   */
  readonly onConflict: ConflictPolicy | 'wait'
  /** Whether one-call functions (random) run beside active operations. The standard allows both. */
  readonly oneCallWhileActive: 'reject' | 'allow'
  /**
   * 'explicit', as PKCS#11 has it: private objects show after `login`. 'on-demand': they always show, and the use of a key
   * asks its PIN source when it needs the card's login.
   */
  readonly login: 'explicit' | 'on-demand'
  /** CKF_DUAL_CRYPTO_OPERATIONS: whether a session takes two operations that make a pair. */
  readonly dualOperations: boolean
}

/** Options of every operation. */
export interface OperationOptions {
  /** Default: the session's own. */
  readonly onConflict?: SessionPolicy['onConflict']
}

/** Options of one use of a private key. */
export interface KeyOptions extends OperationOptions {
  /** Asked for the PIN if the key or the login needs one; default: the session's own. */
  readonly pin?: PinSource
}

/** Options of `encryptStream`. */
export interface CipherStreamOptions extends OperationOptions {
  /** Told of each phase as it begins. */
  readonly onEvent?: ((event: OperationEvent<unknown>) => void) | undefined
}

/** Options of `login`. */
export interface LoginOptions {
  /** Ends the wait for the person or for another login; rejects with CKR_FUNCTION_CANCELED. */
  readonly signal?: AbortSignalLike
  /** Told of each phase as it begins. */
  readonly onEvent?: (event: OperationEvent<never>) => void
}

/** CK_SESSION_INFO. */
export interface SessionInfo {
  readonly slotId: string
  readonly state: CKS
  /** CKF_SERIAL_SESSION, and CKF_RW_SESSION if it may write. */
  readonly flags: number
  /** Errors of the card and the reader are causes of the errors that calls reject with. */
  readonly deviceError: 0
}

/** What a session is made of. */
export interface SessionParts {
  readonly context: TokenContext
  readonly readWrite: boolean
  readonly policy: SessionPolicy
  readonly pin: PinSource | undefined
  readonly randomBytes: (bytes: number) => Uint8Array
  readonly now: () => number
  /** Of the slot that opened it. */
  readonly slotId: string
  /** Friendly name of the reader. */
  readonly reader: string
  readonly isClosed: () => boolean
}

/** More would stand in the way of the page; a platform asked for more fails in its own way. */
const MAX_RANDOM_BYTES = 0x100_0000

/** Made by `Slot.openSession`. Safe to share: two callers conflict by the standard's rule, and neither is harmed. */
export class Session extends Closable implements ContextSession {
  readonly readWrite: boolean
  /** Fulfils when the session ends: with the reason, or with undefined if `close` was called. Never rejects. */
  readonly ended: Promise<CryptokiError | undefined>
  /** CKS_*: who is logged in, and whether this session may write. Hot; replays the latest; completes when the session ends. */
  readonly state$: Observable<CKS>
  readonly #parts: SessionParts
  readonly #context: TokenContext
  readonly #engine: OperationEngine
  readonly #init: Init
  readonly #isOpen = new BehaviorSubject(true)
  /** Ends the dialogs of logins under way. */
  readonly #logins = new Set<Progress>()
  #end: CryptokiError | undefined
  #closing: Promise<void> | undefined
  #tellEnd!: (reason: CryptokiError | undefined) => void

  constructor(parts: SessionParts) {
    super()
    const { context, policy, readWrite } = parts
    this.#parts = parts
    this.#context = context
    this.readWrite = readWrite
    this.#engine = new OperationEngine({
      dual: () => policy.dualOperations,
      oneCallWhileActive: policy.oneCallWhileActive,
    })
    this.#init = new Init({
      context,
      onDemand: policy.login === 'on-demand',
      now: parts.now,
      randomBytes: parts.randomBytes,
      pin: () => this.#pinSource,
      naming: (pin) => this.#naming(pin),
    })
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
    this.state$ = combineLatest([context.user$, this.#isOpen]).pipe(
      takeWhile(([, isOpen]) => isOpen),
      map(([user]) => stateOf(user, readWrite)),
      distinctUntilChanged(),
    )
    context.enter(this)
  }

  /** CKS_*, as `state$` tells it. Throws if the session has ended. */
  get state(): CKS {
    this.#check()
    return stateOf(this.#context.user, this.readWrite)
  }

  /** C_GetSessionInfo. Throws if the session has ended. */
  get info(): SessionInfo {
    const { state, readWrite } = this
    const flags = CKF.SERIAL_SESSION | (readWrite ? CKF.RW_SESSION : 0)
    return { slotId: this.#parts.slotId, state, flags, deviceError: 0 }
  }

  /** The operations active now: 0, 1 or 2. */
  get active(): readonly OperationType[] {
    return this.#engine.active
  }

  /** With a PIN pad nobody need be asked here (CKF_PROTECTED_AUTHENTICATION_PATH); the last attempt then finds nobody who says yes. */
  get #pinSource(): PinSource | undefined {
    return this.#parts.pin ?? (this.#context.usesPinPad ? nobody : undefined)
  }

  /** Whether private objects can be seen and made. */
  get #showsPrivate(): boolean {
    return this.#parts.policy.login === 'on-demand' || this.#context.user === CKU.USER
  }

  get #maker(): ObjectMaker {
    return {
      context: this.#context,
      session: this,
      showsPrivate: () => this.#showsPrivate,
      check: () => this.#check(),
      randomBytes: this.#parts.randomBytes,
    }
  }

  /** Two cards of one person have the same label: the reader tells them apart. */
  #naming(pin: PinSource): PinSource {
    return (request) => pin({ ...request, reader: this.#parts.reader })
  }

  /**
   * C_Login: moves every session that this application has with the token. The PIN source is asked once, and VERIFY is sent
   * at most once. With a PIN pad the source is asked only for a yes to the last attempt, or for the PIN if the pad turns out
   * not to be there. A login of another session that is under way is waited for.
   *
   * With CKU_CONTEXT_SPECIFIC it authorises the active operation whose key wants a PIN for each use; the card is held until
   * that operation has its data. Rejects with CKR_OPERATION_NOT_INITIALIZED if there is none.
   */
  async login(
    user: LoginUser | typeof CKU.CONTEXT_SPECIFIC,
    pin: PinSource | undefined = this.#pinSource,
    options: LoginOptions = {},
  ): Promise<void> {
    this.#check()
    if (pin === undefined)
      throw new CryptokiError(CKR.ARGUMENTS_BAD, {
        detail: 'login: neither the call nor the session has a PIN source',
      })
    if (typeof pin !== 'function')
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'login: the PIN source is not a function' })
    checkOptions(options)
    // What the listener throws is reported as rxjs does, and costs no login.
    const events = new Subject<OperationEvent<never>>()
    events.subscribe((event) => options.onEvent?.(event))
    const progress = new Progress((event) => events.next(event))
    const source = thenWorking(this.#naming(pin), progress)
    const leave = (): void => progress.abort(options.signal?.reason)
    if (options.signal?.aborted) leave()
    else options.signal?.addEventListener('abort', leave, { once: true })
    this.#logins.add(progress)
    try {
      if (user === CKU.CONTEXT_SPECIFIC) await this.#authorise(source, progress)
      else
        await this.#context.login(user, source, {
          ...progress.transmitOptions,
          onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }),
        })
    } catch (error) {
      if (user === CKU.CONTEXT_SPECIFIC) this.#context.keyFailed(error)
      // The session's own end is a better reason than "aborted".
      throw this.#end === undefined ? this.#translate(error) : progress.signal.reason
    } finally {
      options.signal?.removeEventListener('abort', leave)
      this.#logins.delete(progress)
    }
  }

  async #authorise(pin: PinSource, progress: Progress): Promise<void> {
    const wanting = this.#engine.operations.find((each) => each.wantsAuthorisation)
    if (wanting !== undefined) return wanting.authorise(pin, progress)
    throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED, {
      detail: 'no active operation wants a PIN of its own',
    })
  }

  /** C_Logout: takes the verified state back on the card, and ends the handles of private objects for good. */
  async logout(): Promise<void> {
    this.#check()
    await this.#context.logout()
  }

  /**
   * C_FindObjects: the objects that fit every attribute of the template, told as `found` one by one. Reads from the card only what the template
   * leaves open; name CLASS and ID, and one certificate at most is read. To find the best of several, ask for one after
   * the other (`max: 1`, then `after` that one), and stop at the first that will do.
   */
  findObjects(
    template: Attributes = {},
    options: FindOptions & OperationOptions = {},
  ): Operation<readonly CkObject[]> {
    let fitting: Attributes
    let which: FindOptions
    try {
      fitting = templateAtCall(template)
      which = findOptionsAtCall(options)
    } catch (error) {
      return this.#refused(error)
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

  /**
   * C_FindObjectsInit, for a caller that asks for the objects itself, some at a time. Throws what an Init refuses; it is
   * active until `final` is called.
   */
  beginSearch(template: Attributes = {}, options: FindOptions = {}): ActiveSearch {
    this.#check()
    const onConflict = conflictOf(this.#parts.policy.onConflict)
    this.#engine.admit(['search'], onConflict)
    const fitting = templateAtCall(template)
    const which = findOptionsAtCall(options)
    const { operations, announce } = this.#engine.begin([{ type: 'search', endsOnLogout: true }], onConflict)
    const search = new ActiveSearch(
      operations[0] as ActiveOperation,
      (progress) => this.#find(fitting, which, progress),
      (error) => this.#translate(error),
    )
    announce()
    return search
  }

  #find(
    template: Attributes,
    which: FindOptions,
    progress: Progress,
  ): AsyncGenerator<CkObject, void, undefined> {
    const options = { ...progress.transmitOptions, ...which }
    return this.#context.find(template, this.#showsPrivate, options)
  }

  /** C_GetAttributeValue. Throws CKR_OBJECT_HANDLE_INVALID, and CKR_ATTRIBUTE_TYPE_INVALID if one is missing. */
  getAttributes<K extends keyof AttributeTypes>(
    object: CkObject,
    ...types: readonly K[]
  ): Pick<AttributeTypes, K> {
    this.#check()
    checkHandle(object, this.#context)
    return Object.fromEntries(types.map((type) => [type, object.get(type)])) as Pick<AttributeTypes, K>
  }

  /**
   * C_GetAttributeValue as C has it: gives what can be had, and tells which of the others are secrets and which the object
   * does not have. Any number is taken as a type. Throws CKR_OBJECT_HANDLE_INVALID, CKR_ARGUMENTS_BAD.
   */
  readAttributes<K extends number>(object: CkObject, types: readonly K[]): AttributeReading<K> {
    this.#check()
    checkHandle(object, this.#context)
    if (!Array.isArray(types)) throw badOption('types')
    return object.read(types)
  }

  /**
   * C_CreateObject, of a session object: an AES key or generic secret, a public key (RSA, P-256, P-384, P-521, Ed25519), data or
   * an X.509 certificate. It lives in this page's memory until the session that made it ends. Bytes are copied. A secret key
   * has CKA_SENSITIVE true and CKA_EXTRACTABLE false by default. Rejects with CKR_TEMPLATE_INCOMPLETE,
   * CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_VALUE_INVALID, CKR_CURVE_NOT_SUPPORTED, for CKA_TOKEN
   * with CKR_SESSION_READ_ONLY or CKR_TOKEN_WRITE_PROTECTED, and for a private object without a login with
   * CKR_USER_NOT_LOGGED_IN.
   */
  async createObject(template: Attributes): Promise<CkObject> {
    this.#check()
    const own = templateAtCall(template)
    try {
      const { createObject } = await objectFunctions()
      return await createObject(this.#maker, own)
    } finally {
      own[CKA.VALUE]?.fill(0)
    }
  }

  /**
   * C_CopyObject: a session object with the attributes of the template in place of the original's. Of an object of the token
   * with CKA_TOKEN false in the template. Rejects as `createObject` does, and with CKR_OBJECT_HANDLE_INVALID,
   * CKR_ACTION_PROHIBITED for an object that is not CKA_COPYABLE.
   */
  async copyObject(object: CkObject, template: Attributes = {}): Promise<CkObject> {
    this.#check()
    checkHandle(object, this.#context)
    const own = templateAtCall(template)
    const { copyObject } = await objectFunctions()
    return copyObject(this.#maker, object, own)
  }

  /**
   * C_SetAttributeValue, of session objects: all attributes of the template, or none. Throws CKR_OBJECT_HANDLE_INVALID,
   * CKR_ACTION_PROHIBITED for an object that is not CKA_MODIFIABLE or is on the card, CKR_ATTRIBUTE_READ_ONLY,
   * CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID.
   */
  setAttributes(object: CkObject, template: Attributes): void {
    this.#check()
    this.#software(object).change(templateAtCall(template))
  }

  /** C_GetObjectSize: bytes that the values of its attributes take; null for an object on the card, which does not tell. */
  objectSize(object: CkObject): number | null {
    this.#check()
    return checkHandle(object, this.#context).software?.size ?? null
  }

  /**
   * C_DestroyObject, of session objects. Throws CKR_OBJECT_HANDLE_INVALID, CKR_ACTION_PROHIBITED for an object that is not
   * CKA_DESTROYABLE or is on the card.
   */
  destroyObject(object: CkObject): void {
    this.#check()
    if (this.#software(object).attributes[CKA.DESTROYABLE] === false)
      throw new CryptokiError(CKR.ACTION_PROHIBITED)
    this.#context.destroy(object)
  }

  /** C_GenerateKey: a secret key of CKA_VALUE_LEN random bytes. Rejects as `createObject` does, and with CKR_MECHANISM_INVALID. */
  generateKey(mechanism: GenerateMechanism, template: Attributes): Operation<CkObject> {
    return this.#withTemplate(mechanism, template, {}, (own, fitting) => ({
      endsOnLogout: false,
      run: async (progress) => {
        const { generateKey } = await objectFunctions()
        progress.check()
        return generateKey(this.#maker, own, fitting)
      },
    }))
  }

  /**
   * C_WrapKey: ends in the encrypted value of a session key that is CKA_EXTRACTABLE. Rejects with CKR_KEY_UNEXTRACTABLE,
   * CKR_KEY_NOT_WRAPPABLE (a key on the card), CKR_KEY_SIZE_RANGE, CKR_WRAPPING_KEY_HANDLE_INVALID and alike.
   */
  wrapKey(mechanism: WrapMechanism, wrappingKey: CkObject, key: CkObject): Operation<Uint8Array> {
    let taken: KeyToWrap | undefined
    return this.#withKey(
      'wrap',
      mechanism,
      wrappingKey,
      {},
      {},
      {
        begin: () => {
          const { software } = checkHandle(key, this.#context, CKR.KEY_HANDLE_INVALID)
          taken = { attributes: key.attributes, value: software?.value() }
        },
        run: ({ wrapKey }, work, call, progress) => wrapKey(work, call, taken as KeyToWrap, progress),
        end: () => taken?.value?.fill(0),
      },
    )
  }

  /**
   * C_UnwrapKey: ends in a session key. The key of a card logs in and asks as it does to decrypt. Whatever is wrong with the
   * bytes is CKR_WRAPPED_KEY_LEN_RANGE or CKR_WRAPPED_KEY_INVALID, and with CKM_RSA_PKCS a key that nobody else has: who may
   * try as often as they like learns no more.
   */
  unwrapKey(
    mechanism: WrapMechanism,
    unwrappingKey: CkObject,
    wrapped: Uint8Array,
    template: Attributes,
    options: KeyOptions = {},
  ): Operation<CkObject> {
    if (!isByteSource(wrapped)) return this.#refused(badOption('the wrapped key'))
    const own = copyOf(wrapped)
    return this.#withKey('unwrap', mechanism, unwrappingKey, template, options, {
      run: ({ unwrapKey }, work, call, progress) => unwrapKey(this.#maker, work, call, own, progress),
    })
  }

  /**
   * C_DeriveKey: ends in a session key of the secret that the base key and the other party's public key share. CKA_VALUE_LEN is
   * needed but for a generic secret of CKD_NULL. Rejects with CKR_MECHANISM_PARAM_INVALID for a point that is not on the curve.
   */
  deriveKey(
    mechanism: DeriveMechanism,
    baseKey: CkObject,
    template: Attributes,
    options: KeyOptions = {},
  ): Operation<CkObject> {
    return this.#withKey('derive', mechanism, baseKey, template, options, {
      run: ({ deriveKey }, work, call, progress) => deriveKey(this.#maker, work, call, progress),
    })
  }

  /**
   * C_DigestKey: adds the value of a session key that is CKA_EXTRACTABLE and not CKA_SENSITIVE to a digest of `begin`. Rejects with
   * CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE, and the digest goes on; with CKR_OPERATION_NOT_INITIALIZED if it has ended.
   */
  async digestKey(digest: ActiveOperation, key: CkObject): Promise<void> {
    this.#check()
    if (digest.type !== 'digest' || !this.#engine.operations.includes(digest))
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    const { software } = checkHandle(key, this.#context, CKR.KEY_HANDLE_INVALID)
    // The digest of a short secret tells it.
    const { [CKA.EXTRACTABLE]: isExtractable, [CKA.SENSITIVE]: isSensitive } = key.attributes
    const isReadable = isExtractable === true && isSensitive === false
    const value = isReadable ? software?.value() : undefined
    if (value === undefined) throw new CryptokiError(CKR.KEY_INDIGESTIBLE)
    try {
      await digest.update(value)
    } finally {
      value.fill(0)
    }
  }

  /** A function of one call with a template. Arguments count as they are at the call. */
  #withTemplate<T>(
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
      return this.#refused(error)
    }
    return this.#oneCall(() => prepare(own, fitting))
  }

  /** The same with a key, which may be on the card. */
  #withKey<T>(
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
    return this.#withTemplate(mechanism, template, options, (own, fitting) => {
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

  #software(object: CkObject): SoftwareObject {
    const { software } = checkHandle(object, this.#context)
    if (software === undefined) throw new CryptokiError(CKR.ACTION_PROHIBITED)
    return software
  }

  /** C_Digest: ends in the digest. */
  digest(
    mechanism: DigestMechanism,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'digest', mechanism }, data, options)
  }

  /** C_Sign: ends in the signature, ECDSA as r‖s (PKCS#11 v2.40, 2.3.1). */
  sign(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'sign', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_Verify, in software: ends in true if the signature fits, errors with CKR_SIGNATURE_INVALID if not. */
  verify(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    signature: SignatureSource,
    options: OperationOptions = {},
  ): Operation<true> {
    return this.#single({ type: 'verify', mechanism, key, signature }, data, options)
  }

  /** C_SignRecover: ends in a signature from which `verifyRecover` gives the data back. The data must fit the key. */
  signRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'sign-recover', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_VerifyRecover, in software: ends in the data that were signed, errors with CKR_SIGNATURE_INVALID if there are none. */
  verifyRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    signature: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'verify-recover', mechanism, key }, signature, options)
  }

  /** C_Encrypt: tells `output` as it comes, ends in all of it (`MAX_RESULT_BYTES` at most). */
  encrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'encrypt', mechanism, key }, data, options)
  }

  /** C_Decrypt: tells `output` as it comes, ends in all of it (`MAX_RESULT_BYTES` at most). */
  decrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'decrypt', mechanism, key, ...pinOf(options) }, data, options)
  }

  /**
   * C_EncryptInit, and the rest as a pair of web streams: `file.stream().pipeThrough(session.encryptStream(…)).pipeTo(…)`. The
   * result may be of any length, and a slow reader makes the source wait. Init is made in this call. What it refuses, and
   * whatever ends the operation later, errors both sides; to abort or cancel one side ends the operation at once.
   */
  encryptStream(mechanism: CipherMechanism, key: CkObject, options: CipherStreamOptions = {}): CipherStream {
    return this.#stream({ type: 'encrypt', mechanism, key }, options)
  }

  /** C_DecryptInit, and the rest as `encryptStream` does it. What comes out is to be trusted only when the stream has closed. */
  decryptStream(
    mechanism: CipherMechanism,
    key: CkObject,
    options: CipherStreamOptions & KeyOptions = {},
  ): CipherStream {
    return this.#stream({ type: 'decrypt', mechanism, key, ...pinOf(options) }, options)
  }

  /**
   * The dual functions (PKCS#11 v2.40, 5.12) over one source: digest+encrypt and sign+encrypt see the plain chunks,
   * decrypt+digest and decrypt+verify what the decryption puts out, its last bytes included. Ends in both results, in
   * the order of the arguments. Any other pair is refused with CKR_OPERATION_ACTIVE.
   */
  together<A extends OperationSpec, B extends PartnerOf<A>>(
    first: A,
    second: B,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<readonly [ResultOf<A>, ResultOf<B>]> {
    return this.#specified([first, second], data, options, (values) => values) as Operation<
      readonly [ResultOf<A>, ResultOf<B>]
    >
  }

  /**
   * Init of one operation, or of two that make a pair, for a caller that drives it call by call, as C functions do. It is
   * synchronous and complete; the data come with the calls of what it returns. A mechanism of null cancels the active
   * operation of that type instead (PKCS#11 v3.0, 5.8.1), and throws CKR_ARGUMENTS_BAD if there is none.
   */
  begin(...specs: readonly (RawOperationSpec | CancellingSpec)[]): readonly ActiveOperation[] {
    this.#check()
    if (specs.some((spec) => spec?.mechanism === null)) {
      this.#cancelBy(specs as readonly CancellingSpec[])
      return []
    }
    return this.#begin(specs as readonly RawOperationSpec[])
  }

  #cancelBy(specs: readonly CancellingSpec[]): void {
    const [spec, ...others] = specs
    const type = spec?.type
    if (type === undefined || others.length > 0 || !this.active.includes(type))
      throw new CryptokiError(CKR.ARGUMENTS_BAD, {
        detail: 'the mechanism is null, and nothing can be cancelled',
      })
    this.cancel([type])
  }

  #begin(specs: readonly RawOperationSpec[]): readonly ActiveOperation[] {
    const asked = specs.map(specAtCall)
    const onConflict = conflictOf(this.#parts.policy.onConflict)
    this.#engine.admit(
      asked.map(({ type }) => type),
      onConflict,
    )
    const wanted = asked.map((spec) => this.#init.operation(spec, false))
    const { operations, announce } = this.#engine.begin(wanted, onConflict)
    for (const each of operations) {
      each.explain = (error) => {
        const translated = this.#translate(error)
        this.#context.keyFailed(error)
        return translated
      }
    }
    announce()
    return operations
  }

  /**
   * C_DigestEncryptUpdate, C_SignEncryptUpdate, C_DecryptDigestUpdate, C_DecryptVerifyUpdate, over two operations of `begin`
   * in any order. Resolves to the cipher's output. The other half gets nothing unless the cipher has given its output: after
   * CKR_BUFFER_TOO_SMALL the call can be repeated. Rejects with CKR_OPERATION_NOT_INITIALIZED, and harms neither, unless
   * both are active in this session.
   */
  async updateTogether(
    operations: readonly [ActiveOperation, ActiveOperation],
    chunk: Uint8Array,
    options: OutputOptions = {},
  ): Promise<Uint8Array> {
    this.#check()
    if (!isByteSource(chunk)) throw badOption('the chunk')
    const own = copyOf(chunk)
    const active = this.#engine.operations
    const cipher = operations.find(({ type }) => type === 'encrypt' || type === 'decrypt')
    const other = operations.find((each) => each !== cipher)
    const areActive = operations.every((each) => active.includes(each))
    if (cipher === undefined || other === undefined || !areActive)
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    const output = await cipher.update(own, options)
    await other.update(cipher.type === 'decrypt' ? output : own)
    return output
  }

  /** C_GenerateRandom: from the card if it has a generator, else from the platform's. At most 16 MiB. */
  random(bytes: number): Operation<Uint8Array> {
    return this.#oneCall(() => {
      if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_RANDOM_BYTES)
        throw new CryptokiError(CKR.ARGUMENTS_BAD, {
          detail: `random: the number of bytes must be between 0 and ${MAX_RANDOM_BYTES}`,
        })
      const { token } = this.#context
      const run = async ({ transmitOptions }: Progress): Promise<Uint8Array> =>
        token.random === undefined ? this.#parts.randomBytes(bytes) : token.random(bytes, transmitOptions)
      return { endsOnLogout: false, run }
    })
  }

  /** C_SeedRandom. The generators of cards and platforms seed themselves: rejects with CKR_RANDOM_SEED_NOT_SUPPORTED. */
  async seedRandom(seed: Uint8Array): Promise<void> {
    this.#check()
    if (!isByteSource(seed)) throw badOption('seed')
    this.#engine.checkOneCall()
    throw new CryptokiError(CKR.RANDOM_SEED_NOT_SUPPORTED)
  }

  /**
   * C_GetOperationState. No state is saved here: those of ciphers and signatures are within WebCrypto or the card, and a digest
   * alone would save nobody much. Throws CKR_OPERATION_NOT_INITIALIZED, else CKR_STATE_UNSAVEABLE; the operations go on.
   */
  operationState(): never {
    this.#check()
    throw new CryptokiError(this.active.length === 0 ? CKR.OPERATION_NOT_INITIALIZED : CKR.STATE_UNSAVEABLE)
  }

  /** C_SetOperationState. Throws CKR_SAVED_STATE_INVALID, because no state was ever saved here; the operations go on. */
  setOperationState(): never {
    this.#check()
    throw new CryptokiError(CKR.SAVED_STATE_INVALID)
  }

  /** C_SessionCancel: ends the active operations of these types, all if none is named; their streams error. */
  cancel(types: readonly OperationType[] = this.active): void {
    this.#check()
    this.#engine.cancel((each) => types.includes(each.type), new CryptokiError(CKR.FUNCTION_CANCELED))
  }

  /** C_CloseSession: ends its operations; the last session of a token logs out. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#end !== undefined) return
    this.#finish(new CryptokiError(CKR.SESSION_CLOSED), undefined)
    await this.#context.leave(this)
  }

  /** The token has gone, or its slot closes every session: running operations end with this error. */
  end(error: CryptokiError): void {
    if (this.#end === undefined) this.#finish(error, error)
  }

  get usesPrivateKey(): boolean {
    return this.#engine.usesPrivateKey
  }

  /** The user logged out: private keys and searches end, the rest goes on. */
  loggedOut(): void {
    this.#engine.loggedOut(new CryptokiError(CKR.USER_NOT_LOGGED_IN))
  }

  #finish(error: CryptokiError, reason: CryptokiError | undefined): void {
    // A call after the end is told that the handle is no session any more; why it ended stands in the cause.
    this.#end = new CryptokiError(CKR.SESSION_HANDLE_INVALID, { cause: error })
    this.#engine.close(error)
    for (const login of this.#logins) login.abort(error)
    this.#isOpen.next(false)
    this.#tellEnd(reason)
  }

  #check(): void {
    if (this.#parts.isClosed()) throw new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
    if (this.#end !== undefined) throw this.#end
  }

  #translate(error: unknown): CryptokiError {
    return this.#context.translate(error)
  }

  #single<S extends OperationSpec | RecoverSpec>(
    spec: S,
    data: DataSource,
    options: OperationOptions,
  ): Operation<ResultOf<S>> {
    return this.#specified([spec], data, options, ([value]) => value) as Operation<ResultOf<S>>
  }

  #specified(
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
      return this.#refused(error)
    }
    return this.#operation(
      own.map(({ type }) => type),
      () => prepare(own),
      options,
    )
  }

  #stream(spec: RawOperationSpec, options: CipherStreamOptions): CipherStream {
    return cipherStream((move, signal) =>
      this.#begun([spec], options, ([own]) => ({
        wanted: [this.#init.operation(own as RawOperationSpec, true)],
        run: ([active], progress) => move(active as ActiveOperation, progress),
      })).result({ signal, onEvent: (options as CipherStreamOptions | null)?.onEvent }),
    )
  }

  /** A call whose arguments are none: told when the operation begins, as everything that an Init refuses. */
  #refused(error: unknown): Operation<never> {
    return operation(
      () => {
        this.#check()
        throw error
      },
      (thrown) => this.#translate(thrown),
    )
  }

  /** A stream over the engine: Init in the order of the standard, and nothing is ended before it can fail no more. */
  #operation<T>(
    types: readonly OperationType[],
    prepare: () => Prepared<T>,
    options: OperationOptions,
  ): Operation<T> {
    const policy = options.onConflict ?? this.#parts.policy.onConflict
    const onConflict = conflictOf(policy)
    return operation(
      (): Started<T> => {
        this.#check()
        // Refused for other operations' sake before key and mechanism are looked at, ended only after.
        this.#engine.admit(types, onConflict)
        const prepared = prepare()
        const { operations, announce } = this.#engine.begin(prepared.wanted, onConflict)
        return {
          operations,
          announce,
          failed: (error) => this.#context.keyFailed(error),
          run: (progress) => prepared.run(operations, progress),
        }
      },
      (error) => this.#translate(error),
      policy === 'wait' ? this.#queue(types) : undefined,
    )
  }

  /**
   * A function of one call, as an operation that is never active: it can be aborted and tells its phases, and what ends the
   * session or the login ends it.
   */
  #oneCall<T>(prepare: () => PreparedCall<T>): Operation<T> {
    return operation(
      (): Started<T> => {
        this.#check()
        this.#engine.checkOneCall()
        const prepared = prepare()
        const call = this.#engine.call(prepared.endsOnLogout, () => prepared.end?.())
        return {
          operations: [call],
          failed: (error) => this.#context.keyFailed(error),
          run: (progress) => prepared.run(progress),
        }
      },
      (error) => this.#translate(error),
    )
  }

  /** For `onConflict: 'wait'`. */
  #queue(types: readonly OperationType[]): WaitingLine {
    return {
      mustWait: () => this.#end === undefined && this.#engine.mustWait(types),
      wait: (begin, refuse) => this.#engine.wait(types, begin, refuse),
    }
  }
}

function stateOf(user: LoginUser | undefined, readWrite: boolean): CKS {
  if (user === CKU.SO) return CKS.RW_SO_FUNCTIONS
  if (user === CKU.USER) return readWrite ? CKS.RW_USER_FUNCTIONS : CKS.RO_USER_FUNCTIONS
  return readWrite ? CKS.RW_PUBLIC_SESSION : CKS.RO_PUBLIC_SESSION
}

/** An Init that waited for its place finds it free. */
function conflictOf(policy: SessionPolicy['onConflict']): ConflictPolicy {
  return policy === 'abandon' ? 'abandon' : 'reject'
}

/** Options that are none are refused later, when the operation begins. */
function pinOf(options: KeyOptions | null): { pin?: PinSource } {
  return options?.pin === undefined ? {} : { pin: options.pin }
}

/** The PIN source of a page that leaves all to the PIN pad. */
const nobody: PinSource = ({ pinPad }) => {
  if (pinPad) return undefined
  const detail = 'the reader has no PIN pad after all; give the session or the call a PIN source'
  throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
}

/** What can be refused has been; nothing is touched yet. */
interface Prepared<T> {
  readonly wanted: readonly WantedOperation[]
  run(operations: readonly ActiveOperation[], progress: Progress): Promise<T>
}

/** C_SignInit and others with a mechanism of NULL. */
export interface CancellingSpec {
  readonly type: Exclude<OperationType, 'search'>
  readonly mechanism: null
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

/** Options may be left out; anything but an object is a mistake, such as a PIN source that is not within one. */
function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw badOption('options')
}

/** Throws CKR_ARGUMENTS_BAD. */
function findOptionsAtCall(options: FindOptions): FindOptions {
  checkOptions(options)
  const { max = Number.MAX_SAFE_INTEGER, after, onUnreadable } = options
  if (!Number.isSafeInteger(max) || max < 0) throw badOption('max')
  if (after !== undefined && !(after instanceof CkObject)) throw badOption('after')
  if (onUnreadable !== undefined && typeof onUnreadable !== 'function') throw badOption('onUnreadable')
  return { max, after, onUnreadable }
}

function badOption(name: string): CryptokiError {
  return new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${name} is not what the call takes` })
}

function checkHandle(
  object: unknown,
  context: TokenContext,
  rv: CKR = CKR.OBJECT_HANDLE_INVALID,
): TokenObject {
  if (!(object instanceof CkObject))
    throw new CryptokiError(rv, { detail: 'no object was given; the search found none' })
  return object.sourceFor(context, rv)
}

/** Loaded by the first who makes an object. */
const objectFunctions = () => import('./object-functions.ts')
type ObjectFunctions = Awaited<ReturnType<typeof objectFunctions>>
