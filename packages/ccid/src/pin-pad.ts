/** PIN entry on the reader: the PIN data structures of PC_to_RDR_Secure (CCID 1.1, 6.1.11). */
import {
  AbortedError,
  NotSupportedError,
  PinPadCancelledError,
  PinPadRefusedError,
  PinPadTimeoutError,
  type PinTemplate,
  ReaderRefusedError,
  type TransmitOptions,
} from '@webtoki/apdu'
import type { Activation, ExchangeOptions, PadSend } from './activation-port.ts'
import {
  CcidError,
  DEFAULT_MAX_WAIT_MS,
  encodeEscape,
  encodeSecure,
  IccStatus,
  RdrToPc,
  READER_TIMEOUT_MS,
} from './messages.ts'
import type { PadQuirk } from './quirks.ts'
import type { CcidReader } from './reader.ts'

/** How long the reader waits for the person, in seconds; the host waits longer, so that the reader's word comes first. */
export const PIN_ENTRY_SECONDS = 60
/** At least 90 s, as CCID hosts allow; a change may take PIN_ENTRY_SECONDS for each of its entries. */
const PIN_TIMEOUT_MS = 90_000
const MARGIN_MS = 10_000

const APDU_HEADER_BYTES = 5
/** bmFormatString: offsets count in bytes. */
const UNITS_ARE_BYTES = 0x80
const formats = { binary: 0, bcd: 1, ascii: 2 } as const
/** bEntryValidationCondition: the person presses the confirmation key. */
const VALIDATED_BY_KEY = 0x02
/** wLangId: English. The sentence itself is the reader's. */
const ENGLISH = [0x09, 0x04] as const

/** A slot with keys: where the question goes. */
export interface PadSlot {
  readonly number: number
  readonly reader: CcidReader
  /** bPINSupport, less what the reader turned out not to know. */
  pinSupport: number
}

/** bPINSupport (CCID 1.1, 5.1): what a reader can do with its keys. */
const PinSupport = { verify: 1, modify: 2 } as const

/** One PC_to_RDR_Secure, and what the card answered to the command with the PIN. */
export async function exchangeOnPad(
  slot: PadSlot,
  { transmitOnPad }: Activation,
  template: PinTemplate,
  what: 'verify' | 'modify',
  options: ExchangeOptions,
): Promise<Uint8Array> {
  const { command, send } = askOnPad(slot, template, what, options)
  options.onWait?.('pin-pad')
  try {
    return await (transmitOnPad?.(command, send, options) ?? send([0, 0, 0]))
  } catch (error) {
    throw outcome(error, slot, what)
  }
}

/** The command as this reader wants it, and what asks for its PIN. Throws RangeError, NotSupportedError before a byte leaves. */
function askOnPad(
  { number, reader, pinSupport }: PadSlot,
  given: PinTemplate,
  what: 'verify' | 'modify',
  options: TransmitOptions,
): { readonly command: Uint8Array; readonly send: PadSend } {
  if ((pinSupport & PinSupport[what]) === 0)
    throw new NotSupportedError('The reader’s pad verifies PINs and changes none.')
  checkTemplate(given)
  const quirk = reader.origin.usbInterface.quirk.pad
  const escape = given.blockBytes === 0 ? quirk?.escapeBeforeBareHeader : undefined
  const template = escape === undefined ? given : { ...given, command: given.command.subarray(0, 4) }
  const encode = what === 'verify' ? verifyData : modifyData
  encode(template, [0, 0, 0], quirk)
  const entriesMs = (what === 'verify' ? 1 : entriesOf(given)) * PIN_ENTRY_SECONDS * 1000
  const timeoutMs = Math.max(options.timeoutMs ?? 0, PIN_TIMEOUT_MS, entriesMs + MARGIN_MS)
  return {
    command: template.command,
    send: async (prologue) => {
      if (quirk?.waitMs !== undefined) {
        const { clock } = reader
        await new Promise<void>((resolve) => void clock.setTimeout(resolve, quirk.waitMs ?? 0))
      }
      if (escape !== undefined) {
        const message = encodeEscape({ slot: number, data: Uint8Array.from(escape) })
        await reader.ask(message, RdrToPc.escape, 'Escape', {}, READER_TIMEOUT_MS)
      }
      // Until here nobody has been asked for a PIN, and a caller who left meanwhile wants none to be asked for.
      const { signal } = options
      if (signal?.aborted) throw new AbortedError({ cause: signal.reason })
      const message = encodeSecure({ slot: number, data: encode(template, prologue, quirk) })
      // Sensitive: sent again to a reader that says it was busy, it would ask the person twice, and the card maybe.
      // A reader may ask for time while the person types: that is bounded by the entry's own time, and not by the card's.
      const maxWaitMs = Math.max(options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS, timeoutMs)
      const { onWait } = options
      const patience = { onWait, maxWaitMs, sensitive: true } as const
      return (await reader.ask(message, RdrToPc.dataBlock, 'Secure', patience, timeoutMs)).data
    },
  }
}

