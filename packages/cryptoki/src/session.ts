/** Sessions: PKCS#11 v2.40, 5.6 "Session management", and v2.20, 13.1 "Operations, sessions, and threads". */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { BehaviorSubject, combineLatest, distinctUntilChanged, map, type Observable, takeWhile } from 'rxjs'
import { ActiveSearch } from './active-search.ts'
import { type Attributes, type AttributeTypes, templateAtCall } from './attributes.ts'
import type { CipherStream } from './cipher-stream.ts'
import { CKF } from './ckf.ts'
import { CKA, CKR, CKS, CKU } from './constants.ts'
import type { ActiveOperation, OutputOptions } from './engine.ts'
import { CryptokiError } from './errors.ts'
import type {
  CipherMechanism,
  DeriveMechanism,
  DigestMechanism,
  GenerateMechanism,
  RecoverMechanism,
  SignatureMechanism,
  WrapMechanism,
} from './mechanisms.ts'
import type { KeyToWrap, ObjectMaker } from './object-functions.ts'
import { type AttributeReading, CkObject } from './object.ts'
import type { OperationType } from './operation-rules.ts'
import type {
  OperationSpec,
  PartnerOf,
  RawOperationSpec,
  ResultOf,
  SignatureSource,
} from './operation-spec.ts'
import type { Operation } from './operation.ts'
import type { PinSource } from './pin.ts'
import { Progress } from './progress.ts'
import { badOption, checkHandle, checkRandomBytes, padOnly, pinOf } from './session-arguments.ts'
import { SessionLogins, stateOf } from './session-logins.ts'
import { objectFunctions, SessionOperations } from './session-operations.ts'
import type {
  CancellingSpec,
  CipherStreamOptions,
  KeyOptions,
  LoginOptions,
  OperationOptions,
  SessionInfo,
  SessionParts,
} from './session-options.ts'
import type { DataSource } from './source.ts'
import type { ContextSession, FindOptions, TokenContext } from './token-context.ts'
import type { LoginUser, SoftwareObject } from './token.ts'

/**
 * A session, created by `Slot.openSession`. It is safe to share: if the operations of two callers conflict, the second is
 * rejected as the standard requires, and the first continues.
 */
export class Session extends Closable implements ContextSession {
  readonly readWrite: boolean
  /** Resolves when the session ends: to the reason, or to undefined if `close` was called. Never rejects. */
  readonly ended: Promise<CryptokiError | undefined>
  /** CKS_*: the logged-in user, and whether the session is read/write. Hot; replays the latest; completes when the session ends. */
  readonly state$: Observable<CKS>
  readonly #parts: SessionParts
  readonly #context: TokenContext
  readonly #operations: SessionOperations
  readonly #isOpen = new BehaviorSubject(true)
  readonly #logins: SessionLogins
  #end: CryptokiError | undefined
  #closing: Promise<void> | undefined
  #resolveEnded!: (reason: CryptokiError | undefined) => void

