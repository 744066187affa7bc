/** The management key 9B and its block ciphers (SP 800-78-4 table 6-2), and the two ways to authenticate with it. */
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

/** Whether the algorithm is known and the key as long as it asks. */
export function fitsManagementKey({ algorithm, key }: ManagementKey): boolean {
  return ciphers[algorithm]?.keyBytes === key.length
}

/** One dialogue with the management key: a question that the card asked, open until it is answered once. */
export class ManagementAuthentication {
  readonly #key: ManagementKey
  readonly #nonce: Uint8Array
  readonly #mutual: boolean

  constructor(key: ManagementKey, mutual: boolean, random: RandomSource) {
    this.#key = key
    this.#mutual = mutual
    this.#nonce = random(ciphers[key.algorithm]?.blockBytes ?? 8)
  }

  /** What the card sends: the witness encrypted, or the challenge in clear. */
  get firstMessage(): Uint8Array {
    return this.#mutual ? encrypt(this.#key, this.#nonce) : copyOf(this.#nonce)
  }

  /** Answers a challenge: true where the terminal encrypted it under the key. */
  verifyResponse(response: Uint8Array): boolean {
    return !this.#mutual && sameBytes(response, encrypt(this.#key, this.#nonce))
  }

  /** Answers a witness: the terminal's own challenge encrypted, or undefined where the witness is wrong. */
  respondMutually(witness: Uint8Array, challenge: Uint8Array): Uint8Array | undefined {
    if (!this.#mutual || !sameBytes(witness, this.#nonce) || challenge.length !== witness.length)
      return undefined
    return encrypt(this.#key, challenge)
  }
}

function encrypt({ algorithm, key }: ManagementKey, block: Uint8Array): Uint8Array {
  return algorithm === 0x03 ? tripleDesEncrypt(key, block) : ecb(key, { disablePadding: true }).encrypt(block)
}
