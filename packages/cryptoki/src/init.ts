/** What an Init checks, in the order of the standard: handle, type, mechanism, parameters, size, permission, login. No card is touched. */
import { CKA, CKO, CKR, CKU } from './constants.ts'
import { DigestWork } from './digest-work.ts'
import type { WantedOperation } from './engine.ts'
import { CryptokiError } from './errors.ts'
import { keyRules } from './key-rules.ts'
import type { KeyPurpose, UsableKey } from './key-use.ts'
import { KeyWork } from './key-work.ts'
import { checkParameters, digestMechanism, type MechanismInfo, type RawMechanism } from './mechanisms.ts'
import { CkObject } from './object.ts'
import type { RawOperationSpec } from './operation-spec.ts'
import type { PinOptions, PinSource } from './pin.ts'
import type { TokenContext } from './token-context.ts'

/** What an Init takes from its session. */
export interface InitParts {
  readonly context: TokenContext
  /** A login is made when the card needs it. */
  readonly onDemand: boolean
  readonly randomBytes: (bytes: number) => Uint8Array
  /** Milliseconds since any moment. */
  readonly now: () => number
  /** The session's own PIN source. */
  readonly pin: () => PinSource | undefined
  /** Tells the PIN source which reader asks, and what for. */
  readonly naming: (pin: PinSource, what: string | undefined) => PinSource
}

/** One use of a key as it is asked for. */
export interface WantedUse extends PinOptions {
  readonly purpose: KeyPurpose
  readonly mechanism: RawMechanism
  readonly key: CkObject
}

/** Makes the work of a session's operations and of its functions of one call. */
export class Init {
  readonly #parts: InitParts

  constructor(parts: InitParts) {
    this.#parts = parts
  }

  /** Init of one operation, but for its place. `asks`: a person must be there to ask, because nobody will call `login` meanwhile. */
  operation(spec: RawOperationSpec, asks: boolean): WantedOperation {
    const { type } = spec
    if (type !== 'digest') {
      const { mechanism, key, pin, for: what } = spec
      return { type, ...this.use({ purpose: type, mechanism, key, pin, for: what }, asks) }
    }
    const name = digestMechanism(spec.mechanism.type)
    if (name === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
    checkParameters(spec.mechanism)
    return { type, endsOnLogout: false, work: new DigestWork(name) }
  }

  /** One use of a key, for an operation or for a function of one call. */
  use(
    { purpose, mechanism, key, pin, for: what }: WantedUse,
    asks: boolean,
  ): { readonly work: KeyWork; readonly endsOnLogout: boolean } {
    if (!(key instanceof CkObject)) {
      throw new CryptokiError(CKR.KEY_HANDLE_INVALID, {
        detail: `${purpose}: no key was given; the search found none`,
      })
    }
    const { context, onDemand, now, naming } = this.#parts
    const source = key.sourceFor(context, CKR.KEY_HANDLE_INVALID)
    const usable = this.#usableKey(key, source, purpose, mechanism)
    checkParameters(mechanism)
    const use = usable.use(purpose, mechanism)
    checkSize(key, context.token.mechanisms.get(mechanism.type))
    // CKR_MECHANISM_INVALID, says PKCS#11 v3.0, 4.8.
    const { [CKA.ALLOWED_MECHANISMS]: allowed } = key.attributes
    if (allowed !== undefined && !allowed.includes(mechanism.type))
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    if (key.attributes[keyRules[purpose].attribute] !== true)
      throw new CryptokiError(CKR.KEY_FUNCTION_NOT_PERMITTED)
    const given = pin ?? this.#parts.pin()
    if (given !== undefined && typeof given !== 'function')
      throw new CryptokiError(CKR.ARGUMENTS_BAD, { detail: `${purpose}: the PIN source is not a function` })
    const isLoggedIn = context.user === CKU.USER
    if (key.isPrivate && !isLoggedIn && !onDemand) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    // Nobody could be asked for the PIN of this very use.
    const needs = use.access?.needs ?? 'nothing'
    const mustAsk = needs === 'context-pin' || (needs === 'login' && !isLoggedIn)
    if (asks && mustAsk && given === undefined) throw new CryptokiError(CKR.USER_NOT_LOGGED_IN)
    const work = new KeyWork(use, { context, pin: given && naming(given, what), purpose, onDemand, now })
    return { work, endsOnLogout: key.isPrivate }
  }

  /** The one path to a key, whatever it is for: the token's own, or the software that all public keys share. */
  #usableKey(
    key: CkObject,
    source: Partial<UsableKey>,
    purpose: KeyPurpose,
    { type }: RawMechanism,
  ): UsableKey {
    const { flag, keyClass } = keyRules[purpose]
    const own = key.attributes[CKA.CLASS]
    const isOnToken = own === CKO.PRIVATE_KEY && key.attributes[CKA.TOKEN] === true
    if (isOnToken && ((this.#parts.context.token.mechanisms.get(type)?.flags ?? 0) & flag) === 0)
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    if (own !== keyClass && own !== CKO.SECRET_KEY) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
    if (source.use !== undefined) return source as UsableKey
    const { context, randomBytes } = this.#parts
    const usable = context.publicKey?.(key.attributes, randomBytes)
    if (usable === undefined) throw new CryptokiError(CKR.KEY_TYPE_INCONSISTENT)
    return usable
  }
}

/** What the token tells of its mechanisms holds for its own private keys. */
function checkSize(key: CkObject, info: MechanismInfo | undefined): void {
  const { [CKA.MODULUS_BITS]: keyBits, [CKA.CLASS]: keyClass } = key.attributes
  if (keyClass !== CKO.PRIVATE_KEY || keyBits === undefined || !info?.maxKeyBits) return
  if (keyBits < info.minKeyBits || keyBits > info.maxKeyBits) throw new CryptokiError(CKR.KEY_SIZE_RANGE)
}
