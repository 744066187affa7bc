/** What a PIN may consist of, and how what a person typed becomes its bytes. */
import { type ByteSource, viewOf } from './bytes.ts'
import { PinFormatError, type PinLimits } from './errors.ts'
import type { PinTemplate } from './ports.ts'

/** What a person may type, and how it is sent. */
export interface PinFormat extends PinLimits {
  /** The data field of VERIFY: a fresh array, which is overwritten after use. */
  encode(pin: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** What a reader with keys is told, given the header of VERIFY (4 bytes). Absent: a pad cannot compute what the card wants. */
  readonly padTemplate?: ((header: Uint8Array) => PinTemplate) | undefined
}

/**
 * The PIN that was typed (UTF-8), as a fresh array. In a PIN of digits the digits of any script count as the digits that
 * they are: Japanese keyboards type full-width ones, and the card compares ASCII. Throws PinFormatError, and nothing of the
 * PIN is left in memory but what the caller has.
 */
export function pinOf(typed: ByteSource, limits: PinLimits): Uint8Array<ArrayBuffer> {
  const bytes = viewOf(typed)
  const pin = new Uint8Array(bytes.length)
  let length = 0
  try {
    if (limits.alphabet === 'text') {
      pin.set(bytes)
      length = bytes.length
    } else {
      for (let at = 0; at < bytes.length; length++) {
        const first = bytes[at] as number
        const next = at + (first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4)
        const digit = digitOf(new TextDecoder('utf-8').decode(bytes.subarray(at, next)))
        if (digit === undefined) throw new PinFormatError('alphabet', limits)
        pin[length] = 0x30 + digit
        at = next
      }
    }
    if (length < limits.minBytes || length > limits.maxBytes) throw new PinFormatError('length', limits)
    return pin.slice(0, length)
  } finally {
    pin.fill(0)
  }
}

/** Unicode's decimal digits stand in runs from zero to nine; runs that touch have ten each (Unicode 16, 4.6). */
function digitOf(character: string): number | undefined {
  const code = character.codePointAt(0) ?? 0
  let below = 0
  while (below <= code && isDigit(code - below)) below++
  return below === 0 ? undefined : (below - 1) % 10
}

function isDigit(code: number): boolean {
  return /^\p{Nd}$/u.test(String.fromCodePoint(code))
}