  constructor(parts: SessionParts) {
    super()
    const { context, policy, readWrite } = parts
    this.#parts = parts
    this.#context = context
    this.readWrite = readWrite
    this.#operations = new SessionOperations(
      {
        context,
        policy,
        check: () => this.#check(),
        hasEnded: () => this.#end !== undefined,
        showsPrivate: () => this.#showsPrivate,
      },
      {
        context,
        onDemand: policy.login === 'on-demand',
        now: parts.now,
        randomBytes: parts.randomBytes,
        pin: () => this.#pinSource,
        withReader: (pin, subject) => this.#withReader(pin, subject),
      },
    )
    this.#logins = new SessionLogins({
      context,
      engine: this.#operations.engine,
      withReader: (pin, subject) => this.#withReader(pin, subject),
    })
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    this.state$ = combineLatest([context.user$, this.#isOpen]).pipe(
      takeWhile(([, isOpen]) => isOpen),
      map(([user]) => stateOf(user, readWrite)),
      distinctUntilChanged(),
    )
    context.addSession(this)
  }

  /** The current value of `state$` (CKS_*). Throws if the session has ended. */
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

  /** The types of the active operations: 0, 1 or 2. */
  get active(): readonly OperationType[] {
    return this.#operations.engine.active
  }

  /**
   * A PIN pad needs no PIN source (CKF_PROTECTED_AUTHENTICATION_PATH). Without one, the last attempt is never used, because
   * nobody can consent to it.
   */
  get #pinSource(): PinSource | undefined {
    return this.#parts.pin ?? (this.#context.usesPinPad ? padOnly : undefined)
  }

  /** Whether private objects are visible and may be created. */
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

  /** Adds the reader's name to PIN requests, because two cards of the same person can have the same label. */
  #withReader(pin: PinSource, subject: string | undefined): PinSource {
    return (request) => pin({ ...request, reader: this.#parts.reader, for: subject })
  }

  /**
   * C_Login: changes the state of every session that this application has with the token. It calls the PIN source once and
   * sends VERIFY at most once. With a PIN pad, it calls the source only for consent to the last attempt, or for the PIN if
   * the pad turns out to be unusable. If a login of another session is in progress, it waits for that one to finish.
   *
   * With CKU_CONTEXT_SPECIFIC it authorises the active operation whose key requires a PIN for each use, and keeps the card
   * locked until that operation has all of its data. Rejects with CKR_OPERATION_NOT_INITIALIZED if no operation requires it.
   */
  async login(
    user: LoginUser | typeof CKU.CONTEXT_SPECIFIC,
    pin: PinSource | undefined = this.#pinSource,
    options: LoginOptions = {},
  ): Promise<void> {
    this.#check()
    await this.#logins.login(user, pin, options)
  }

  /** C_Logout: resets the verified state on the card and permanently invalidates the handles of private objects. */
  async logout(): Promise<void> {
    this.#check()
    await this.#context.logout()
  }

  /**
   * C_FindObjects: resolves to the objects that match every attribute of the template, and emits each as a `found` event. It
   * reads an object from the card only if the attributes known without the card match. With CLASS and ID in the template, it
   * reads at most one certificate. To choose among several objects, search for them one at a time (`max: 1`, then `after`
   * the previous one) and stop at the first suitable one.
   */
  findObjects(
    template: Attributes = {},
    options: FindOptions & OperationOptions = {},
  ): Operation<readonly CkObject[]> {
    return this.#operations.search(template, options)
  }

  /**
   * C_FindObjectsInit, for callers that fetch the objects in several calls. Throws the errors of an Init. The search is active
   * until `final` is called.
   */
  beginSearch(template: Attributes = {}, options: FindOptions = {}): ActiveSearch {
    this.#check()
    return this.#operations.beginSearch(template, options)
  }

  /**
   * C_GetAttributeValue. Throws CKR_OBJECT_HANDLE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID if the object lacks one of the
   * attributes, CKR_ATTRIBUTE_SENSITIVE for the secret of a key.
   */
  getAttributes<K extends keyof AttributeTypes>(
    object: CkObject,
    ...types: readonly K[]
  ): Pick<AttributeTypes, K> {
    this.#check()
    checkHandle(object, this.#context)
    return Object.fromEntries(types.map((type) => [type, object.get(type)])) as Pick<AttributeTypes, K>
  }

  /**
   * C_GetAttributeValue with the partial results of the C function: returns the available values, and lists the types that
   * are sensitive and those that the object does not have. Accepts any number as a type. Throws CKR_OBJECT_HANDLE_INVALID,
   * CKR_ARGUMENTS_BAD.
   */
  readAttributes<K extends number>(object: CkObject, types: readonly K[]): AttributeReading<K> {
    this.#check()
    checkHandle(object, this.#context)
    if (!Array.isArray(types)) throw badOption('types')
    return object.read(types)
  }

  /**
   * C_CreateObject: creates a session object, which is an AES key or generic secret, a public key (RSA, P-256, P-384, P-521,
   * Ed25519), a data object or an X.509 certificate. The object exists in the page's memory until this session ends. Bytes
   * are copied. By default, a secret key has CKA_SENSITIVE true and CKA_EXTRACTABLE false. Rejects with
   * CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_VALUE_INVALID,
   * CKR_CURVE_NOT_SUPPORTED; if CKA_TOKEN is true, with CKR_SESSION_READ_ONLY or CKR_TOKEN_WRITE_PROTECTED; for a private
   * object without a login, with CKR_USER_NOT_LOGGED_IN.
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
   * C_CopyObject: creates a session object with the attributes of `object`, of which the template replaces some. To copy a
   * token object, set CKA_TOKEN to false in the template. Rejects as `createObject` does, and with
   * CKR_OBJECT_HANDLE_INVALID, CKR_ACTION_PROHIBITED for an object that is not CKA_COPYABLE.
   */
  async copyObject(object: CkObject, template: Attributes = {}): Promise<CkObject> {
    this.#check()
    checkHandle(object, this.#context)
    const own = templateAtCall(template)
    const { copyObject } = await objectFunctions()
    return copyObject(this.#maker, object, own)
  }

  /**
   * C_SetAttributeValue for session objects: sets all attributes of the template or none. Throws CKR_OBJECT_HANDLE_INVALID,
   * CKR_ACTION_PROHIBITED for an object that is not CKA_MODIFIABLE or is on the card, CKR_ATTRIBUTE_READ_ONLY,
   * CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID.
   */
  setAttributes(object: CkObject, template: Attributes): void {
    this.#check()
    this.#software(object).change(templateAtCall(template))
  }

  /** C_GetObjectSize: the total size of the attribute values in bytes; null for an object on the card, whose size is unknown. */
  objectSize(object: CkObject): number | null {
    this.#check()
    return checkHandle(object, this.#context).software?.size ?? null
  }

  /**
   * C_DestroyObject for session objects. Throws CKR_OBJECT_HANDLE_INVALID, CKR_ACTION_PROHIBITED for an object that is not
   * CKA_DESTROYABLE or is on the card.
   */
  destroyObject(object: CkObject): void {
    this.#check()
    if (this.#software(object).attributes[CKA.DESTROYABLE] === false)
      throw new CryptokiError(CKR.ACTION_PROHIBITED)
    this.#context.destroy(object)
  }

  /**
   * C_GenerateKey: creates a secret session key of CKA_VALUE_LEN random bytes. Rejects as `createObject` does, and with
   * CKR_MECHANISM_INVALID.
   */
  generateKey(mechanism: GenerateMechanism, template: Attributes): Operation<CkObject> {
    return this.#operations.withTemplate(mechanism, template, {}, (ownMechanism, ownTemplate) => ({
      endsOnLogout: false,
      run: async (progress) => {
        const { generateKey } = await objectFunctions()
        progress.check()
        return generateKey(this.#maker, ownMechanism, ownTemplate)
      },
    }))
  }

  /**
   * C_WrapKey: resolves to the encrypted value of a session key that is CKA_EXTRACTABLE. Rejects with CKR_KEY_UNEXTRACTABLE,
   * CKR_KEY_NOT_WRAPPABLE for a key on the card, CKR_KEY_SIZE_RANGE, CKR_WRAPPING_KEY_HANDLE_INVALID and similar.
   */
  wrapKey(mechanism: WrapMechanism, wrappingKey: CkObject, key: CkObject): Operation<Uint8Array> {
    let keyToWrap: KeyToWrap | undefined
    return this.#operations.withKey(
      'wrap',
      mechanism,
      wrappingKey,
      {},
      {},
      {
        begin: () => {
          const { software } = checkHandle(key, this.#context, CKR.KEY_HANDLE_INVALID)
          keyToWrap = { attributes: key.attributes, value: software?.value() }
        },
        run: ({ wrapKey }, work, call, progress) => wrapKey(work, call, keyToWrap as KeyToWrap, progress),
        end: () => keyToWrap?.value?.fill(0),
      },
    )
  }

  /**
   * C_UnwrapKey: resolves to a session key. A key on the card requires the same login and PIN as for decryption. Invalid bytes
   * reject with CKR_WRAPPED_KEY_LEN_RANGE or CKR_WRAPPED_KEY_INVALID. With CKM_RSA_PKCS, invalid padding yields a pseudo-random
   * key instead of an error, so that repeated attempts do not reveal whether the padding was valid.
   */
  unwrapKey(
    mechanism: WrapMechanism,
    unwrappingKey: CkObject,
    wrapped: Uint8Array,
    template: Attributes,
    options: KeyOptions = {},
  ): Operation<CkObject> {
    if (!isByteSource(wrapped)) return this.#operations.refused(badOption('the wrapped key'))
    const own = copyOf(wrapped)
    return this.#operations.withKey('unwrap', mechanism, unwrappingKey, template, options, {
      run: ({ unwrapKey }, work, call, progress) => unwrapKey(this.#maker, work, call, own, progress),
    })
  }

  /**
   * C_DeriveKey: resolves to a session key, derived from the shared secret of the base key and the other party's public key.
   * CKA_VALUE_LEN is required except for a generic secret with CKD_NULL. Rejects with CKR_MECHANISM_PARAM_INVALID for a point
   * that is not on the curve.
   */
  deriveKey(
    mechanism: DeriveMechanism,
    baseKey: CkObject,
    template: Attributes,
    options: KeyOptions = {},
  ): Operation<CkObject> {
    return this.#operations.withKey('derive', mechanism, baseKey, template, options, {
      run: ({ deriveKey }, work, call, progress) => deriveKey(this.#maker, work, call, progress),
    })
  }

  /**
   * C_DigestKey: adds the value of a session key that is CKA_EXTRACTABLE and not CKA_SENSITIVE to a digest from `begin`.
   * Rejects with CKR_KEY_HANDLE_INVALID or CKR_KEY_INDIGESTIBLE, after which the digest continues, and with
   * CKR_OPERATION_NOT_INITIALIZED if the digest has ended.
   */
  async digestKey(digest: ActiveOperation, key: CkObject): Promise<void> {
    this.#check()
    if (digest.type !== 'digest' || !this.#operations.engine.operations.includes(digest))
      throw new CryptokiError(CKR.OPERATION_NOT_INITIALIZED)
    const { software } = checkHandle(key, this.#context, CKR.KEY_HANDLE_INVALID)
    // The digest of a short secret reveals the secret.
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

  #software(object: CkObject): SoftwareObject {
    const { software } = checkHandle(object, this.#context)
    if (software === undefined) throw new CryptokiError(CKR.ACTION_PROHIBITED)
    return software
  }

  /** C_Digest: resolves to the digest. */
  digest(
    mechanism: DigestMechanism,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'digest', mechanism }, data, options)
  }

  /** C_Sign: resolves to the signature. An ECDSA signature is r‖s (PKCS#11 v2.40 mechanisms, 2.3.1). */
  sign(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'sign', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_Verify, in software: resolves to true if the signature is valid; rejects with CKR_SIGNATURE_INVALID if not. */
  verify(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    signature: SignatureSource,
    options: OperationOptions = {},
  ): Operation<true> {
    return this.#operations.single({ type: 'verify', mechanism, key, signature }, data, options)
  }

  /** C_SignRecover: resolves to a signature from which `verifyRecover` recovers the data. The data must fit in the modulus. */
  signRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'sign-recover', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_VerifyRecover, in software: resolves to the signed data; rejects with CKR_SIGNATURE_INVALID if the signature is invalid. */
  verifyRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    signature: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'verify-recover', mechanism, key }, signature, options)
  }

  /** C_Encrypt: emits an `output` event for each part, and resolves to the whole output (at most `MAX_RESULT_BYTES`). */
  encrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'encrypt', mechanism, key }, data, options)
  }

  /** C_Decrypt: emits an `output` event for each part, and resolves to the whole output (at most `MAX_RESULT_BYTES`). */
  decrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'decrypt', mechanism, key, ...pinOf(options) }, data, options)
  }

  /**
   * C_Encrypt as a pair of web streams: `file.stream().pipeThrough(session.encryptStream(…)).pipeTo(…)`. The output has no
   * length limit, and a slow reader makes the source wait. The call performs the Init. If the Init fails or the operation
   * ends early, both streams error. Aborting or cancelling either stream ends the operation immediately.
   */
  encryptStream(mechanism: CipherMechanism, key: CkObject, options: CipherStreamOptions = {}): CipherStream {
    return this.#operations.stream({ type: 'encrypt', mechanism, key }, options)
  }

  /** C_Decrypt as a pair of web streams, like `encryptStream`. Do not trust the output before the readable stream has closed. */
  decryptStream(
    mechanism: CipherMechanism,
    key: CkObject,
    options: CipherStreamOptions & KeyOptions = {},
  ): CipherStream {
    return this.#operations.stream({ type: 'decrypt', mechanism, key, ...pinOf(options) }, options)
  }

  /**
   * The dual-function operations (PKCS#11 v2.40, 5.12) over one source. In digest+encrypt and sign+encrypt, both operations
   * process the plaintext. In decrypt+digest and decrypt+verify, the digest or verification processes the whole output of the
   * decryption. Resolves to both results in the order of the arguments. Rejects any other pair with CKR_OPERATION_ACTIVE.
   */
  together<A extends OperationSpec, B extends PartnerOf<A>>(
    first: A,
    second: B,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<readonly [ResultOf<A>, ResultOf<B>]> {
    return this.#operations.specified([first, second], data, options, (values) => values) as Operation<
      readonly [ResultOf<A>, ResultOf<B>]
    >
  }

  /**
   * The Init of one operation, or of two that form a pair, for callers that pass the data in single calls, as with the C
   * functions. It is synchronous; the returned operations accept the data. A mechanism of null cancels the active operation
   * of that type instead (PKCS#11 v3.0, 5.8.1), and throws CKR_ARGUMENTS_BAD if there is none.
   */
  begin(...specs: readonly (RawOperationSpec | CancellingSpec)[]): readonly ActiveOperation[] {
    this.#check()
    return this.#operations.begin(specs)
  }

  /**
   * C_DigestEncryptUpdate, C_SignEncryptUpdate, C_DecryptDigestUpdate and C_DecryptVerifyUpdate, for two operations from
   * `begin` in either order. Resolves to the cipher's output. The cipher is updated first, and the other operation only if
   * that succeeds, so the call can be repeated after CKR_BUFFER_TOO_SMALL. Rejects with CKR_OPERATION_NOT_INITIALIZED, without
   * ending either operation, if one of the two is not active in this session.
   */
  async updateTogether(
    operations: readonly [ActiveOperation, ActiveOperation],
    chunk: Uint8Array,
    options: OutputOptions = {},
  ): Promise<Uint8Array> {
    this.#check()
    return this.#operations.updateTogether(operations, chunk, options)
  }

  /** C_GenerateRandom: uses the card's generator if it has one, otherwise the platform's. At most 16 MiB. */
  random(bytes: number): Operation<Uint8Array> {
    return this.#operations.singlePart(() => {
      checkRandomBytes(bytes)
      const { token } = this.#context
      const run = async ({ transmitOptions }: Progress): Promise<Uint8Array> =>
        token.random === undefined ? this.#parts.randomBytes(bytes) : token.random(bytes, transmitOptions)
      return { endsOnLogout: false, run }
    })
  }

  /** C_SeedRandom. Rejects with CKR_RANDOM_SEED_NOT_SUPPORTED, because cards and platforms seed their generators themselves. */
  async seedRandom(seed: Uint8Array): Promise<void> {
    this.#check()
    if (!isByteSource(seed)) throw badOption('seed')
    this.#operations.engine.checkSinglePart()
    throw new CryptokiError(CKR.RANDOM_SEED_NOT_SUPPORTED)
  }

  /**
   * C_GetOperationState. Throws CKR_OPERATION_NOT_INITIALIZED or CKR_STATE_UNSAVEABLE; the operations continue. Saving a state
   * is not supported: ciphers and signatures keep theirs within WebCrypto or the card, and saving only digests is of little use.
   */
  operationState(): never {
    this.#check()
    throw new CryptokiError(this.active.length === 0 ? CKR.OPERATION_NOT_INITIALIZED : CKR.STATE_UNSAVEABLE)
  }

  /** C_SetOperationState. Throws CKR_SAVED_STATE_INVALID, because states are never saved; the operations continue. */
  setOperationState(): never {
    this.#check()
    throw new CryptokiError(CKR.SAVED_STATE_INVALID)
  }

  /** C_SessionCancel: cancels the active operations of the given types, by default all. They error with CKR_FUNCTION_CANCELED. */
  cancel(types: readonly OperationType[] = this.active): void {
    this.#check()
    this.#operations.engine.cancel(
      (each) => types.includes(each.type),
      new CryptokiError(CKR.FUNCTION_CANCELED),
    )
  }

  /** C_CloseSession: ends the session's operations. Closing the last session with a token logs out. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#end !== undefined) return
    this.#finish(new CryptokiError(CKR.SESSION_CLOSED), undefined)
    await this.#context.removeSession(this)
  }

  /** Ends the session because the token was removed or all sessions are closed. Its operations end with this error. */
  end(error: CryptokiError): void {
    if (this.#end === undefined) this.#finish(error, error)
  }

  get usesPrivateKey(): boolean {
    return this.#operations.engine.usesPrivateKey
  }

  /** Ends the operations that use a private key and the searches, because the user logged out. */
  loggedOut(): void {
    this.#operations.engine.loggedOut(new CryptokiError(CKR.USER_NOT_LOGGED_IN))
  }

  #finish(error: CryptokiError, reason: CryptokiError | undefined): void {
    // Later calls fail with CKR_SESSION_HANDLE_INVALID; its cause is the reason why the session ended.
    this.#end = new CryptokiError(CKR.SESSION_HANDLE_INVALID, { cause: error })
    this.#operations.engine.close(error)
    this.#logins.end(error)
    this.#isOpen.next(false)
    this.#resolveEnded(reason)
  }

  #check(): void {
    if (this.#parts.isClosed()) throw new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
    if (this.#end !== undefined) throw this.#end
  }
}
