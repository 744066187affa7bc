/** The PIV management key 9B, its block ciphers (SP 800-78-4, table 6-2) and the authentication with it. */
import { ecb } from '@noble/ciphers/aes.js'
import { copyOf, type RandomSource, sameBytes } from '../bytes.ts'
import { tripleDesEncrypt } from '../crypto/triple-des.ts'

/** A management key and its algorithm reference. */
export interface ManagementKey {
  readonly algorithm: number
  readonly key: Uint8Array
}

const ciphers: Readonly<Record<number, { readonly keyBytes: number; readonly blockBytes: number }>> = {
  0x03: { keyBytes: 24, blockBytes: 8 },
  0x08: { keyBytes: 16, blockBytes: 16 },
  0x0a: { keyBytes: 24, blockBytes: 16 },
  0x0c: { keyBytes: 32, blockBytes: 16 },
}

/** Returns true if the algorithm is known and the key has its length. */
export function fitsManagementKey({ algorithm, key }: ManagementKey): boolean {
  return ciphers[algorithm]?.keyBytes === key.length
}

/** One authentication with the management key. It accepts one response to the card's challenge or witness. */
export class ManagementAuthentication {
  readonly #key: ManagementKey
  readonly #nonce: Uint8Array
  readonly #mutual: boolean

  constructor(key: ManagementKey, mutual: boolean, random: RandomSource) {
    this.#key = key
    this.#mutual = mutual
    this.#nonce = random(ciphers[key.algorithm]?.blockBytes ?? 8)
  }

  /** The card's first message: the encrypted witness in mutual authentication, otherwise the challenge in clear. */
  get firstMessage(): Uint8Array {
    return this.#mutual ? encrypt(this.#key, this.#nonce) : copyOf(this.#nonce)
  }

  /** Returns true if the response is the challenge encrypted with the key. */
  verifyResponse(response: Uint8Array): boolean {
    return !this.#mutual && sameBytes(response, encrypt(this.#key, this.#nonce))
  }

  /** Returns the terminal's challenge encrypted with the key, or undefined if the decrypted witness is wrong. */
  respondMutually(witness: Uint8Array, challenge: Uint8Array): Uint8Array | undefined {
    if (!this.#mutual || !sameBytes(witness, this.#nonce) || challenge.length !== witness.length)
      return undefined
    return encrypt(this.#key, challenge)
  }
}

function encrypt({ algorithm, key }: ManagementKey, block: Uint8Array): Uint8Array {
  return algorithm === 0x03 ? tripleDesEncrypt(key, block) : ecb(key, { disablePadding: true }).encrypt(block)
}
