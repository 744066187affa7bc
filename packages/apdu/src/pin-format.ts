/** What a PIN may consist of, and how what a person typed becomes its bytes. */
import { type ByteSource, copyOf } from './bytes.ts'
import { WebtokiError } from './errors.ts'
import type { PinTemplate } from './ports.ts'

/** What a person may type as a PIN. */
export interface PinLimits {
  /** In bytes; for digits, characters. */
  readonly minBytes: number
  readonly maxBytes: number
  /** 'digits': bytes 30 to 39 only. */
  readonly alphabet: 'digits' | 'text'
}

/** What was typed cannot be this PIN: its length or a character does not fit. Nothing was sent, and no attempt is lost. */
export class PinFormatError extends WebtokiError implements PinLimits {
  readonly code = 'card/pin-format'
  override get name(): 'PinFormatError' {
    return 'PinFormatError'
  }
  readonly why: 'length' | 'alphabet'
  readonly minBytes: number
  readonly maxBytes: number
  readonly alphabet: PinLimits['alphabet']
  constructor(
    why: 'length' | 'alphabet',
    { minBytes, maxBytes, alphabet }: PinLimits,
    options?: ErrorOptions,
  ) {
    const what = alphabet === 'digits' ? 'digits, 0 to 9' : 'bytes'
    super(`The PIN has ${minBytes} to ${maxBytes} ${what}; nothing was sent to the card.`, options)
    this.why = why
    this.minBytes = minBytes
    this.maxBytes = maxBytes
    this.alphabet = alphabet
  }
}

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
  const pin = copyOf(typed)
  const length = limits.alphabet === 'text' ? pin.length : toAscii(pin)
  if (length >= limits.minBytes && length <= limits.maxBytes) return pin.subarray(0, length)
  pin.fill(0)
  throw new PinFormatError(length < 0 ? 'alphabet' : 'length', limits)
}

/** Writes digits of any script over themselves in ASCII, and zeros after them. Returns how many; -1: something is no digit. */
function toAscii(pin: Uint8Array): number {
  let length = 0
  for (let at = 0, end = 0; at < pin.length; at = end) {
    while (((pin[++end] ?? 0) & 0xc0) === 0x80);
    const code = new TextDecoder('utf-8').decode(pin.subarray(at, end)).codePointAt(0) ?? 0
    // Unicode's decimal digits stand in runs from zero to nine; runs that touch have ten each (Unicode 16, 4.6).
    let below = 0
    while (/\p{Nd}/u.test(String.fromCodePoint(code - below))) below++
    if (below === 0) return -1
    pin[length++] = 0x30 + ((below - 1) % 10)
  }
  pin.fill(0, length)
  return length
}
