/** Reference data, such as a PIN, with its retry counter (ISO/IEC 7816-4, 11.6). */
import { copyOf, sameBytes } from '../bytes.ts'

/** What a comparison came to. */
export type Comparison = 'right' | 'wrong' | 'blocked'

/** A secret, and how often it may still be guessed. */
export class ReferenceData {
  #value: Uint8Array
  #triesLeft: number
  readonly maxTries: number

  constructor(value: Uint8Array, maxTries: number) {
    this.#value = copyOf(value)
    this.maxTries = maxTries
    this.#triesLeft = maxTries
  }

  /** Length of the secret in bytes: what parts it from another one that follows in the same command. */
  get length(): number {
    return this.#value.length
  }

  get triesLeft(): number {
    return this.#triesLeft
  }

  /** Compares and counts: a wrong guess costs a try, a right one gives all of them back. */
  compare(guess: Uint8Array): Comparison {
    if (this.#triesLeft === 0) return 'blocked'
    if (sameBytes(guess, this.#value)) {
      this.#triesLeft = this.maxTries
      return 'right'
    }
    this.#triesLeft -= 1
    return 'wrong'
  }

  /** Puts a new value in place, with all tries. */
  replace(value: Uint8Array): void {
    this.#value = copyOf(value)
    this.#triesLeft = this.maxTries
  }
}
