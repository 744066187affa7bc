/** PIN entry on the reader: the PIN data structures of PC_to_RDR_Secure (CCID 1.1, 6.1.11). */
import {
  NotSupportedError,
  PinPadCancelledError,
  PinPadTimeoutError,
  type PinTemplate,
  ReaderRefusedError,
} from '@webtoki/apdu'
import { CcidError } from './messages.ts'

/** How long the reader waits for the person, in seconds; the host waits longer, so that the reader's word comes first. */
export const PIN_ENTRY_SECONDS = 60
/** At least 90 s, as CCID hosts allow. */
export const PIN_TIMEOUT_MS = 90_000

const APDU_HEADER_BYTES = 5
/** bmFormatString: offsets count in bytes. */
const UNITS_ARE_BYTES = 0x80
const formats = { binary: 0, bcd: 1, ascii: 2 } as const
/** bEntryValidationCondition: the person presses the confirmation key. */
const VALIDATED_BY_KEY = 0x02
/** wLangId: English. The sentence itself is the reader's. */
const ENGLISH = [0x09, 0x04] as const

/** `prologue`: NAD, PCB and LEN of the T=1 block that the reader is to send; zeros where it makes its own. */
export function verifyData(template: PinTemplate, prologue: readonly [number, number, number]): Uint8Array {
  const { command } = template
  return Uint8Array.of(
    0x00,
    PIN_ENTRY_SECONDS,
    ...blockFormat(template),
    // bNumberMessage 1, bMsgIndex 0: the reader's first sentence, "enter your PIN".
    ...[VALIDATED_BY_KEY, 1, ...ENGLISH, 0],
    ...prologue,
    ...command,
  )
}

/** The same for a change: the old PIN where it is asked for, the new one once or twice. */
export function modifyData(template: PinTemplate, prologue: readonly [number, number, number]): Uint8Array {
  const { command, asksOldPin = false, confirms = false, newPinOffset = 0, pinOffset } = template
  // bNumberMessage: one sentence for each entry; so many bMsgIndex follow, one at least.
  const entries = 1 + (asksOldPin ? 1 : 0) + (confirms ? 1 : 0)
  const [format, block, length, max, min] = blockFormat({ ...template, pinOffset: 0 })
  const indices = asksOldPin ? [0, 1, 2] : [1, 2]
  return Uint8Array.of(
    0x01,
    PIN_ENTRY_SECONDS,
    ...[format, block, length],
    ...[pinOffset, newPinOffset],
    ...[max, min],
    // bConfirmPIN: bit 0 confirmation, bit 1 the old PIN.
    (confirms ? 1 : 0) | (asksOldPin ? 2 : 0),
    ...[VALIDATED_BY_KEY, entries, ...ENGLISH],
    ...indices.slice(0, entries),
    ...prologue,
    ...command,
  )
}

/** bmFormatString, bmPINBlockString, bmPINLengthFormat, wPINMaxExtraDigit (least significant byte first: most, least digits). */
function blockFormat({
  format,
  pinOffset,
  blockBytes,
  minDigits,
  maxDigits,
}: PinTemplate): [number, number, number, number, number] {
  if (blockBytes > 15 || pinOffset > 15)
    throw new NotSupportedError('A PIN block of that form fits no reader.')
  // Left justified, as ISO 7816-4 blocks are.
  return [UNITS_ARE_BYTES | (pinOffset << 3) | formats[format], blockBytes, 0, maxDigits, minDigits]
}

/** Throws RangeError where the template is not a command with data. */
export function checkTemplate({ command, pinOffset, blockBytes }: PinTemplate): void {
  const dataBytes = command[4] ?? 0
  if (command.length < APDU_HEADER_BYTES + dataBytes || pinOffset + blockBytes > dataBytes)
    throw new RangeError('The PIN block lies outside the command.')
}

/** What the person did is no failure of the reader, and never "wrong PIN". */
export function pinPadOutcome(error: unknown): unknown {
  if (!(error instanceof ReaderRefusedError)) return error
  if (error.bError === CcidError.PIN_CANCELLED) return new PinPadCancelledError({ cause: error })
  if (error.bError === CcidError.PIN_TIMEOUT) return new PinPadTimeoutError({ cause: error })
  return error
}
