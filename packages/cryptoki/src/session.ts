/** Sessions: PKCS#11 v2.40, 5.6 "Session management", and v2.20, 6.6 "Operations, sessions, and threads". */
import { copyOf, isByteSource } from '@webtoki/apdu'
import { Closable } from '@webtoki/apdu/closable'
import { Pace, STEP_BYTES } from '@webtoki/apdu/pace'
import { type Attributes, type AttributeTypes, templateAtCall } from './attributes.ts'
import { Cancellation } from './cancellation.ts'
import { CKA, CKF, CKK, CKO, CKR, CKS, CKU } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { FindOptions, Insertion, InsertionSession } from './insertion.ts'
import {
  digestMechanism,
  type Mechanism,
  mechanismAtCall,
  type MechanismInfo,
  pssParametersOf,
  signMechanism,
} from './mechanisms.ts'
import { CkObject } from './object.ts'
import { ActiveOperation, type Operation, operation, type Progress, type Started } from './operation.ts'
import {
  admit,
  admitOneCall,
  type ConflictPolicy,
  type OneCall,
  type OperationType,
} from './operation-rules.ts'
import type { PinSource } from './pin.ts'
import { type Chunks, chunksOf, claimSource, dataAtCall, type DataSource } from './source.ts'
import { CipherStage, DigestStage, SignStage, type Stage, VerifyStage } from './stage.ts'
import type { LoginUser, TokenObject } from './token.ts'

/** How a session behaves; the library's own settings are the default. */
export interface SessionPolicy {
  /** What an init does that other active operations forbid: be rejected, or end those. */
  readonly onConflict: ConflictPolicy
  /** Whether one-call functions (random) run beside active operations. The standard allows both. */
  readonly oneCallWhileActive: 'reject' | 'allow'
  /**
   * 'explicit', as PKCS#11 has it: private objects show after `login`. 'on-demand': they always show, and a
   * signature asks its PIN source when it needs the card's login.
   */
  readonly login: 'explicit' | 'on-demand'
}

/** One operation, told as data: what `Session.together` takes two of. */
export type OperationSpec =
  | { readonly type: 'digest'; readonly mechanism: Mechanism }
  | { readonly type: 'sign'; readonly mechanism: Mechanism; readonly key: CkObject; readonly pin?: PinSource }
  | {
      readonly type: 'verify'
      readonly mechanism: Mechanism
      readonly key: CkObject
      readonly signature: Uint8Array
    }
  | { readonly type: 'encrypt' | 'decrypt'; readonly mechanism: Mechanism; readonly key: CkObject }

/** What an operation ends in: digest and signature; `true` of `verify`; the number of bytes that a cipher put out. */
export type ResultOf<S extends OperationSpec> = S extends { readonly type: 'digest' | 'sign' }
  ? Uint8Array
  : S extends { readonly type: 'verify' }
    ? true
    : number

/** Options of one signature. */
export interface SignOptions {
  /** Asked for the PIN of a key that wants one for each signature; default: the session's own. */
  readonly pin?: PinSource
}

/** A part that Init has checked; `begin` is its first asynchronous step. */
interface Prepared {
  readonly type: OperationType
  readonly endsOnLogout: boolean
  begin(progress: Progress): Promise<Stage<unknown>>
}

/** Made by `Slot.openSession`. Safe to share: two callers conflict by the standard's rule, and neither is harmed. */
export class Session extends Closable implements InsertionSession {
  readonly readWrite: boolean
  /** Fulfils when the session ends: with the reason, or with undefined where `close` was called. Never rejects. */
  readonly ended: Promise<CryptokiError | undefined>
  readonly #insertion: Insertion
  readonly #policy: SessionPolicy
  readonly #pin: PinSource | undefined
  readonly #randomBytes: (bytes: number) => Uint8Array
  readonly #reader: string
  readonly #active = new Set<ActiveOperation>()
  /** Ends the dialogs of logins under way. */
  readonly #logins = new Set<Cancellation>()
  #end: CryptokiError | undefined
  #closing: Promise<void> | undefined
  #tellEnd!: (reason: CryptokiError | undefined) => void

  constructor(
    insertion: Insertion,
    readWrite: boolean,
    policy: SessionPolicy,
    pin: PinSource | undefined,
    randomBytes: (bytes: number) => Uint8Array,
    reader: string,
  ) {
    super()
    this.#reader = reader
    this.#insertion = insertion
    this.readWrite = readWrite
    this.#policy = policy
    this.#pin = pin
    this.#randomBytes = randomBytes
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
    insertion.enter(this)
  }