/** `prologue`: NAD, PCB and LEN of the T=1 block that the reader is to send; zeros where it makes its own. */
export function verifyData(
  template: PinTemplate,
  prologue: readonly [number, number, number],
  quirk?: PadQuirk,
): Uint8Array {
  const { command } = template
  const [format, block, length, max, min] = blockFormat(template)
  return Uint8Array.of(
    0x00,
    PIN_ENTRY_SECONDS,
    ...[format, block, length],
    ...(quirk?.swapsDigits ? [min, max] : [max, min]),
    // bNumberMessage 1, bMsgIndex 0: the reader's first sentence, "enter your PIN".
    ...[VALIDATED_BY_KEY, quirk?.verifyMessages ?? 1, ...ENGLISH, 0],
    ...prologue,
    ...command,
  )
}

/** The same for a change: the old PIN where it is asked for, the new one once or twice. */
export function modifyData(
  template: PinTemplate,
  prologue: readonly [number, number, number],
  quirk?: PadQuirk,
): Uint8Array {
  const {
    command,
    requiresOldPin: asksOldPin = false,
    confirms = false,
    newPinOffset = 0,
    pinOffset,
    blockBytes,
  } = template
  if (blockBytes === 0)
    throw new NotSupportedError('Old and new PIN side by side need blocks of a fixed length on a PIN pad.')
  const entries = entriesOf(template)
  const [format, block, length, max, min] = blockFormat({ ...template, pinOffset: 0 })
  // bNumberMessage: one sentence for each entry; so many bMsgIndex follow, one at least.
  const messages = quirk?.modifyMessages ?? entries
  const sentences = (asksOldPin ? [0, 1, 2] : [1, 2]).slice(0, entries)
  const all = quirk?.hasThreeIndices ? [...sentences, 0, 0].slice(0, 3) : sentences
  const indices = messages === 0 ? all.map(() => 0) : all
  return Uint8Array.of(
    0x01,
    PIN_ENTRY_SECONDS,
    ...[format, block, length],
    ...[pinOffset, newPinOffset],
    ...[max, min],
    // bConfirmPIN: bit 0 confirmation, bit 1 the old PIN.
    (confirms ? 1 : 0) | (asksOldPin ? 2 : 0),
    ...[VALIDATED_BY_KEY, messages, ...ENGLISH],
    ...indices,
    ...prologue,
    ...command,
  )
}

function entriesOf({ requiresOldPin: asksOldPin = false, confirms = false }: PinTemplate): number {
  return 1 + (asksOldPin ? 1 : 0) + (confirms ? 1 : 0)
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

/**
 * What the person did is not a failure of the reader, and never "wrong PIN". A reader that does not know the message has
 * announced a pad that it lacks, and that is remembered. After any other failure the card may have seen the PIN.
 */
function outcome(error: unknown, slot: PadSlot, what: 'verify' | 'modify'): unknown {
  if (!(error instanceof ReaderRefusedError)) return error
  const { bError, bStatus } = error
  // Of a card that has gone or lost its power nothing is said about the message.
  if (error.isOfMessage && (bStatus & 3) === IccStatus.active) {
    if (bError === CcidError.CMD_NOT_SUPPORTED) slot.pinSupport &= ~PinSupport[what]
    return new PinPadRefusedError({ cause: error })
  }
  if (bError === CcidError.PIN_CANCELLED) return new PinPadCancelledError({ cause: error })
  if (bError === CcidError.PIN_TIMEOUT) return new PinPadTimeoutError({ cause: error })
  return error
}
