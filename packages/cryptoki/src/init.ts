/**
 * The checks of an Init in the order of the standard: handle, type, mechanism, parameters, size, permission, login (PKCS#11
 * v2.40, 5.8 to 5.13). None of them accesses the card.
 */
import { CKA, CKO, CKR, CKU } from './constants.ts'
import { DigestWork } from './digest-work.ts'
import type { RequestedOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { keyRules } from './key-rules.ts'
import type { KeyPurpose, UsableKey } from './key-use.ts'
import { KeyWork } from './key-work.ts'
import { checkParameters, digestMechanism, type MechanismInfo, type RawMechanism } from './mechanisms.ts'
import { CkObject } from './object.ts'
import type { RawOperationSpec } from './operation-spec.ts'
import type { PinOptions, PinSource } from './pin.ts'
import type { TokenContext } from './token-context.ts'

/** What an Init needs from its session. */
export interface InitParts {
  readonly context: TokenContext
  /** True if uses of keys log in when the card requires it. */
  readonly onDemand: boolean
  readonly randomBytes: (bytes: number) => Uint8Array
  /** Returns a time in milliseconds; the origin does not matter. */
  readonly now: () => number
  /** Returns the session's PIN source. */
  readonly pin: () => PinSource | undefined
  /** Adds the reader's name and the subject to the requests of a PIN source. */
  readonly withReader: (pin: PinSource, subject: string | undefined) => PinSource
}

/** A requested use of a key. */
export interface RequestedKeyUse extends PinOptions {
  readonly purpose: KeyPurpose
  readonly mechanism: RawMechanism
  readonly key: CkObject
}

/** Checks and creates the work of a session's operations and single-part functions. */
export class Init {
  readonly #parts: InitParts

  constructor(parts: InitParts) {
    this.#parts = parts
  }

  /**
   * Performs the checks of an Init except for conflicts with other operations. `needsPinSource`: the operation runs by itself, so
   * that no context login can follow, and therefore fails without a PIN source if its key requires a PIN.
   */
  operation(spec: RawOperationSpec, needsPinSource: boolean): RequestedOperation {
    const { type } = spec
    if (type !== 'digest') {
      const { mechanism, key, pin, for: subject } = spec
      return { type, ...this.use({ purpose: type, mechanism, key, pin, for: subject }, needsPinSource) }
    }
    const name = digestMechanism(spec.mechanism.type)
    if (name === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
    checkParameters(spec.mechanism)
    return { type, endsOnLogout: false, work: new DigestWork(name) }
  }

  /** Checks one use of a key, for an operation or a single-part function. */
  use(
    { purpose, mechanism, key, pin, for: subject }: RequestedKeyUse,
    needsPinSource: boolean,
  ): { readonly work: KeyWork; readonly endsOnLogout: boolean } {
    if (!(key instanceof CkObject)) {
      throw new CryptokiError(CKR.KEY_HANDLE_INVALID, {
        detail: `${purpose}: no key given; perhaps the search found none`,
      })
    }
    const { context, onDemand, now, withReader } = this.#parts
    const source = key.sourceFor(context, CKR.KEY_HANDLE_INVALID)
    const usable = this.#usableKey(key, source, purpose, mechanism)
    checkParameters(mechanism)
    const use = usable.use(purpose, mechanism)
    checkSize(key, context.token.mechanisms.get(mechanism.type))
    // PKCS#11 v3.0, 4.8 requires CKR_MECHANISM_INVALID.
    const { [CKA.ALLOWED_MECHANISMS]: allowed } = key.attributes
    if (allowed !== undefined && !allowed.includes(mechanism.type))
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    if (key.attributes[keyRules[purpose].attribute] !== true)
      throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    const pinSource = pin ?? this.#parts.pin()
    if (pinSource !== undefined && typeof pinSource !== 'function')
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${purpose}: the PIN source is not a function` })
    const isLoggedIn = context.user === CKU.USER
    if (key.isPrivate && !isLoggedIn && !onDemand) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    // Fails now if the key requires a PIN and the user cannot be asked for it.
    const needs = use.access?.needs ?? 'nothing'
    const requiresPin = needs === 'context-pin' || (needs === 'login' && !isLoggedIn)
    if (needsPinSource && requiresPin && pinSource === undefined)
      throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    const work = new KeyWork(use, {
      context,
      pin: pinSource && withReader(pinSource, subject),
      purpose,
      onDemand,
      now,
    })
    return { work, endsOnLogout: key.isPrivate }
  }

  /** Returns the key's own implementation, or the software implementation that all public keys share. */
  #usableKey(
    key: CkObject,
    source: Partial<UsableKey>,
    purpose: KeyPurpose,
    { type }: RawMechanism,
  ): UsableKey {
    const { flag, keyClass } = keyRules[purpose]
    const objectClass = key.attributes[CKA.CLASS]
    const isOnToken = objectClass === CKO.PRIVATE_KEY && key.attributes[CKA.TOKEN] === true
    if (isOnToken && ((this.#parts.context.token.mechanisms.get(type)?.flags ?? 0) & flag) === 0)
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    if (objectClass !== keyClass && objectClass !== CKO.SECRET_KEY)
      throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
    if (source.use !== undefined) return source as UsableKey
    const { context, randomBytes } = this.#parts
    const usable = context.publicKey?.(key.attributes, randomBytes)
    if (usable === undefined) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
    return usable
  }
}

/** Checks the modulus of a private key against the limits of the token. They do not apply to other keys. */
function checkSize(key: CkObject, info: MechanismInfo | undefined): void {
  const { [CKA.MODULUS_BITS]: keyBits, [CKA.CLASS]: keyClass } = key.attributes
  if (keyClass !== CKO.PRIVATE_KEY || keyBits === undefined || !info?.maxKeyBits) return
  if (keyBits < info.minKeyBits || keyBits > info.maxKeyBits) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
}
