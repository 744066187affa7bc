/** Digests: short data by the platform's own, long data in WebAssembly that is loaded for it alone. */
import { type HashName, hashes } from '@webtoki/crypto'
import type { LongDigest } from '@webtoki/crypto/streaming-digest'

/** A challenge is shorter: who only logs in never loads the WebAssembly. */
const SHORT_BYTES = 0x1_0000

/** A digest under way. What it is given is not kept beyond the call, however long the whole becomes. */
export class StreamingDigest {
  readonly #name: HashName
  #gathered = new Uint8Array(0)
  #gatheredBytes = 0
  #long: LongDigest | undefined

  constructor(name: HashName) {
    this.#name = name
  }

  async update(chunk: Uint8Array): Promise<void> {
    if (this.#long === undefined) {
      if (
        subtle() !== undefined &&
        hashes[this.#name].isInWebCrypto &&
        this.#gatheredBytes + chunk.length <= SHORT_BYTES
      ) {
        this.#gather(chunk)
        return
      }
      await this.#lengthen()
    }
    this.#long?.update(chunk)
  }

  /** To be called once. */
  async digest(): Promise<Uint8Array> {
    const platform = subtle()
    if (this.#long === undefined && platform !== undefined && hashes[this.#name].isInWebCrypto) {
      const message = this.#gathered.subarray(0, this.#gatheredBytes)
      return new Uint8Array(await platform.digest(this.#name, message))
    }
    return (this.#long ?? (await this.#lengthen())).digest()
  }

  /** At least twice as long each time, so that no byte is copied often. */
  #gather(chunk: Uint8Array): void {
    const bytes = this.#gatheredBytes + chunk.length
    if (bytes > this.#gathered.length) {
      const grown = new Uint8Array(Math.max(bytes, 2 * this.#gathered.length))
      grown.set(this.#gathered)
      this.#gathered = grown
    }
    this.#gathered.set(chunk, this.#gatheredBytes)
    this.#gatheredBytes = bytes
  }

  async #lengthen(): Promise<LongDigest> {
    const { createLongDigest } = await import('@webtoki/crypto/streaming-digest')
    const long = await createLongDigest(this.#name)
    long.update(this.#gathered.subarray(0, this.#gatheredBytes))
    this.#gathered = new Uint8Array(0)
    this.#long = long
    return long
  }
}

/** Undefined in a page that was not served securely. */
function subtle(): SubtleCrypto | undefined {
  return globalThis.crypto?.subtle
}
