/** Multi-part AES in the modes ECB, CBC, CBC with padding and CTR (NIST SP 800-38A). */
import { concatBytes, copyOf, fromHex, toHex } from '@webtoki/apdu'
import { STEP_BYTES } from '@webtoki/apdu/pace'
import { CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyStream } from '../key-use.ts'
import { type AesBlocks, isOffThread, openBlocks } from './aes-blocks.ts'

const BLOCK_BYTES = 16

/** Bytes that are passed to WebCrypto at once. Copying them takes a fraction of a millisecond. */
const OFF_THREAD_STEP_BYTES = 0x10_0000

/** An AES mode and its parameters. */
export interface AesMode {
  readonly type: number
  /** The initialisation vector of CBC or the first counter block of CTR; empty for ECB. */
  readonly iv: Uint8Array
  /** CTR: the number of low bits of `iv` that form the counter. */
  readonly counterBits: number
}

/** Processes whole blocks as they arrive. A padded decryption holds back the last block, which contains the padding. */
export class AesStream implements KeyStream {
  readonly #key: Uint8Array
  readonly #type: number
  readonly #direction: 'encrypt' | 'decrypt'
  readonly #counterMask: bigint
  /** CTR: the number of blocks left before a counter block would repeat. */
  #blocksLeft: bigint
  #iv: Uint8Array
  #pending: Uint8Array = new Uint8Array(0)
  #blocks: Promise<AesBlocks> | undefined

  constructor(key: Uint8Array, { type, iv, counterBits }: AesMode, direction: 'encrypt' | 'decrypt') {
    // A copy: if the key is destroyed during the operation, the remaining data must not be encrypted with zeros.
    this.#key = copyOf(key)
    this.#type = type
    this.#iv = copyOf(iv)
    this.#direction = direction
    this.#blocksLeft = 1n << BigInt(counterBits)
    this.#counterMask = this.#blocksLeft - 1n
  }

  get stepBytes(): number {
    return isOffThread(this.#type) ? OFF_THREAD_STEP_BYTES : STEP_BYTES
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    const all = this.#pending.length === 0 ? chunk : concatBytes(this.#pending, chunk)
    const whole = this.#wholeBytes(all.length)
    this.#pending = copyOf(all.subarray(whole))
    return this.#process(all.subarray(0, whole))
  }

  async final(): Promise<Uint8Array> {
    const held = this.#pending
    switch (this.#type) {
      case CKM.AES_CTR:
        return this.#process(held)
      case CKM.AES_CBC_PAD:
        return this.#direction === 'encrypt' ? this.#process(padded(held)) : this.#lastBlock(held)
      default:
        if (held.length > 0) throw this.#lengthError()
        return held
    }
  }

  /**
   * Removes the padding, in the same steps whatever the block contains: a visible difference between padding errors
   * reveals the plaintext (Vaudenay 2002).
   */
  async #lastBlock(held: Uint8Array): Promise<Uint8Array> {
    if (held.length !== BLOCK_BYTES) throw this.#lengthError()
    const block = await this.#process(held)
    const count = block[BLOCK_BYTES - 1] as number
    // Nonzero if `count` is not between 1 and 16: one of the differences is negative, which sets its upper bits.
    let wrong = (count - 1) | (BLOCK_BYTES - count)
    wrong &= ~0xff
    for (let at = 0; at < BLOCK_BYTES; at++) {
      const isPadding = (BLOCK_BYTES - 1 - at - count) >> 31
      wrong |= ((block[at] as number) ^ count) & isPadding
    }
    const start = BLOCK_BYTES - count
    const data = copyOf(block.subarray(0, Math.max(0, start)))
    block.fill(0)
    if (wrong === 0) return data
    data.fill(0)
    throw new CryptokiError(CKR.ENCRYPTED_DATA_INVALID)
  }

  #lengthError(): CryptokiError {
    const rv = this.#direction === 'encrypt' ? CKR.DATA_LEN_RANGE : CKR.ENCRYPTED_DATA_LEN_RANGE
    return new CryptokiError(rv)
  }

  async #process(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length === 0) return bytes
    this.#blocks ??= openBlocks(this.#key, this.#type, this.#direction)
    const blocks = await this.#blocks
    if (this.#type === CKM.AES_CTR) return this.#processCounterMode(blocks, bytes)
    const output = await blocks(bytes, this.#iv)
    if (this.#type !== CKM.AES_ECB)
      this.#iv = copyOf((this.#direction === 'encrypt' ? output : bytes).subarray(-BLOCK_BYTES))
    return output
  }

  /**
   * The counter wraps within its own bits (SP 800-38A, B.1). Rejects with CKR_DATA_LEN_RANGE or
   * CKR_ENCRYPTED_DATA_LEN_RANGE before a counter block would be used twice.
   */
  async #processCounterMode(blocks: AesBlocks, bytes: Uint8Array): Promise<Uint8Array> {
    const blockCount = BigInt(Math.ceil(bytes.length / BLOCK_BYTES))
    if (blockCount > this.#blocksLeft) throw this.#lengthError()
    this.#blocksLeft -= blockCount
    const untilWrap = this.#counterMask + 1n - (numberOf(this.#iv) & this.#counterMask)
    // The counter wraps at most once. The input is split there, so that `blocks` never wraps it.
    const split = blockCount > untilWrap ? Number(untilWrap) * BLOCK_BYTES : bytes.length
    const parts: Uint8Array[] = []
    for (const part of [bytes.subarray(0, split), bytes.subarray(split)]) {
      if (part.length === 0) continue
      parts.push(await blocks(part, this.#iv))
      this.#iv = counterAfter(this.#iv, Math.ceil(part.length / BLOCK_BYTES), this.#counterMask)
    }
    const [first, second] = parts
    return first !== undefined && second === undefined ? first : concatBytes(...parts)
  }

  updateBytes(inputBytes: number): number {
    return this.#wholeBytes(this.#pending.length + inputBytes)
  }

  /** Returns how many of the available bytes `update` processes. */
  #wholeBytes(bytes: number): number {
    const rest = bytes % BLOCK_BYTES
    const holdsLastBlock = this.#type === CKM.AES_CBC_PAD && this.#direction === 'decrypt'
    return rest === 0 && holdsLastBlock ? Math.max(0, bytes - BLOCK_BYTES) : bytes - rest
  }

  abort(): void {
    this.#key.fill(0)
    this.#pending.fill(0)
    this.#iv.fill(0)
  }
}

/** Adds PKCS#7 padding (RFC 5652, 6.3). */
function padded(rest: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES).fill(BLOCK_BYTES - rest.length)
  block.set(rest)
  return block
}

function numberOf(block: Uint8Array): bigint {
  return BigInt(`0x${toHex(block)}`)
}

/** Returns the counter block after `blocks` more blocks. The bits outside `mask` do not change. */
function counterAfter(block: Uint8Array, blocks: number, mask: bigint): Uint8Array {
  const number = numberOf(block)
  const next = (number & ~mask) | ((number + BigInt(blocks)) & mask)
  return fromHex(next.toString(16).padStart(2 * BLOCK_BYTES, '0'))
}
