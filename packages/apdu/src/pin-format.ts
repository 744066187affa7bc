/** The format of a PIN: its length, its characters, and how typed text is encoded for VERIFY. */
import { type ByteSource, copyOf } from './bytes.ts'
import { WebtokiError } from './errors.ts'
import type { PinTemplate } from './ports.ts'

/** Which PINs a person may type. */
export interface PinLimits {
  /** Shortest PIN in bytes; if the alphabet is 'digits', in digits. */
  readonly minBytes: number
  /** Longest PIN in bytes; if the alphabet is 'digits', in digits. */
  readonly maxBytes: number
  /** 'digits': bytes 30 to 39 only. 'text': any bytes. */
  readonly alphabet: 'digits' | 'text'
}

/** The typed text cannot be this PIN, because of its length or a character. Nothing was sent and no attempt was used. */
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
    super(`The PIN must have ${minBytes} to ${maxBytes} ${what}. Nothing was sent to the card.`, options)
    this.why = why
    this.minBytes = minBytes
    this.maxBytes = maxBytes
    this.alphabet = alphabet
  }
}

/** Which PINs a person may type, and how a PIN is sent to the card. */
export interface PinFormat extends PinLimits {
  /** Returns the data field of VERIFY as a new array, which the caller overwrites after use. */
  encode(pin: Uint8Array): Uint8Array | Promise<Uint8Array>
  /**
   * Builds the PIN pad's template from the header of VERIFY (4 bytes). Absent if a PIN pad cannot compute the encoding
   * that the card requires.
   */
  readonly padTemplate?: ((header: Uint8Array) => PinTemplate) | undefined
}

/**
 * Converts a typed PIN (UTF-8) into a new array. For a PIN of digits, decimal digits of every script become ASCII digits,
 * because Japanese keyboards type full-width digits and the card compares ASCII. Throws PinFormatError if the PIN does not
 * fit the limits; the copy is overwritten first.
 */
export function pinOf(typed: ByteSource, limits: PinLimits): Uint8Array<ArrayBuffer> {
  const pin = copyOf(typed)
  const length = limits.alphabet === 'text' ? pin.length : toAscii(pin)
  if (length >= limits.minBytes && length <= limits.maxBytes) return pin.subarray(0, length)
  pin.fill(0)
  throw new PinFormatError(length < 0 ? 'alphabet' : 'length', limits)
}

/**
 * Replaces digits of any script by ASCII digits in place and zeroes the rest. Returns the digit count, or -1 if a
 * character is not a digit.
 */
function toAscii(pin: Uint8Array): number {
  let length = 0
  for (let at = 0, end = 0; at < pin.length; at = end) {
    while (((pin[++end] ?? 0) & 0xc0) === 0x80);
    const code = new TextDecoder('utf-8').decode(pin.subarray(at, end)).codePointAt(0) ?? 0
    // Unicode's decimal digits form runs from zero to nine. Adjacent runs have ten digits each (Unicode 16, 4.6).
    let below = 0
    while (/\p{Nd}/u.test(String.fromCodePoint(code - below))) below++
    if (below === 0) return -1
    pin[length++] = 0x30 + ((below - 1) % 10)
  }
  pin.fill(0, length)
  return length
}
