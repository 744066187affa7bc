/** Object handles of an application, and access to their attributes: PKCS#11 v2.40, 4 "Objects". */
import { sealed } from '@webtoki/apdu'
import type { AttributeTypes, Attributes } from './attributes.ts'
import { CKA, CKK, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenObject } from './token.ts'

/** The scope in which a handle is valid: one token context. */
export interface HandleScope {
  /** Counts logouts. A handle of a private object is valid only in the epoch in which it was created. */
  readonly loginEpoch: number
}

/** The result of `Session.readAttributes`. */
export interface AttributeReading<K extends number> {
  readonly values: Partial<Pick<AttributeTypes, K & keyof AttributeTypes>>
  /** The attributes whose values are secret. */
  readonly sensitive: readonly K[]
  /** The attributes that the object does not have. */
  readonly unknown: readonly K[]
  /** CKR_ATTRIBUTE_SENSITIVE if any is sensitive, otherwise CKR_ATTRIBUTE_TYPE_INVALID if any is unknown. */
  readonly rv: typeof CKR.OK | typeof CKR.ATTRIBUTE_SENSITIVE | typeof CKR.ATTRIBUTE_TYPE_INVALID
}

/**
 * An object handle. It is valid until its token is removed. The handle of a private object becomes permanently invalid when the
 * user logs out.
 */
export class CkObject {
  readonly #attributes: Attributes
  readonly #source: TokenObject
  readonly #scope: HandleScope
  readonly #loginEpoch: number
  #isDestroyed = false

  constructor(scope: HandleScope, source: TokenObject, attributes: Attributes) {
    this.#scope = scope
    this.#source = source
    this.#loginEpoch = scope.loginEpoch
    this.#attributes = source.software === undefined ? sealed(attributes) : {}
    // Frozen, because the attributes decide what the handle may be used for and must not be replaced.
    Object.freeze(this)
  }

  /**
   * The current attributes of the object. The record is frozen, and each access to bytes returns a copy. CKA_ALWAYS_AUTHENTICATE
   * becomes true if the card turns out to require the PIN for each use.
   */
  get attributes(): Attributes {
    const { access, software } = this.#source
    if (software !== undefined) return software.attributes
    return access === undefined ? this.#attributes : sealed(withAccess(this.#source, this.#attributes))
  }

  /**
   * Returns one attribute. Throws CKR_ATTRIBUTE_SENSITIVE for the secret of a key, CKR_ATTRIBUTE_TYPE_INVALID if the object does
   * not have the attribute.
   */
  get<K extends keyof AttributeTypes>(type: K): AttributeTypes[K] {
    const { values, rv } = this.read([type])
    if (rv !== CKR.OK) throw new CryptokiError(rv)
    return values[type] as AttributeTypes[K]
  }

  /** Returns the available values of these attributes, and lists the others as sensitive or unknown. */
  read<K extends number>(types: readonly K[]): AttributeReading<K> {
    const { attributes } = this
    const values: Record<number, unknown> = {}
    const sensitive: K[] = []
    const unknown: K[] = []
    for (const type of new Set(types)) {
      // An untyped page may pass the name of an inherited property, such as 'toString'.
      const value = Object.hasOwn(attributes, type)
        ? (attributes as Readonly<Record<number, unknown>>)[type]
        : undefined
      if (value !== undefined) values[type] = value
      else (isSecret(type, attributes) ? sensitive : unknown).push(type)
    }
    const rv =
      sensitive.length > 0
        ? CKR.ATTRIBUTE_SENSITIVE
        : unknown.length > 0
          ? CKR.ATTRIBUTE_TYPE_INVALID
          : CKR.OK
    return { values: values as AttributeReading<K>['values'], sensitive, unknown, rv }
  }

  get isPrivate(): boolean {
    return (this.#source.software?.attributes ?? this.#attributes)[CKA.PRIVATE] === true
  }

  /** Returns the object of the token. Throws `rv` if the handle belongs to another scope or is no longer valid. */
  sourceFor(scope: HandleScope, rv: CKR): TokenObject {
    const isStale = this.isPrivate && this.#loginEpoch !== scope.loginEpoch
    if (scope !== this.#scope || isStale || this.#isDestroyed) throw new CryptokiError(rv)
    return this.#source
  }

  /** Invalidates the handle and overwrites the session object, after C_DestroyObject or the end of its session. */
  destroy(): void {
    this.#isDestroyed = true
    this.#source.software?.destroy()
  }
}

/** Adds the attributes that follow from the key's current access requirements. */
export function withAccess({ access }: TokenObject, attributes: Attributes): Attributes {
  if (access === undefined) return attributes
  return {
    ...attributes,
    // The card lets anyone use a key that requires no PIN, so the key is public.
    [CKA.PRIVATE]: access.needs !== 'nothing',
    [CKA.ALWAYS_AUTHENTICATE]: access.needs === 'context-pin',
  }
}

/** True for attributes that hold the secret of a key and are never revealed. */
function isSecret(type: number, attributes: Attributes): boolean {
  if (!secretClasses.has(attributes[CKA.CLASS])) return false
  const isRsaNumber = type >= CKA.PRIVATE_EXPONENT && type <= CKA.COEFFICIENT
  return type === CKA.VALUE || (isRsaNumber && attributes[CKA.KEY_TYPE] === CKK.RSA)
}

const secretClasses: ReadonlySet<CKO | undefined> = /* @__PURE__ */ new Set([CKO.PRIVATE_KEY, CKO.SECRET_KEY])
