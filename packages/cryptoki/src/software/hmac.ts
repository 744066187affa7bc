/** HMAC keys in software: CKM_SHA_1_HMAC and the others of SHA-2 and SHA-3 (PKCS#11 v3.0 mechanisms, 2.20 to 2.28; RFC 2104). */
import { copyOf } from '@webtoki/apdu'
import { CKK, CKR } from '../constants.ts'
import { type HashName, hashes } from '@webtoki/crypto'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyStream, KeyUse, UsableKey } from '../key-use.ts'
import { hmacMechanisms, type RawMechanism } from '../mechanisms.ts'
import type { LongDigest } from '@webtoki/crypto/streaming-digest'
import { isSame } from './constant-shape.ts'
import { checkSoftwareUse } from './mechanisms.ts'

const nothing = new Uint8Array(0)

/** A generic secret, which it copies. It signs and verifies. */
export function hmacKey(value: Uint8Array): UsableKey & { destroy(): void } {
  const key = copyOf(value)
  return {
    use: (purpose: KeyPurpose, { type }: RawMechanism): KeyUse => {
      checkSoftwareUse(purpose, type, CKK.GENERIC_SECRET, 8 * key.length)
      const hash = hmacMechanisms.get(type)
      if (hash === undefined) throw new CryptokiError(CKR.MECHANISM_INVALID)
      return {
        gathers: 'stream',
        outputBytes: () => (purpose === 'verify' ? 0 : hashes[hash].bytes),
        open: () => new HmacStream(key, hash, purpose === 'verify'),
      }
    },
    destroy: () => void key.fill(0),
  }
}

class HmacStream implements KeyStream {
  readonly #key: Uint8Array
  readonly #hash: HashName
  readonly #verifies: boolean
  #mac: Promise<LongDigest> | undefined

  constructor(key: Uint8Array, hash: HashName, verifies: boolean) {
    // Its own: the key may be destroyed while it is in use.
    this.#key = copyOf(key)
    this.#hash = hash
    this.#verifies = verifies
  }

  /** Loaded with the first data. */
  async #begun(): Promise<LongDigest> {
    const { createLongHmac } = await import('@webtoki/crypto/streaming-digest')
    return createLongHmac(this.#hash, this.#key)
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#mac ??= this.#begun()
    ;(await this.#mac).update(chunk)
    return nothing
  }

  async final(signature: Uint8Array = nothing): Promise<Uint8Array> {
    this.#mac ??= this.#begun()
    const mac = (await this.#mac).digest()
    if (!this.#verifies) return mac
    if (signature.length !== mac.length) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
    if (!isSame(mac, signature)) throw new CryptokiError(CKR.SIGNATURE_INVALID)
    return nothing
  }

  updateBytes(): number {
    return 0
  }

  abort(): void {
    this.#key.fill(0)
  }
}
