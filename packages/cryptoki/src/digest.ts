/** Streaming digests: WebCrypto for short data, and WebAssembly, which is loaded on demand, for long data. */
import { type HashName, hashes } from '@webtoki/crypto'
import type { LongDigest } from '@webtoki/crypto/streaming-digest'

/** Data up to this length is buffered for WebCrypto. Challenges are shorter, so a login never loads the WebAssembly. */
const MAX_BUFFERED_BYTES = 0x1_0000

/** A running digest. It buffers at most MAX_BUFFERED_BYTES of the data, whatever the total length. */
export class StreamingDigest {
  readonly #name: HashName
  #buffer = new Uint8Array(0)
  #bufferedBytes = 0
  #long: LongDigest | undefined

  constructor(name: HashName) {
    this.#name = name
  }

  async update(chunk: Uint8Array): Promise<void> {
    if (this.#long === undefined) {
      if (
        subtle() !== undefined &&
        hashes[this.#name].isInWebCrypto &&
        this.#bufferedBytes + chunk.length <= MAX_BUFFERED_BYTES
      ) {
        this.#append(chunk)
        return
      }
      await this.#startLong()
    }
    this.#long?.update(chunk)
  }

  /** Resolves to the digest. Must be called only once. */
  async digest(): Promise<Uint8Array> {
    const platform = subtle()
    if (this.#long === undefined && platform !== undefined && hashes[this.#name].isInWebCrypto) {
      const message = this.#buffer.subarray(0, this.#bufferedBytes)
      return new Uint8Array(await platform.digest(this.#name, message))
    }
    return (this.#long ?? (await this.#startLong())).digest()
  }

  /** Appends to the buffer, which at least doubles when it grows, so that bytes are seldom copied. */
  #append(chunk: Uint8Array): void {
    const bytes = this.#bufferedBytes + chunk.length
    if (bytes > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(bytes, 2 * this.#buffer.length))
      grown.set(this.#buffer)
      this.#buffer = grown
    }
    this.#buffer.set(chunk, this.#bufferedBytes)
    this.#bufferedBytes = bytes
  }

  async #startLong(): Promise<LongDigest> {
    const { createLongDigest } = await import('@webtoki/crypto/streaming-digest')
    const long = await createLongDigest(this.#name)
    long.update(this.#buffer.subarray(0, this.#bufferedBytes))
    this.#buffer = new Uint8Array(0)
    this.#long = long
    return long
  }
}

/** Returns undefined in an insecure context, where browsers do not expose WebCrypto. */
function subtle(): SubtleCrypto | undefined {
  return globalThis.crypto?.subtle
}
