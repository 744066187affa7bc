/** Digests: short data at once, long data in WebAssembly that is loaded for it alone. */
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import type { DigestName } from './digest-name.ts'
import type { LongDigest } from './streaming-digest.ts'

/** A challenge is shorter: who only logs in never loads the WebAssembly. */
const SHORT_BYTES = 0x1_0000

const short = {
  'SHA-1': sha1,
  'SHA-224': sha224,
  'SHA-256': sha256,
  'SHA-384': sha384,
  'SHA-512': sha512,
} as const

/** The hashes that paddings use. */
export type ShortDigestName = 'SHA-1' | 'SHA-224' | 'SHA-256' | 'SHA-384' | 'SHA-512'

/** A whole digest at once, for small inputs. */
export function hash(name: ShortDigestName, bytes: Uint8Array): Uint8Array {
  return short[name](bytes)
}

/** A digest under way. What it is given is not kept beyond the call, however long the whole becomes. */
export class StreamingDigest {
  readonly #name: DigestName
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #long: LongDigest | undefined

  constructor(name: DigestName) {
    this.#name = name
  }

  async update(chunk: Uint8Array): Promise<void> {
    if (this.#long === undefined) {
      if (isShort(this.#name) && this.#gatheredBytes + chunk.length <= SHORT_BYTES) {
        this.#gathered.push(chunk.slice())
        this.#gatheredBytes += chunk.length
        return
      }
      await this.#lengthen()
    }
    this.#long?.update(chunk)
  }

  /** To be called once. */
  async digest(): Promise<Uint8Array> {
    const name = this.#name
    if (this.#long === undefined && isShort(name)) {
      const hasher = short[name].create()
      for (const chunk of this.#gathered) hasher.update(chunk)
      return hasher.digest()
    }
    return (this.#long ?? (await this.#lengthen())).digest()
  }

  async #lengthen(): Promise<LongDigest> {
    const { createLongDigest } = await import('./streaming-digest.ts')
    const long = await createLongDigest(this.#name)
    for (const chunk of this.#gathered) long.update(chunk)
    this.#gathered = []
    this.#long = long
    return long
  }
}

function isShort(name: DigestName): name is ShortDigestName {
  return Object.hasOwn(short, name)
}