  /** CKS_*: who is logged in, and whether this session may write. Throws where the session has ended. */
  get state(): CKS {
    this.#check()
    const { user } = this.#insertion
    if (user === CKU.SO) return CKS.RW_SO_FUNCTIONS
    if (user === CKU.USER) return this.readWrite ? CKS.RW_USER_FUNCTIONS : CKS.RO_USER_FUNCTIONS
    return this.readWrite ? CKS.RW_PUBLIC_SESSION : CKS.RO_PUBLIC_SESSION
  }

  /** The operations active now: 0, 1 or 2. */
  get active(): readonly OperationType[] {
    return [...this.#active].map((each) => each.type)
  }

  /** With a PIN pad nobody need be asked here (CKF_PROTECTED_AUTHENTICATION_PATH); the last try then finds nobody who says yes. */
  get #pinSource(): PinSource | undefined {
    if (this.#pin !== undefined) return this.#pin
    return this.#insertion.token.flags & CKF.PROTECTED_AUTHENTICATION_PATH ? nobody : undefined
  }

  /** Two cards of one person have the same label: the reader tells them apart. */
  #naming(pin: PinSource): PinSource {
    return (request) => pin({ ...request, reader: this.#reader })
  }

  /**
   * C_Login: moves every session of this token. The PIN source is asked once, and VERIFY is sent at most once. With a PIN
   * pad the source is asked only for a yes to the last attempt, or for the PIN if the pad turns out not to be there.
   */
  async login(user: LoginUser, pin: PinSource | undefined = this.#pinSource): Promise<void> {
    this.#check()
    if (pin === undefined) throw new CryptokiError(CKR.ARGUMENTS_BAD)
    const signal = new Cancellation()
    this.#logins.add(signal)
    try {
      await this.#insertion.login(user, this.#naming(pin), { signal })
    } catch (error) {
      // The session's own end is a better reason than "aborted".
      throw signal.aborted ? signal.reason : error
    } finally {
      this.#logins.delete(signal)
    }
  }

  /** C_Logout: takes the verified state back on the card, and ends the handles of private objects for good. */
  async logout(): Promise<void> {
    this.#check()
    await this.#insertion.logout()
  }

  /**
   * C_FindObjects: the objects that fit every attribute of the template. Reads from the card only what the template
   * leaves open; name CLASS and ID, and one certificate at most is read. Who wants the best of several asks for one after
   * the other (`max: 1`, then `after` that one), and stops at the first that will do.
   */
  findObjects(template: Attributes = {}, { max, after }: FindOptions = {}): Operation<readonly CkObject[]> {
    const wanted = templateAtCall(template)
    return operation(
      () => {
        this.#check()
        const showPrivate = this.#policy.login === 'on-demand' || this.#insertion.user === CKU.USER
        return {
          ...this.#activate([{ type: 'search', endsOnLogout: true }]),
          run: (progress) => {
            progress.tell({ phase: 'awaiting-card', why: 'working' })
            const which = { after, ...(max !== undefined && { max }) }
            const options = { ...progress.transmitOptions, ...which, check: () => progress.check() }
            return this.#insertion.find(wanted, showPrivate, options)
          },
        }
      },
      (error) => this.#translate(error),
    )
  }

  /** C_GetAttributeValue. Throws CKR_OBJECT_HANDLE_INVALID, and CKR_ATTRIBUTE_TYPE_INVALID where one is missing. */
  getAttributes<K extends keyof AttributeTypes>(
    object: CkObject,
    ...types: readonly K[]
  ): Pick<AttributeTypes, K> {
    this.#check()
    object.sourceFor(this.#insertion, CKR.OBJECT_HANDLE_INVALID)
    return Object.fromEntries(types.map((type) => [type, object.get(type)])) as Pick<AttributeTypes, K>
  }

  /** C_Digest: ends in the digest. */
  digest(mechanism: Mechanism, data: DataSource): Operation<Uint8Array> {
    return this.#single({ type: 'digest', mechanism }, data)
  }

  /** C_Sign: ends in the signature, ECDSA as r‖s (PKCS#11 v2.40, 2.3.1). */
  sign(
    mechanism: Mechanism,
    key: CkObject,
    data: DataSource,
    options: SignOptions = {},
  ): Operation<Uint8Array> {
    return this.#single({ type: 'sign', mechanism, key, ...options }, data)
  }

  /** C_Verify, in software: ends in `true` if the signature fits, and in the error CKR_SIGNATURE_INVALID if not. */
  verify(mechanism: Mechanism, key: CkObject, data: DataSource, signature: Uint8Array): Operation<true> {
    return this.#single({ type: 'verify', mechanism, key, signature }, data)
  }

  /** C_Encrypt: tells `output`, ends in the number of bytes put out. */
  encrypt(mechanism: Mechanism, key: CkObject, data: DataSource): Operation<number> {
    return this.#single({ type: 'encrypt', mechanism, key }, data)
  }

  /** C_Decrypt: tells `output`, ends in the number of bytes put out. */
  decrypt(mechanism: Mechanism, key: CkObject, data: DataSource): Operation<number> {
    return this.#single({ type: 'decrypt', mechanism, key }, data)
  }

  /**
   * The dual functions (PKCS#11 v2.40, 5.12) over one source: digest+encrypt and sign+encrypt see the plain chunks,
   * decrypt+digest and decrypt+verify what the decryption puts out, its last bytes included. Ends in both results, in
   * the order of the arguments. Any other pair is refused with CKR_OPERATION_ACTIVE.
   */
  together<A extends OperationSpec, B extends OperationSpec>(
    first: A,
    second: B,
    data: DataSource,
  ): Operation<readonly [ResultOf<A>, ResultOf<B>]> {
    return this.#operation([first, second], data) as Operation<readonly [ResultOf<A>, ResultOf<B>]>
  }

  /** C_GenerateRandom: from the card where it has a generator (CKF_RNG), else from the platform's. */
  async random(bytes: number): Promise<Uint8Array> {
    this.#check()
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new CryptokiError(CKR.ARGUMENTS_BAD)
    this.#checkOneCall('random')
    const { token } = this.#insertion
    if (token.random === undefined) return this.#randomBytes(bytes)
    try {
      return await token.random(bytes)
    } catch (error) {
      throw this.#translate(error)
    }
  }

  /** C_SessionCancel: ends the active operations of these types, all where none is named; their streams error. */
  cancel(types: readonly OperationType[] = this.active): void {
    this.#check()
    this.#cancel((each) => types.includes(each.type), new CryptokiError(CKR.FUNCTION_CANCELED))
  }

  /** C_CloseSession: ends its operations; the last session of a token logs out. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#end !== undefined) return
    this.#finish(new CryptokiError(CKR.SESSION_CLOSED), undefined)
    await this.#insertion.leave(this)
  }

  /** The token has gone, or its slot closes every session: running operations end with this error. */
  end(error: CryptokiError): void {
    if (this.#end === undefined) this.#finish(error, error)
  }

  /** The user logged out: private keys and searches end, the rest goes on. */
  loggedOut(): void {
    this.#cancel((each) => each.endsOnLogout, new CryptokiError(CKR.USER_NOT_LOGGED_IN))
  }

  #finish(error: CryptokiError, reason: CryptokiError | undefined): void {
    // A call after the end is told that the handle is no session any more; why it ended stands in the cause.
    this.#end = new CryptokiError(CKR.SESSION_HANDLE_INVALID, { cause: error })
    this.#cancel(() => true, error)
    for (const login of this.#logins) login.abort(error)
    this.#tellEnd(reason)
  }

  /** Who hears of its end may begin another at once: that one is not among those to be cancelled. */
  #cancel(which: (active: ActiveOperation) => boolean, error: CryptokiError): void {
    const ending = [...this.#active].filter(which)
    for (const each of ending) each.cancel(error)
  }

  #check(): void {
    if (this.#end !== undefined) throw this.#end
  }

  #translate(error: unknown): CryptokiError {
    return this.#insertion.translate(error)
  }

  #checkOneCall(call: OneCall): void {
    const rv = admitOneCall(call, this.active, this.#policy.oneCallWhileActive)
    if (rv !== CKR.OK) throw new CryptokiError(rv)
  }

  /**
   * Init of everything asked for at once: admitted together or not at all. Those that must end have left, and the new
   * ones are in, before `announce` tells anybody: who begins anew when he hears of it meets the session as it is now.
   */
  #activate(
    wanted: readonly Pick<Prepared, 'type' | 'endsOnLogout'>[],
  ): Pick<Started<unknown>, 'operations' | 'announce'> {
    const ends = this.#admit(wanted.map((each) => each.type))
    const ending = [...this.#active].filter((each) => ends.includes(each.type))
    for (const each of ending) each.release()
    const operations = wanted.map(({ type, endsOnLogout }) => {
      const active = new ActiveOperation(type, endsOnLogout, (done) => this.#active.delete(done))
      this.#active.add(active)
      return active
    })
    const announce = (): void => {
      for (const each of ending) each.onCancel(new CryptokiError(CKR.OPERATION_NOT_INITIALIZED))
    }
    return { operations, announce }
  }

  /** The types that must end for these to begin. Throws CKR_OPERATION_ACTIVE. */
  #admit(wanted: readonly OperationType[]): readonly OperationType[] {
    const dual = (this.#insertion.token.flags & CKF.DUAL_CRYPTO_OPERATIONS) !== 0
    const ends: OperationType[] = []
    const begun: OperationType[] = []
    let standing = this.active
    for (const type of wanted) {
      const admission = admit([...standing, ...begun], type, { dual, onConflict: this.#policy.onConflict })
      // Whatever the policy: what this very call begins does not end for its other half.
      if (admission.rv !== CKR.OK || admission.ends.some((each) => begun.includes(each))) {
        throw new CryptokiError(CKR.OPERATION_ACTIVE)
      }
      ends.push(...admission.ends)
      standing = standing.filter((each) => !admission.ends.includes(each))
      begun.push(type)
    }
    return ends
  }

  #single<S extends OperationSpec>(spec: S, data: DataSource): Operation<ResultOf<S>> {
    return this.#operation([spec], data, ([value]) => value) as Operation<ResultOf<S>>
  }

  #operation(
    specs: readonly OperationSpec[],
    data: DataSource,
    shape: (values: readonly unknown[]) => unknown = (values) => values,
  ): Operation<unknown> {
    // Everything as it is now: what is written into it before the operation runs, or while it does, does not count.
    const asked = specs.map(specAtCall)
    const given = dataAtCall(data)
    return operation(
      (): Started<unknown> => {
        this.#check()
        // Refused for other operations' sake before key and mechanism are looked at, ended only after.
        this.#admit(asked.map((spec) => spec.type))
        const parts = asked.map((spec) => this.#prepare(spec))
        // Last of what can be refused: an Init that fails for another reason leaves the source as it is.
        const open = claimSource(given)
        return {
          ...this.#activate(parts),
          failed: (error) => this.#insertion.keyFailed(error),
          run: async (progress) => shape(await run(parts, open, progress)),
        }
      },
      (error) => this.#translate(error),
    )
  }

  #prepare(spec: OperationSpec): Prepared {
    if (spec.type === 'digest') {
      const name = digestMechanism(spec.mechanism.type)
      if (name === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
      return { type: 'digest', endsOnLogout: false, begin: async () => new DigestStage(name) }
    }
    const { key, mechanism, type } = spec
    if (!(key instanceof CkObject)) {
      throw new CryptokiError(CKR.KEY_HANDLE_INVALID, { detail: 'no key was given; the search found none' })
    }
    const source = key.sourceFor(this.#insertion, CKR.KEY_HANDLE_INVALID)
    if (type === 'sign') return this.#prepareSign(spec, source)
    if (type === 'verify') return this.#prepareVerify(spec)
    const { token } = this.#insertion
    const open = type === 'encrypt' ? token.encrypt?.bind(token) : token.decrypt?.bind(token)
    if (open === undefined) throw new CryptokiError(CKR.FUNCTION_NOT_SUPPORTED)
    this.#checkMechanism(mechanism, type === 'encrypt' ? CKF.ENCRYPT : CKF.DECRYPT)
    checkUse(key, type === 'encrypt' ? CKA.ENCRYPT : CKA.DECRYPT)
    return {
      type,
      endsOnLogout: key.isPrivate,
      begin: async (progress) =>
        new CipherStage(await open({ object: source, mechanism }, progress.transmitOptions), progress),
    }
  }

  #prepareSign(spec: OperationSpec & { readonly type: 'sign' }, source: TokenObject): Prepared {
    const { key, mechanism } = spec
    const info = this.#checkMechanism(mechanism, CKF.SIGN)
    checkKey(key, mechanism, CKO.PRIVATE_KEY)
    checkSize(key, info)
    checkUse(key, CKA.SIGN)
    const given = spec.pin ?? this.#pinSource
    const pin = given && this.#naming(given)
    const onDemand = this.#policy.login === 'on-demand'
    const isLoggedIn = this.#insertion.user === CKU.USER
    if (key.isPrivate && !isLoggedIn && !onDemand) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    // Nobody could be asked for the PIN of this very signature.
    if (key.attributes[CKA.ALWAYS_AUTHENTICATE] === true && pin === undefined)
      throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    const login = async (source: PinSource, progress: Progress): Promise<void> => {
      const options = {
        ...progress.transmitOptions,
        onAwaitPin: () => progress.tell({ phase: 'awaiting-pin' }),
      }
      await this.#insertion.loginOnDemand(source, options)
    }
    const signing = {
      insertion: this.#insertion,
      mechanism,
      key,
      source,
      pin,
      login: onDemand ? login : undefined,
    }
    return {
      type: 'sign',
      endsOnLogout: key.isPrivate,
      begin: async (progress) => new SignStage(signing, progress),
    }
  }

  #prepareVerify(spec: OperationSpec & { readonly type: 'verify' }): Prepared {
    const { key, mechanism, signature } = spec
    if (signMechanism(mechanism.type) === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
    checkParameters(mechanism)
    checkKey(key, mechanism, CKO.PUBLIC_KEY)
    checkUse(key, CKA.VERIFY)
    if (!(signature instanceof Uint8Array)) {
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: 'the signature is no Uint8Array' })
    }
    return {
      type: 'verify',
      endsOnLogout: key.isPrivate,
      begin: async () => new VerifyStage(mechanism, key, signature),
    }
  }

  #checkMechanism(mechanism: Mechanism, use: number): MechanismInfo {
    const info = this.#insertion.token.mechanisms.get(mechanism.type)
    if (info === undefined || (info.flags & use) === 0) throw new CryptokiError(CKR.MECHANISM_INVALID)
    checkParameters(mechanism)
    return info
  }
}

/** The PIN source of a page that leaves all to the PIN pad. */
const nobody: PinSource = async ({ pinPad }) => {
  if (pinPad) return undefined
  const detail = 'the reader has no PIN pad after all; give the session or the call a PIN source'
  throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail })
}

