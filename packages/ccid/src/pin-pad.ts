/** PIN entry on the reader's keys: encodes the PIN data structures of PC_to_RDR_Secure. CCID 1.1, 6.1.11. */
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

/**
 * How long the reader waits for the PIN, in seconds. The host waits longer, so that the reader reports its time-out
 * first.
 */
export const PIN_ENTRY_SECONDS = 60
/** At least 90 s, as CCID hosts allow. A change may take PIN_ENTRY_SECONDS for each of its entries. */
const PIN_TIMEOUT_MS = 90_000
const MARGIN_MS = 10_000

const APDU_HEADER_BYTES = 5
/** bmFormatString: offsets are in bytes. */
const UNITS_ARE_BYTES = 0x80
const formats = { binary: 0, bcd: 1, ascii: 2 } as const
/** bEntryValidationCondition: the confirmation key ends the entry. */
const VALIDATED_BY_KEY = 0x02
/** wLangId: English. The reader provides the texts. */
const ENGLISH = [0x09, 0x04] as const

/** The slot, as a PIN entry uses it. */
export interface PadSlot {
  readonly number: number
  readonly reader: CcidReader
  /** bPINSupport without the functions that the reader turned out not to support. */
  pinSupport: number
}

/** bPINSupport: PIN verification and modification (CCID 1.1, 5.1). */
const PinSupport = { verify: 1, modify: 2 } as const

/**
 * Sends one PC_to_RDR_Secure and resolves to the card's response to the command with the PIN. Rejects with
 * PinPadCancelledError, PinPadTimeoutError or PinPadRefusedError.
 */
export async function exchangeOnPad(
  slot: PadSlot,
  { transmitOnPad }: Activation,
  template: PinTemplate,
  operation: 'verify' | 'modify',
  options: ExchangeOptions,
): Promise<Uint8Array> {
  const { command, send } = prepareEntry(slot, template, operation, options)
  options.onWait?.('pin-pad')
  try {
    return await (transmitOnPad?.(command, send, options) ?? send([0, 0, 0]))
  } catch (error) {
    throw translateError(error, slot, operation)
  }
}

/** Adapts the command to the reader's quirks. Throws RangeError or NotSupportedError before anything is sent. */
function prepareEntry(
  { number, reader, pinSupport }: PadSlot,
  requested: PinTemplate,
  operation: 'verify' | 'modify',
  options: TransmitOptions,
): { readonly command: Uint8Array; readonly send: PadSend } {
  if ((pinSupport & PinSupport[operation]) === 0)
    throw new NotSupportedError('The reader’s PIN pad verifies PINs but cannot change them.')
  checkTemplate(requested)
  const quirk = reader.origin.usbInterface.quirk.pad
  const escape = requested.blockBytes === 0 ? quirk?.escapeBeforeBareHeader : undefined
  const template =
    escape === undefined ? requested : { ...requested, command: requested.command.subarray(0, 4) }
  const encode = operation === 'verify' ? verifyData : modifyData
  encode(template, [0, 0, 0], quirk)
  const entriesMs = (operation === 'verify' ? 1 : entriesOf(requested)) * PIN_ENTRY_SECONDS * 1000
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
        await reader.exchange(message, RdrToPc.escape, 'Escape', {}, READER_TIMEOUT_MS)
      }
      // The person has not been asked for a PIN yet. If the caller has aborted meanwhile, nothing is sent.
      const { signal } = options
      if (signal?.aborted) throw new AbortedError({ cause: signal.reason })
      const message = encodeSecure({ slot: number, data: encode(template, prologue, quirk) })
      // Sensitive, so that it is never repeated for a "busy" reader: the person could be asked twice, and the card
      // could get the PIN twice. A reader may report time extensions during the entry. The entry's own time-out
      // limits them, not the card's.
      const maxWaitMs = Math.max(options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS, timeoutMs)
      const { onWait } = options
      const messageOptions = { onWait, maxWaitMs, sensitive: true } as const
      return (await reader.exchange(message, RdrToPc.dataBlock, 'Secure', messageOptions, timeoutMs)).data
    },
  }
}

