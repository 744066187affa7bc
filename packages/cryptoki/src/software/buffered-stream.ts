/** Gives a single-part cipher the interface of a multi-part one by buffering its input. */
import { concatBytes, copyOf } from '@webtoki/apdu'
import type { CKR } from '../constants.ts'
import { CryptokiError } from '../errors.ts'
import type { KeyStream } from '../key-use.ts'

const nothing = new Uint8Array(0)

/** The limit of the buffer and the function that processes it. */
export interface BufferedWork {
  readonly maxBytes: number
  /** The error if the input exceeds `maxBytes`. */
  readonly lengthError: CKR
  run(data: Uint8Array): Promise<Uint8Array>
  /** Called when the operation ends: overwrites the key and the parameters. */
  release(): void
}

/** Returns no output before `final`, so that an authenticated decryption never releases unverified plaintext. */
export class BufferedStream implements KeyStream {
  readonly #work: BufferedWork
  #parts: Uint8Array[] = []
  #bytes = 0

  constructor(work: BufferedWork) {
    this.#work = work
  }

  async update(chunk: Uint8Array): Promise<Uint8Array> {
    this.#bytes += chunk.length
    if (this.#bytes > this.#work.maxBytes) throw new CryptokiError(this.#work.lengthError)
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
    this.#work.release()
  }
}
