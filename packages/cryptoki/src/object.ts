/** Objects of a token as an application holds them: PKCS#11 v2.40, 4 "Objects". */
import { sealed } from '@webtoki/apdu'
import type { AttributeTypes, Attributes } from './attributes.ts'
import { CKA, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenObject } from './token.ts'

/** What a handle is good for: one card's stay in its reader. */
export interface HandleScope {
  /** Counts logouts: a private object's handle is good between two of them. */
  readonly loginEpoch: number
}

/** A handle. Valid while its token is inserted; a private object's handle ends for good when its user logs out. */
export class CkObject {
  /** All attributes that the token tells of this object. Frozen; each reading of bytes gives a copy. */
  readonly attributes: Attributes
  readonly #source: TokenObject
  readonly #scope: HandleScope
  readonly #loginEpoch: number

  constructor(scope: HandleScope, source: TokenObject, attributes: Attributes) {
    this.#scope = scope
    this.#source = source
    this.#loginEpoch = scope.loginEpoch
    this.attributes = sealed(attributes)
    // What this handle may do is what its attributes say: nobody puts others in their place.
    Object.freeze(this)
  }

  /** One attribute. Throws CKR_ATTRIBUTE_TYPE_INVALID where the object has none of that type. */
  get<K extends keyof AttributeTypes>(type: K): AttributeTypes[K] {
    const value = this.attributes[type]
    if (value === undefined) throw new CryptokiError(CKR.ATTRIBUTE_TYPE_INVALID)
    return value as AttributeTypes[K]
  }

  get isPrivate(): boolean {
    return this.attributes[CKA.PRIVATE] === true
  }

  /** The token's own object. Throws `rv` where this handle is not (or no longer) one of that scope. */
  sourceFor(scope: HandleScope, rv: CKR): TokenObject {
    const isStale = this.isPrivate && this.#loginEpoch !== scope.loginEpoch
    if (scope !== this.#scope || isStale) throw new CryptokiError(rv)
    return this.#source
  }
}
