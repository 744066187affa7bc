/** What a stream collects of the output of one operation. */
import { concatBytes, copyOf } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Progress } from './progress.ts'
import type { OperationType } from './operation-rules.ts'

/** A cipher's result stands in memory as a whole: more than this many bytes end in CKR_DATA_LEN_RANGE. */
export const MAX_RESULT_BYTES = 0x400_0000

/** Tells a cipher's output as it comes, and keeps the result of every operation. */
export class Output {
  readonly #type: OperationType
  readonly #progress: Progress
  readonly #parts: Uint8Array[] = []
  #bytes = 0

  constructor(type: OperationType, progress: Progress) {
    this.#type = type
    this.#progress = progress
  }

  /** Returns what it is given. */
  put(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes
    this.#progress.check()
    this.#bytes += bytes.length
    if (this.#bytes > MAX_RESULT_BYTES)
      throw new CryptokiError(CKR.DATA_LEN_RANGE, {
        detail: `a result has at most ${MAX_RESULT_BYTES} bytes; pipe longer data through a stream`,
      })
    // Copies: what a listener makes of it is neither the result nor what the other half of a pair takes.
    this.#parts.push(copyOf(bytes))
    if (this.#type === 'encrypt' || this.#type === 'decrypt')
      this.#progress.tell({ phase: 'output', chunk: copyOf(bytes) })
    return bytes
  }

  get result(): unknown {
    return this.#type === 'verify' ? true : concatBytes(...this.#parts)
  }
}
