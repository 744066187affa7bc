/** Objects of a token as an application holds them: PKCS#11 v2.40, 4 "Objects". */
import { sealed } from '@webtoki/apdu'
import type { AttributeTypes, Attributes } from './attributes.ts'
import { CKA, CKK, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenObject } from './token.ts'

/** What a handle is good for: one card's stay in its reader. */
export interface HandleScope {
  /** Counts logouts: a private object's handle is good between two of them. */
  readonly loginEpoch: number
}

/** What `Session.readAttributes` found. */
export interface AttributeReading<K extends number> {
  readonly values: Partial<Pick<AttributeTypes, K & keyof AttributeTypes>>
  /** Those of which the key has a value that it does not tell. */
  readonly sensitive: readonly K[]
  /** Those that the object does not have. */
  readonly unknown: readonly K[]
  /** CKR_ATTRIBUTE_SENSITIVE if one is sensitive, else CKR_ATTRIBUTE_TYPE_INVALID if one is unknown. */
  readonly rv: typeof CKR.OK | typeof CKR.ATTRIBUTE_SENSITIVE | typeof CKR.ATTRIBUTE_TYPE_INVALID
}

/** A handle. Valid while its token is inserted; a private object's handle ends for good when its user logs out. */
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
    // What this handle may do is what its attributes say: nobody puts others in their place.
    Object.freeze(this)
  }

  /**
   * All attributes of this object, as they are now. Frozen; each reading of bytes gives a copy. CKA_ALWAYS_AUTHENTICATE
   * becomes true if the card turns out to want the PIN for each use.
   */
  get attributes(): Attributes {
    const { access, software } = this.#source
    if (software !== undefined) return software.attributes
    return access === undefined ? this.#attributes : sealed(withAccess(this.#source, this.#attributes))
  }

  /** One attribute. Throws CKR_ATTRIBUTE_SENSITIVE for the secret of a key, CKR_ATTRIBUTE_TYPE_INVALID if there is none of that type. */
  get<K extends keyof AttributeTypes>(type: K): AttributeTypes[K] {
    const { values, rv } = this.read([type])
    if (rv !== CKR.OK) throw new CryptokiError(rv)
    return values[type] as AttributeTypes[K]
  }

  /** What can be had of these attributes; the rest is marked. */
  read<K extends number>(types: readonly K[]): AttributeReading<K> {
    const { attributes } = this
    const values: Record<number, unknown> = {}
    const sensitive: K[] = []
    const unknown: K[] = []
    for (const type of new Set(types)) {
      // Words from a page without types may be members of every object.
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

  /** The token's own object. Throws `rv` if this handle is not (or no longer) one of that scope. */
  sourceFor(scope: HandleScope, rv: CKR): TokenObject {
    const isStale = this.isPrivate && this.#loginEpoch !== scope.loginEpoch
    if (scope !== this.#scope || isStale || this.#isDestroyed) throw new CryptokiError(rv)
    return this.#source
  }

  /** C_DestroyObject, or its session ended: the handle is void. */
  destroy(): void {
    this.#isDestroyed = true
    this.#source.software?.destroy()
  }
}

/** With what follows from the key's access, as it is now. */
export function withAccess({ access }: TokenObject, attributes: Attributes): Attributes {
  if (access === undefined) return attributes
  return {
    ...attributes,
    // A key that asks for no PIN is anybody's, as the card sees it.
    [CKA.PRIVATE]: access.needs !== 'nothing',
    [CKA.ALWAYS_AUTHENTICATE]: access.needs === 'context-pin',
  }
}

/** Attributes that a key has and does not tell. */
function isSecret(type: number, attributes: Attributes): boolean {
  if (!secretClasses.has(attributes[CKA.CLASS])) return false
  const isRsaNumber = type >= CKA.PRIVATE_EXPONENT && type <= CKA.COEFFICIENT
  return type === CKA.VALUE || (isRsaNumber && attributes[CKA.KEY_TYPE] === CKK.RSA)
}

const secretClasses: ReadonlySet<CKO | undefined> = /* @__PURE__ */ new Set([CKO.PRIVATE_KEY, CKO.SECRET_KEY])