/** A copy of what an operation is asked for. A signature that is not bytes stays as it is: Init refuses it. */
function specAtCall<S extends OperationSpec>(spec: S): S {
  const own = { ...spec, mechanism: mechanismAtCall(spec.mechanism) }
  if (own.type !== 'verify' || !isByteSource(own.signature)) return own
  return { ...own, signature: copyOf(own.signature) }
}

/** Throws CKR_MECHANISM_PARAM_INVALID: at Init, before anybody is asked or ended for it. */
function checkParameters(mechanism: Mechanism): void {
  if (signMechanism(mechanism.type)?.padding === 'pss') pssParametersOf(mechanism)
}

/** Class and type of a key against what the mechanism takes. */
function checkKey(key: CkObject, mechanism: Mechanism, objectClass: number): void {
  const wanted = signMechanism(mechanism.type)?.keyType === 'rsa' ? CKK.RSA : CKK.EC
  if (key.attributes[CKA.CLASS] !== objectClass || key.attributes[CKA.KEY_TYPE] !== wanted) {
    throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
  }
}

function checkSize(key: CkObject, { minKeyBits, maxKeyBits }: MechanismInfo): void {
  const keyBits = key.attributes[CKA.MODULUS_BITS]
  if (keyBits === undefined || maxKeyBits === 0) return
  if (keyBits < minKeyBits || keyBits > maxKeyBits) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
}

