/** AES in parts: ECB, CBC, CBC with padding, CTR (NIST SP 800-38A). */
import { concatBytes, copyOf, fromHex, toHex } from '@webtoki/apdu'
import { STEP_BYTES } from '@webtoki/apdu/pace'
import { CKM, CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyStream } from '../key-use.ts'
import { type AesBlocks, isOutsideThread, openBlocks } from './aes-blocks.ts'

const BLOCK_BYTES = 16

/** So much is copied and handed over at once, which takes a fraction of a millisecond. */
const OUTSIDE_STEP_BYTES = 0x10_0000

/** A mode with its parameters. */
export interface AesMode {
  readonly type: number
  /** Empty for ECB. */
  readonly iv: Uint8Array
  /** Of CTR: how many of the last bits of `iv` count. */
  readonly counterBits: number
}

/** Whole blocks as they come. The last one of a padded decryption waits, for it holds the padding. */
export class AesStream implements KeyStream {
  readonly #key: Uint8Array
  readonly #type: number
  readonly #direction: 'encrypt' | 'decrypt'
  readonly #counterMask: bigint
  /** Of CTR: blocks before one would be encrypted like the first. */
  #blocksLeft: bigint
  #iv: Uint8Array
  #held: Uint8Array = new Uint8Array(0)
  #blocks: Promise<AesBlocks> | undefined

  constructor(key: Uint8Array, { type, iv, counterBits }: AesMode, direction: 'encrypt' | 'decrypt') {
    // Its own: the key may be destroyed while it is in use, and what follows must not be encrypted with zeros.
    this.#key = copyOf(key)
    this.#type = type
    this.#iv = copyOf(iv)
    this.#direction = direction
    this.#blocksLeft = 1n << BigInt(counterBits)
    this.#counterMask = this.#blocksLeft - 1n
  }

  get stepBytes(): number {
    return isOutsideThread(this.#type) ? OUTSIDE_STEP_BYTES : STEP_BYTES
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    const all = this.#held.length === 0 ? chunk : concatBytes(this.#held, chunk)
    const whole = this.#wholeBytes(all.length)
    this.#held = copyOf(all.subarray(whole))
    return this.#run(all.subarray(0, whole))
  }

  async final(): Promise<Uint8Array> {
    const held = this.#held
    switch (this.#type) {
      case CKM.AES_CTR:
        return this.#run(held)
      case CKM.AES_CBC_PAD:
        return this.#direction === 'encrypt' ? this.#run(padded(held)) : this.#lastBlock(held)
      default:
        if (held.length > 0) throw this.#lengthError()
        return held
    }
  }

  /** The same steps whatever the block holds: how a padding is wrong tells of the plaintext (Vaudenay). */
  async #lastBlock(held: Uint8Array): Promise<Uint8Array> {
    if (held.length !== BLOCK_BYTES) throw this.#lengthError()
    const block = await this.#run(held)
    const count = block[BLOCK_BYTES - 1] as number
    // Negative numbers have all their upper bits set.
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

  async #run(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length === 0) return bytes
    this.#blocks ??= openBlocks(this.#key, this.#type, this.#direction)
    const blocks = await this.#blocks
    if (this.#type === CKM.AES_CTR) return this.#count(blocks, bytes)
    const output = await blocks(bytes, this.#iv)
    if (this.#type !== CKM.AES_ECB)
      this.#iv = copyOf((this.#direction === 'encrypt' ? output : bytes).subarray(-BLOCK_BYTES))
    return output
  }

  /** The counting bits wrap by themselves (SP 800-38A, B.1); no counter block is used twice. */
  async #count(blocks: AesBlocks, bytes: Uint8Array): Promise<Uint8Array> {
    const blockCount = BigInt(Math.ceil(bytes.length / BLOCK_BYTES))
    if (blockCount > this.#blocksLeft) throw this.#lengthError()
    this.#blocksLeft -= blockCount
    const untilWrap = this.#counterMask + 1n - (numberOf(this.#iv) & this.#counterMask)
    // It wraps once at most. The platforms are not asked to wrap it.
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
    return this.#wholeBytes(this.#held.length + inputBytes)
  }

  /** Of so many bytes that are there, those that `update` takes. */
  #wholeBytes(bytes: number): number {
    const rest = bytes % BLOCK_BYTES
    const waits = this.#type === CKM.AES_CBC_PAD && this.#direction === 'decrypt'
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

function numberOf(block: Uint8Array): bigint {
  return BigInt(`0x${toHex(block)}`)
}

/** The counter block so many blocks later; the bits beyond the mask stay as they are. */
function counterAfter(block: Uint8Array, blocks: number, mask: bigint): Uint8Array {
  const number = numberOf(block)
  const next = (number & ~mask) | ((number + BigInt(blocks)) & mask)
  return fromHex(next.toString(16).padStart(2 * BLOCK_BYTES, '0'))
}
