/** Reference data, such as a PIN, with its retry counter (ISO/IEC 7816-4, 11.6). */
import { copyOf, sameBytes } from '../bytes.ts'

/** The result of a comparison. */
export type Comparison = 'right' | 'wrong' | 'blocked'

/** A secret and its retry counter. */
export class ReferenceData {
  #value: Uint8Array
  #triesLeft: number
  readonly maxTries: number

  constructor(value: Uint8Array, maxTries: number) {
    this.#value = copyOf(value)
    this.maxTries = maxTries
    this.#triesLeft = maxTries
  }

  /** Length of the secret in bytes. It separates the secret from a second one that follows in the same command. */
  get length(): number {
    return this.#value.length
  }

  get triesLeft(): number {
    return this.#triesLeft
  }

  /** Compares a value with the secret. A wrong value decrements the retry counter, the right one resets it. */
  compare(guess: Uint8Array): Comparison {
    if (this.#triesLeft === 0) return 'blocked'
    if (sameBytes(guess, this.#value)) {
      this.#triesLeft = this.maxTries
      return 'right'
    }
    this.#triesLeft -= 1
    return 'wrong'
  }

  /** Replaces the secret and resets the retry counter. */
  replace(value: Uint8Array): void {
    this.#value = copyOf(value)
    this.#triesLeft = this.maxTries
  }
}
