/** Session objects, which exist only in the page's memory (PKCS#11 v3.0, 4 "Objects"). */
import { copyOf, sealed } from '@webtoki/apdu'
import { checkChange } from '../attribute-rules.ts'
import { type Attributes, attributeTypesOf } from '../attributes.ts'
import { CKA, CKK, CKO, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyUse, UsableKey } from '../key-use.ts'
import type { RawMechanism } from '../mechanisms.ts'
import type { SoftwareObject, TokenObject } from '../token.ts'
import { aesKey } from './aes.ts'
import { hmacKey } from './hmac.ts'
import { publicKey } from './public-key.ts'
import { platformRandomBytes } from '../random.ts'

/** An object with all attributes of its class. The value of a secret key or data object is stored separately from them. */
export class SessionObject implements TokenObject, SoftwareObject {
  readonly #key: UsableKey & { destroy?(): void }
  readonly #value: Uint8Array | undefined
  /** All attributes except `#value`. */
  #ownAttributes: Attributes
  #attributes: Attributes
  #isDestroyed = false

  /** Copies the attributes and the value. */
  constructor(attributes: Attributes, value?: Uint8Array) {
    this.#ownAttributes = sealed(attributes)
    this.#value = value && copyOf(value)
    this.#key =
      attributes[CKA.CLASS] === CKO.SECRET_KEY
        ? secretKey(attributes, value)
        : publicKey(this.#ownAttributes, platformRandomBytes)
    this.#attributes = this.#withValue()
  }

  get software(): SoftwareObject {
    return this
  }

  get attributes(): Attributes {
    return this.#attributes
  }

  get known(): Attributes {
    return this.#attributes
  }

  async load(): Promise<Attributes> {
    return this.#attributes
  }

  use(purpose: KeyPurpose, mechanism: RawMechanism): KeyUse {
    return this.#key.use(purpose, mechanism)
  }

  value(): Uint8Array | undefined {
    return this.#value && copyOf(this.#value)
  }

  get size(): number {
    const sizes = attributeTypesOf(this.#ownAttributes).map((type) => bytesOf(this.#ownAttributes[type]))
    return sizes.reduce((sum, bytes) => sum + bytes, this.#value?.length ?? 0)
  }

  change(template: Attributes): void {
    checkChange('set', template, this.#ownAttributes)
    this.#ownAttributes = sealed({ ...this.#ownAttributes, ...template })
    this.#attributes = this.#withValue()
  }

  destroy(): void {
    this.#isDestroyed = true
    this.#value?.fill(0)
    this.#key.destroy?.()
  }

  get #isReadable(): boolean {
    const {
      [CKA.CLASS]: objectClass,
      [CKA.SENSITIVE]: isSensitive,
      [CKA.EXTRACTABLE]: isExtractable,
    } = this.#ownAttributes
    if (this.#isDestroyed) return false
    return objectClass === CKO.DATA || (isSensitive === false && isExtractable === true)
  }

  /**
   * Adds CKA_VALUE as a getter. Attributes that a caller keeps thus contain no copy of the value, and each access checks
   * whether it may still be read.
   */
  #withValue(): Attributes {
    if (this.#value === undefined || !this.#isReadable) return this.#ownAttributes
    const value = { enumerable: true, get: () => (this.#isReadable ? this.value() : undefined) }
    const members = { ...Object.getOwnPropertyDescriptors(this.#ownAttributes), [CKA.VALUE]: value }
    return Object.freeze(Object.defineProperties({}, members)) as Attributes
  }
}

/** Returns the secret key. A type without a software implementation refuses every use. */
function secretKey(attributes: Attributes, value: Uint8Array | undefined): UsableKey & { destroy?(): void } {
  const { [CKA.KEY_TYPE]: keyType } = attributes
  if (keyType === CKK.AES && value !== undefined) return aesKey(value)
  if (keyType === CKK.GENERIC_SECRET && value !== undefined) return hmacKey(value)
  return {
    use: () => {
      throw new CryptokiError(CKR.MECHANISM_INVALID)
    },
  }
}

/** Returns the approximate size in memory: two bytes for a character, four for a number. */
function bytesOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length
  if (typeof value === 'string') return 2 * value.length
  if (Array.isArray(value)) return 4 * value.length
  return typeof value === 'boolean' ? 1 : 4
}
