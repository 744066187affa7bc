/** AES in parts, over a library's one-shot modes. */
import { concatBytes, copyOf } from '@webtoki/apdu'
import { CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyStream } from '../key-use.ts'

const BLOCK_BYTES = 16

/** Whole blocks as they come. The last one of a padded decryption waits, for it holds the padding. */
export class AesStream implements KeyStream {
  readonly #key: Uint8Array
  readonly #type: number
  readonly #purpose: 'encrypt' | 'decrypt'
  #iv: Uint8Array
  #held: Uint8Array = new Uint8Array(0)

  constructor(key: Uint8Array, type: number, iv: Uint8Array, purpose: 'encrypt' | 'decrypt') {
    // Its own: the key may be destroyed while it is in use, and what follows must not be encrypted with zeros.
    this.#key = copyOf(key)
    this.#type = type
    this.#iv = copyOf(iv)
    this.#purpose = purpose
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    const all = concatBytes(this.#held, chunk)
    const whole = this.#wholeBytes(all.length)
    this.#held = copyOf(all.subarray(whole))
    return this.#blocks(all.subarray(0, whole))
  }

  async final(): Promise<Uint8Array> {
    const held = this.#held
    switch (this.#type) {
      case CKM.AES_CTR:
        return this.#run(held)
      case CKM.AES_CBC_PAD:
        return this.#purpose === 'encrypt' ? this.#run(padded(held)) : this.#lastBlock(held)
      default:
        if (held.length > 0) throw this.#lengthError()
        return held
    }
  }

  async #lastBlock(held: Uint8Array): Promise<Uint8Array> {
    if (held.length !== BLOCK_BYTES) throw this.#lengthError()
    const block = await this.#run(held)
    const count = block.at(-1) as number
    const isPadding =
      count >= 1 && count <= BLOCK_BYTES && block.subarray(-count).every((byte) => byte === count)
    if (!isPadding) throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
    return block.subarray(0, BLOCK_BYTES - count)
  }

  #lengthError(): CryptokiError {
    return new CryptokiError(this.#purpose === 'encrypt' ? CKR.DATA_LEN_RANGE : CKR.ENCRYPTED_DATA_LEN_RANGE)
  }

  async #blocks(bytes: Uint8Array): Promise<Uint8Array> {
    return bytes.length === 0 ? bytes : this.#run(bytes)
  }

  /** Loaded by those who encrypt. */
  async #run(bytes: Uint8Array): Promise<Uint8Array> {
    const { cbc, ctr, ecb } = await import('@noble/ciphers/aes.js')
    const unpadded = { disablePadding: true }
    const cipher =
      this.#type === CKM.AES_CTR
        ? ctr(this.#key, this.#iv)
        : this.#type === CKM.AES_ECB
          ? ecb(this.#key, unpadded)
          : cbc(this.#key, this.#iv, unpadded)
    const output = this.#purpose === 'encrypt' ? cipher.encrypt(bytes) : cipher.decrypt(bytes)
    // The next block's: the cipher text before it, or the counter.
    if (this.#type === CKM.AES_CTR) this.#iv = counterAfter(this.#iv, bytes.length / BLOCK_BYTES)
    else if (this.#type !== CKM.AES_ECB)
      this.#iv = copyOf((this.#purpose === 'encrypt' ? output : bytes).subarray(-BLOCK_BYTES))
    return output
  }

  updateBytes(inputBytes: number): number {
    return this.#wholeBytes(this.#held.length + inputBytes)
  }

  /** Of so many bytes that are there, those that `update` takes. */
  #wholeBytes(bytes: number): number {
    const rest = bytes % BLOCK_BYTES
    const waits = this.#type === CKM.AES_CBC_PAD && this.#purpose === 'decrypt'
    return rest === 0 && waits ? Math.max(0, bytes - BLOCK_BYTES) : bytes - rest
  }

  abort(): void {
    this.#key.fill(0)
    this.#held.fill(0)
    this.#iv.fill(0)
  }
}

/** PKCS#7 padding. */
function padded(rest: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES).fill(BLOCK_BYTES - rest.length)
  block.set(rest)
  return block
}

/** The counter block, a big-endian number, so many blocks later. */
function counterAfter(counter: Uint8Array, blocks: number): Uint8Array {
  const next = copyOf(counter)
  let carry = Math.floor(blocks)
  for (let at = BLOCK_BYTES - 1; at >= 0 && carry > 0; at--) {
    const sum = (next[at] as number) + carry
    next[at] = sum & 0xff
    carry = Math.floor(sum / 256)
  }
  return next
}