function checkUse(key: CkObject, use: keyof AttributeTypes): void {
  if (key.attributes[use] !== true) throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
}

/** Pulls the source through the parts. In a pair, a decryption feeds its other half; else both see the source. */
async function run(
  parts: readonly Prepared[],
  open: () => Chunks,
  progress: Progress,
): Promise<readonly unknown[]> {
  // Before anything is waited for: a source that pushes would push into nothing.
  const chunks = open()
  try {
    const stages: Stage<unknown>[] = []
    for (const part of parts) stages.push(await part.begin(progress))
    progress.check()
    const feeder = parts.length > 1 ? stages[parts.findIndex((part) => part.type === 'decrypt')] : undefined
    const others = stages.filter((stage) => stage !== feeder)
    let bytes = 0
    const pace = new Pace()
    for await (const chunk of chunksOf(chunks, progress.signal)) {
      progress.check()
      // At least once: a source may have many chunks without bytes.
      for (let at = 0; at === 0 || at < chunk.length; at += STEP_BYTES) {
        const step = chunk.subarray(at, at + STEP_BYTES)
        const fed = feeder === undefined ? step : await feeder.update(step)
        if (fed !== undefined) for (const stage of others) await stage.update(fed)
        if (!pace.isDue) continue
        await pace.turn()
        progress.check()
      }
      bytes += chunk.length
      progress.tell({ phase: 'collecting', bytes })
    }
    progress.check()
    const last = await feeder?.final()
    if (last !== undefined && last.length > 0) for (const stage of others) await stage.update(last)
    for (const stage of others) await stage.final()
    const values: unknown[] = []
    // One after the other: both may need the card.
    for (const stage of stages) {
      progress.check()
      values.push(await stage.finish())
    }
    return values
  } finally {
    chunks.stop()
  }
}
