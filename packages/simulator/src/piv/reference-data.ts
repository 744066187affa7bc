/** A PIN or PUK with its tries, as ISO 7816-4 §11.5 and SP 800-73-4 part 2 §3.2 want it. */
import { copyOf, sameBytes } from '../bytes.ts'

/** What a comparison came to. */
export type Comparison = 'right' | 'wrong' | 'blocked'

/** Eight bytes of secret, and how often they may still be guessed. */
export class ReferenceData {
  #value: Uint8Array
  #triesLeft: number
  readonly maxTries: number

  constructor(value: Uint8Array, maxTries: number) {
    this.#value = copyOf(value)
    this.maxTries = maxTries
    this.#triesLeft = maxTries
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

/** Whether these are 6 to 8 digits filled up with FF to 8 bytes (SP 800-73-4 part 2 §2.4.3). */
export function isPinFormat(bytes: Uint8Array): boolean {
  if (bytes.length !== 8) return false
  const filling = bytes.indexOf(0xff)
  const length = filling === -1 ? 8 : filling
  const digits = bytes.subarray(0, length).every((byte) => byte >= 0x30 && byte <= 0x39)
  return length >= 6 && digits && bytes.subarray(length).every((byte) => byte === 0xff)
}

/** Writes a PIN or PUK given as text into its 8 bytes. */
export function pinBlock(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length > 8) throw new RangeError('A PIN has at most 8 characters.')
  const block = new Uint8Array(8).fill(0xff)
  block.set(bytes)
  return block
}
