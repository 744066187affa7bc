/** Objects of a token as an application holds them: PKCS#11 v2.40, 4 "Objects". */
import { sealed } from '@webtoki/apdu'
import type { AttributeTypes, Attributes } from './attributes.ts'
import { CKA, CKO, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenObject } from './token.ts'

/** What a handle is good for: one card's stay in its reader. */
export interface HandleScope {
  /** Counts logouts: a private object's handle is good between two of them. */
  readonly loginEpoch: number
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
    this.#attributes = sealed(attributes)
    // What this handle may do is what its attributes say: nobody puts others in their place.
    Object.freeze(this)
  }

  /**
   * All attributes that the token tells of this object. Frozen; each reading of bytes gives a copy. CKA_ALWAYS_AUTHENTICATE
   * becomes true if the card turns out to want the PIN for each use.
   */
  get attributes(): Attributes {
    return this.#source.access === undefined
      ? this.#attributes
      : sealed(withAccess(this.#source, this.#attributes))
  }

  /** One attribute. Throws CKR_ATTRIBUTE_SENSITIVE for the secret of a key, CKR_ATTRIBUTE_TYPE_INVALID if there is none of that type. */
  get<K extends keyof AttributeTypes>(type: K): AttributeTypes[K] {
    const { attributes } = this
    // Words from a page without types may be members of every object.
    const value = Object.hasOwn(attributes, type) ? attributes[type] : undefined
    if (value !== undefined) return value as AttributeTypes[K]
    const isSecret = type === CKA.VALUE && secretClasses.has(attributes[CKA.CLASS])
    throw new CryptokiError(isSecret ? CKR.ATTRIBUTE_SENSITIVE : CKR.ATTRIBUTE_TYPE_INVALID)
  }

  get isPrivate(): boolean {
    return this.#attributes[CKA.PRIVATE] === true
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
    this.#source.destroy?.()
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

const secretClasses: ReadonlySet<CKO | undefined> = /* @__PURE__ */ new Set([CKO.PRIVATE_KEY, CKO.SECRET_KEY])
