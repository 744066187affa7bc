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
import { badOption, checkHandle, pinOf } from './session-arguments.ts'
import { SessionLogins } from './session-logins.ts'
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
  readonly #operations: SessionOperations
  readonly #isOpen = new BehaviorSubject(true)
  readonly #logins: SessionLogins
  #end: CryptokiError | undefined
  #closing: Promise<void> | undefined
  #tellEnd!: (reason: CryptokiError | undefined) => void

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
        naming: (pin, what) => this.#naming(pin, what),
      },
    )
    this.#logins = new SessionLogins({
      context,
      engine: this.#operations.engine,
      naming: (pin, what) => this.#naming(pin, what),
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
    return this.#operations.engine.active
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
  #naming(pin: PinSource, what: string | undefined): PinSource {
    return (request) => pin({ ...request, reader: this.#parts.reader, for: what })
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
    await this.#logins.login(user, pin, options)
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
    return this.#operations.search(template, options)
  }

  /**
   * C_FindObjectsInit, for a caller that asks for the objects itself, some at a time. Throws what an Init refuses; it is
   * active until `final` is called.
   */
  beginSearch(template: Attributes = {}, options: FindOptions = {}): ActiveSearch {
    this.#check()
    return this.#operations.beginSearch(template, options)
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
    return this.#operations.withTemplate(mechanism, template, {}, (own, fitting) => ({
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
    return this.#operations.withKey(
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
    if (!isByteSource(wrapped)) return this.#operations.refused(badOption('the wrapped key'))
    const own = copyOf(wrapped)
    return this.#operations.withKey('unwrap', mechanism, unwrappingKey, template, options, {
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
    return this.#operations.withKey('derive', mechanism, baseKey, template, options, {
      run: ({ deriveKey }, work, call, progress) => deriveKey(this.#maker, work, call, progress),
    })
  }

  /**
   * C_DigestKey: adds the value of a session key that is CKA_EXTRACTABLE and not CKA_SENSITIVE to a digest of `begin`. Rejects with
   * CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE, and the digest goes on; with CKR_OPERATION_NOT_INITIALIZED if it has ended.
   */
  async digestKey(digest: ActiveOperation, key: CkObject): Promise<void> {
    this.#check()
    if (digest.type !== 'digest' || !this.#operations.engine.operations.includes(digest))
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
    return this.#operations.single({ type: 'digest', mechanism }, data, options)
  }

  /** C_Sign: ends in the signature, ECDSA as r‖s (PKCS#11 v2.40, 2.3.1). */
  sign(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'sign', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_Verify, in software: ends in true if the signature fits, errors with CKR_SIGNATURE_INVALID if not. */
  verify(
    mechanism: SignatureMechanism,
    key: CkObject,
    data: DataSource,
    signature: SignatureSource,
    options: OperationOptions = {},
  ): Operation<true> {
    return this.#operations.single({ type: 'verify', mechanism, key, signature }, data, options)
  }

  /** C_SignRecover: ends in a signature from which `verifyRecover` gives the data back. The data must fit the key. */
  signRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'sign-recover', mechanism, key, ...pinOf(options) }, data, options)
  }

  /** C_VerifyRecover, in software: ends in the data that were signed, errors with CKR_SIGNATURE_INVALID if there are none. */
  verifyRecover(
    mechanism: RecoverMechanism,
    key: CkObject,
    signature: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'verify-recover', mechanism, key }, signature, options)
  }

  /** C_Encrypt: tells `output` as it comes, ends in all of it (`MAX_RESULT_BYTES` at most). */
  encrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: OperationOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'encrypt', mechanism, key }, data, options)
  }

  /** C_Decrypt: tells `output` as it comes, ends in all of it (`MAX_RESULT_BYTES` at most). */
  decrypt(
    mechanism: CipherMechanism,
    key: CkObject,
    data: DataSource,
    options: KeyOptions = {},
  ): Operation<Uint8Array> {
    return this.#operations.single({ type: 'decrypt', mechanism, key, ...pinOf(options) }, data, options)
  }

  /**
   * C_EncryptInit, and the rest as a pair of web streams: `file.stream().pipeThrough(session.encryptStream(…)).pipeTo(…)`. The
   * result may be of any length, and a slow reader makes the source wait. Init is made in this call. What it refuses, and
   * whatever ends the operation later, errors both sides; to abort or cancel one side ends the operation at once.
   */
  encryptStream(mechanism: CipherMechanism, key: CkObject, options: CipherStreamOptions = {}): CipherStream {
    return this.#operations.stream({ type: 'encrypt', mechanism, key }, options)
  }

  /** C_DecryptInit, and the rest as `encryptStream` does it. What comes out is to be trusted only when the stream has closed. */
  decryptStream(
    mechanism: CipherMechanism,
    key: CkObject,
    options: CipherStreamOptions & KeyOptions = {},
  ): CipherStream {
    return this.#operations.stream({ type: 'decrypt', mechanism, key, ...pinOf(options) }, options)
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
    return this.#operations.specified([first, second], data, options, (values) => values) as Operation<
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
    return this.#operations.begin(specs)
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
    return this.#operations.updateTogether(operations, chunk, options)
  }

  /** C_GenerateRandom: from the card if it has a generator, else from the platform's. At most 16 MiB. */
  random(bytes: number): Operation<Uint8Array> {
    return this.#operations.singlePart(() => {
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
    this.#operations.engine.checkSinglePart()
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
    this.#operations.engine.cancel(
      (each) => types.includes(each.type),
      new CryptokiError(CKR.FUNCTION_CANCELED),
    )
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
    return this.#operations.engine.usesPrivateKey
  }

  /** The user logged out: private keys and searches end, the rest goes on. */
  loggedOut(): void {
    this.#operations.engine.loggedOut(new CryptokiError(CKR.USER_NOT_LOGGED_IN))
  }

  #finish(error: CryptokiError, reason: CryptokiError | undefined): void {
    // A call after the end is told that the handle is no session any more; why it ended stands in the cause.
    this.#end = new CryptokiError(CKR.SESSION_HANDLE_INVALID, { cause: error })
    this.#operations.engine.close(error)
    this.#logins.end(error)
    this.#isOpen.next(false)
    this.#tellEnd(reason)
  }

  #check(): void {
    if (this.#parts.isClosed()) throw new CryptokiError(CKR.CRYPTOKI_NOT_INITIALIZED)
    if (this.#end !== undefined) throw this.#end
  }
}

function stateOf(user: LoginUser | undefined, readWrite: boolean): CKS {
  if (user === CKU.SO) return CKS.RW_SO_FUNCTIONS
  if (user === CKU.USER) return readWrite ? CKS.RW_USER_FUNCTIONS : CKS.RO_USER_FUNCTIONS
  return readWrite ? CKS.RW_PUBLIC_SESSION : CKS.RO_PUBLIC_SESSION
}

/** The PIN source of a page that leaves all to the PIN pad. */
const nobody: PinSource = ({ pinPad }) => {
  if (pinPad) return undefined
  const detail = 'the reader has no PIN pad after all; give the session or the call a PIN source'
  throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
}
