/** The accumulated output of one operation over a source. */
import { concatBytes, copyOf } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { Progress } from './progress.ts'
import type { OperationType } from './operation-rules.ts'

/** The longest result in bytes. The whole result is held in memory; a longer one is an error with CKR_DATA_LEN_RANGE. */
export const MAX_RESULT_BYTES = 0x400_0000

/** Emits the output of a cipher as `output` events, and accumulates the result of every operation. */
export class Output {
  readonly #type: OperationType
  readonly #progress: Progress
  readonly #parts: Uint8Array[] = []
  #bytes = 0

  constructor(type: OperationType, progress: Progress) {
    this.#type = type
    this.#progress = progress
  }

  /** Adds bytes to the result, and returns them. Throws CKR_DATA_LEN_RANGE. */
  put(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes
    this.#progress.check()
    this.#bytes += bytes.length
    if (this.#bytes > MAX_RESULT_BYTES)
      throw new CryptokiError(CKR.DATA_LEN_RANGE, {
        detail: `the result is longer than ${MAX_RESULT_BYTES} bytes; pipe longer data through a stream`,
      })
    // Copied, so that a listener's changes affect neither the result nor the partner of a pair.
    this.#parts.push(copyOf(bytes))
    if (this.#type === 'encrypt' || this.#type === 'decrypt')
      this.#progress.report({ phase: 'output', chunk: copyOf(bytes) })
    return bytes
  }

  get result(): unknown {
    return this.#type === 'verify' ? true : concatBytes(...this.#parts)
  }
}
