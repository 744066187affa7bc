/** Objects of a token as an application holds them: PKCS#11 v2.40, 4 "Objects". */
import type { AttributeTypes, Attributes } from './attributes.ts'
import { CKA, CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Insertion } from './insertion.ts'
import type { TokenObject } from './token.ts'

/** A handle. Valid while its token is inserted; a private object's handle ends for good when its user logs out. */
export class CkObject {
  /** All attributes that the token tells of this object. */
  readonly attributes: Attributes
  readonly #source: TokenObject
  readonly #insertion: Insertion
  readonly #loginEpoch: number

  constructor(insertion: Insertion, source: TokenObject, attributes: Attributes) {
    this.#insertion = insertion
    this.#source = source
    this.#loginEpoch = insertion.loginEpoch
    this.attributes = attributes
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

  /** The token's own object. Throws `rv` where this handle is not (or no longer) one of that insertion. */
  sourceFor(insertion: Insertion, rv: CKR): TokenObject {
    const isStale = this.isPrivate && this.#loginEpoch !== insertion.loginEpoch
    if (insertion !== this.#insertion || isStale) throw new CryptokiError(rv)
    return this.#source
  }
}
