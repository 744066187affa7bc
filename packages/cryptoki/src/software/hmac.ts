/** HMAC keys in software, with SHA-1, SHA-2 and SHA-3 (PKCS#11 v3.0 mechanisms, 2.20 to 2.28; RFC 2104). */
import { copyOf } from '@webtoki/apdu'
import { CKK, CKR } from '../constants.ts'
import { type HashName, hashes } from '@webtoki/crypto'
import { CryptokiError } from '../errors.ts'
import type { KeyPurpose, KeyStream, KeyUse, UsableKey } from '../key-use.ts'
import { hmacMechanisms, type RawMechanism } from '../mechanisms.ts'
import type { LongDigest } from '@webtoki/crypto/streaming-digest'
import { equalSecrets } from './equal-secrets.ts'
import { checkSoftwareUse } from './mechanisms.ts'

const nothing = new Uint8Array(0)

/** Makes a key that signs and verifies from a copy of a generic secret. */
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
  readonly #isVerification: boolean
  #mac: Promise<LongDigest> | undefined

  constructor(key: Uint8Array, hash: HashName, verifies: boolean) {
    // A copy: the key may be destroyed during the operation.
    this.#key = copyOf(key)
    this.#hash = hash
    this.#isVerification = verifies
  }

  /** Loads the hash function with the first data. */
  async #openMac(): Promise<LongDigest> {
    const { createLongHmac } = await import('@webtoki/crypto/streaming-digest')
    return createLongHmac(this.#hash, this.#key)
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#mac ??= this.#openMac()
    ;(await this.#mac).update(chunk)
    return nothing
  }

  async final(signature: Uint8Array = nothing): Promise<Uint8Array> {
    this.#mac ??= this.#openMac()
    const mac = (await this.#mac).digest()
    if (!this.#isVerification) return mac
    if (signature.length !== mac.length) throw new CryptokiError(CKR.SIGNATURE_LEN_RANGE)
    if (!equalSecrets(mac, signature)) throw new CryptokiError(CKR.SIGNATURE_INVALID)
    return nothing
  }

  updateBytes(): number {
    return 0
  }

  abort(): void {
    this.#key.fill(0)
  }
}