/**
 * Encodes the structure for a PIN verification. `prologue`: NAD, PCB and LEN of the T=1 block to send; zeros if the
 * reader builds its own.
 */
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
    // bNumberMessage 1, bMsgIndex 0: the reader's prompt for a PIN.
    ...[VALIDATED_BY_KEY, quirk?.verifyMessages ?? 1, ...ENGLISH, 0],
    ...prologue,
    ...command,
  )
}

/** Encodes the structure for a PIN modification: the old PIN if it is required, and the new PIN once or twice. */
export function modifyData(
  template: PinTemplate,
  prologue: readonly [number, number, number],
  quirk?: PadQuirk,
): Uint8Array {
  const {
    command,
    requiresOldPin = false,
    confirms = false,
    newPinOffset = 0,
    pinOffset,
    blockBytes,
  } = template
  if (blockBytes === 0)
    throw new NotSupportedError('A PIN pad can change only PINs in blocks of a fixed length.')
  const entries = entriesOf(template)
  const [format, block, length, max, min] = blockFormat({ ...template, pinOffset: 0 })
  // bNumberMessage: one prompt per entry. As many bMsgIndex follow, at least one.
  const messages = quirk?.modifyMessages ?? entries
  const prompts = (requiresOldPin ? [0, 1, 2] : [1, 2]).slice(0, entries)
  const all = quirk?.hasThreeIndices ? [...prompts, 0, 0].slice(0, 3) : prompts
  const indices = messages === 0 ? all.map(() => 0) : all
  return Uint8Array.of(
    0x01,
    PIN_ENTRY_SECONDS,
    ...[format, block, length],
    ...[pinOffset, newPinOffset],
    ...[max, min],
    // bConfirmPIN: bit 0 requests confirmation, bit 1 the old PIN.
    (confirms ? 1 : 0) | (requiresOldPin ? 2 : 0),
    ...[VALIDATED_BY_KEY, messages, ...ENGLISH],
    ...indices,
    ...prologue,
    ...command,
  )
}

function entriesOf({ requiresOldPin = false, confirms = false }: PinTemplate): number {
  return 1 + (requiresOldPin ? 1 : 0) + (confirms ? 1 : 0)
}

/**
 * bmFormatString, bmPINBlockString, bmPINLengthFormat and wPINMaxExtraDigit (maximum, then minimum in transmission
 * order).
 */
function blockFormat({
  format,
  pinOffset,
  blockBytes,
  minDigits,
  maxDigits,
}: PinTemplate): [number, number, number, number, number] {
  if (blockBytes > 15 || pinOffset > 15)
    throw new NotSupportedError('The offset and the length of a PIN block on a PIN pad are at most 15 bytes.')
  // Left-justified, like the PIN blocks of ISO/IEC 7816-4.
  return [UNITS_ARE_BYTES | (pinOffset << 3) | formats[format], blockBytes, 0, maxDigits, minDigits]
}

/** Throws RangeError if the template is not a command whose data contains the PIN block. */
export function checkTemplate({ command, pinOffset, blockBytes }: PinTemplate): void {
  const dataBytes = command[4] ?? 0
  if (command.length < APDU_HEADER_BYTES + dataBytes || pinOffset + blockBytes > dataBytes)
    throw new RangeError('The PIN block is outside the command data.')
}

/**
 * Translates an error of the reader. A cancelled entry is not a reader failure and never a wrong PIN. A reader that
 * does not know the message announced a PIN pad that it lacks, which is remembered. After any other failure the card
 * may have received the PIN.
 */
function translateError(error: unknown, slot: PadSlot, operation: 'verify' | 'modify'): unknown {
  if (!(error instanceof ReaderRefusedError)) return error
  const { bError, bStatus } = error
  // With a removed or unpowered card, the error does not concern the message.
  if (error.isOfMessage && (bStatus & 3) === IccStatus.active) {
    if (bError === CcidError.CMD_NOT_SUPPORTED) slot.pinSupport &= ~PinSupport[operation]
    return new PinPadRefusedError({ cause: error })
  }
  if (bError === CcidError.PIN_CANCELLED) return new PinPadCancelledError({ cause: error })
  if (bError === CcidError.PIN_TIMEOUT) return new PinPadTimeoutError({ cause: error })
  return error
}
