/** A cipher that takes its data in one piece, behind the interface of a stream. */
import { concatBytes, copyOf } from '@webtoki/apdu'
import type { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyStream } from '../key-use.ts'

const nothing = new Uint8Array(0)

/** How much is collected, and what is made of it. */
export interface CollectedWork {
  readonly maxBytes: number
  /** The error for more. */
  readonly tooLong: CKR
  run(data: Uint8Array): Promise<Uint8Array>
  /** Key and parameters can be overwritten. */
  end(): void
}

/** Gives nothing before the end: what a decryption puts out has been authenticated by then. */
export class Collected implements KeyStream {
  readonly #work: CollectedWork
  #parts: Uint8Array[] = []
  #bytes = 0

  constructor(work: CollectedWork) {
    this.#work = work
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#bytes += chunk.length
    if (this.#bytes > this.#work.maxBytes) throw new CryptokiError(this.#work.tooLong)
    this.#parts.push(copyOf(chunk))
    return nothing
  }

  async final(): Promise<Uint8Array> {
    const data = concatBytes(...this.#parts)
    try {
      return await this.#work.run(data)
    } finally {
      data.fill(0)
    }
  }

  updateBytes(): number {
    return 0
  }

  abort(): void {
    for (const part of this.#parts) part.fill(0)
    this.#parts = []
    this.#work.end()
  }
}
