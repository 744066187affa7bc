/**
 * Executes PC_to_RDR_Secure in a reader with a PIN pad: reads PINs from the person and inserts them into the command
 * (CCID 1.1, 6.1.11).
 */
import { CcidError } from './messages.ts'
import { copyOf, join } from '../bytes.ts'
import type { PadHabits } from './pad-habits.ts'

/** The result of one entry at the PIN pad: digits, or the reason why there are none. */
export type PinEntry = { readonly digits: string } | 'cancel' | 'timeout' | 'broken'

/** The entry that the reader's display requests. */
export interface PinEntryRequest {
  readonly operation: 'verify' | 'modify'
  readonly entry: 'pin' | 'old' | 'new' | 'again'
  readonly minDigits: number
  readonly maxDigits: number
}

/** Simulates the person at the PIN pad: resolves to the entry for a request. */
export type PinPadPerson = (question: PinEntryRequest) => Promise<PinEntry>

/** A decoded Secure message. */
export interface SecureMessage {
  readonly operation: 'verify' | 'modify'
  readonly format: number
  readonly blockBytes: number
  readonly maxDigits: number
  readonly minDigits: number
  /** bEntryValidationCondition and bNumberMessage. */
  readonly validation: number
  readonly messages: number
  /** Offsets of the PIN, or of the old and the new one, in the command's data field. */
  readonly offsets: readonly number[]
  readonly asksOld: boolean
  readonly confirms: boolean
  /** NAD, PCB and LEN for T=1. */
  readonly prologue: Uint8Array
  readonly command: Uint8Array
}

/** Offsets of fields, counted from bMessageType. bError is the offset of the wrong field. */
const fieldOffsets = {
  verify: { digits: 15, validation: 17, messages: 18, command: 25 },
  modify: { block: 13, validation: 20, messages: 21 },
} as const
/** Length of CLA INS P1 P2. */
const HEADER_BYTES = 4

/** The state of the reader when it receives a Secure message. */
export interface PadState {
  /** bPINSupport, or 0 while no PIN entry is possible. */
  readonly pinSupport: number
  /** True if the slot has a powered card. */
  readonly hasCard: boolean
  /** True after the Escape that must precede a PIN entry with a command of only four bytes. */
  readonly acceptsBareHeader: boolean
}

/** Decodes a Secure message. Returns the bError if the reader rejects the PIN entry. */
export function readSecure(data: Uint8Array, habits: PadHabits, state: PadState): SecureMessage | number {
  if ((state.pinSupport & (data[0] === 1 ? 2 : 1)) === 0) return CcidError.COMMAND_NOT_SUPPORTED
  if (!state.hasCard) return CcidError.ICC_MUTE
  const message = decodeSecure(data, habits)
  const isRefused = habits.escapeBeforeBareHeader !== undefined && !state.acceptsBareHeader
  if (typeof message !== 'number' && isRefused && message.blockBytes === 0)
    return CcidError.COMMAND_NOT_SUPPORTED
  return message
}

/** Decodes a Secure message. Returns the bError if it is not valid: 1 (bad length) or the offset of a field. */
function decodeSecure(data: Uint8Array, habits: PadHabits): SecureMessage | number {
  const message = parse(data, habits)
  if (message === undefined) return 1
  const { operation, validation, messages, blockBytes, command } = message
  const at = fieldOffsets[operation]
  const isKnownCondition =
    habits.validation === undefined ? validation >= 1 && validation <= 7 : validation === habits.validation
  if (!isKnownCondition) return at.validation
  const requiredMessages = operation === 'verify' ? habits.verifyMessages : habits.modifyMessages
  if (requiredMessages === undefined ? messages > 3 && messages !== 0xff : messages !== requiredMessages)
    return at.messages
  if (operation === 'modify') return blockBytes === 0 ? fieldOffsets.modify.block : message
  if (message.minDigits > message.maxDigits) return fieldOffsets.verify.digits
  const isBare = command.length === HEADER_BYTES
  // For a PIN without a PIN block, most readers replace Lc, which the host sends as 00.
  if (blockBytes > 0 ? isBare : isBare === (habits.escapeBeforeBareHeader === undefined))
    return fieldOffsets.verify.command
  return message
}

function parse(data: Uint8Array, habits: PadHabits): SecureMessage | undefined {
  const [operation, , format = 0, block = 0] = data
  if (operation === 0) {
    if (data.length < 15 + HEADER_BYTES) return undefined
    const [first, second] = habits.swapsDigits ? [6, 5] : [5, 6]
    return {
      operation: 'verify',
      format,
      blockBytes: block & 0x0f,
      maxDigits: data[first as number] as number,
      minDigits: data[second as number] as number,
      validation: data[7] as number,
      messages: data[8] as number,
      offsets: [(format >> 3) & 0x0f],
      asksOld: false,
      confirms: false,
      prologue: data.slice(12, 15),
      command: data.slice(15),
    }
  }
  if (operation !== 1 || data.length < 20) return undefined
  const confirm = data[9] as number
  // One bMsgIndex for each message, but at least one and at most three.
  const indices = habits.hasThreeIndices ? 3 : Math.min(3, Math.max(1, data[11] as number))
  const prologueAt = 14 + indices
  return {
    operation: 'modify',
    format,
    blockBytes: block & 0x0f,
    offsets: [data[5] as number, data[6] as number],
    maxDigits: data[7] as number,
    minDigits: data[8] as number,
    validation: data[10] as number,
    messages: data[11] as number,
    asksOld: (confirm & 2) !== 0,
    confirms: (confirm & 1) !== 0,
    prologue: data.slice(prologueAt, prologueAt + 3),
    command: data.slice(prologueAt + 3),
  }
}

/** Requests the PINs from the person. Resolves to the command with the PINs, or to the reason why there is none. */
export async function takePins(
  message: SecureMessage,
  person: PinPadPerson,
): Promise<{ readonly command: Uint8Array } | Exclude<PinEntry, object>> {
  const { operation, minDigits, maxDigits, blockBytes } = message
  const ask = async (entry: PinEntryRequest['entry']): Promise<PinEntry> => {
    const typed = await person({ operation, entry, minDigits, maxDigits })
    if (typeof typed === 'string') return typed
    const { length } = typed.digits
    // The confirmation key has no effect until the number of digits is valid, so such an entry times out.
    return length >= minDigits && length <= maxDigits ? typed : 'timeout'
  }
  const command = copyOf(message.command)
  const entries: readonly PinEntryRequest['entry'][] =
    operation === 'verify'
      ? ['pin']
      : [
          ...(message.asksOld ? (['old'] as const) : []),
          'new',
          ...(message.confirms ? (['again'] as const) : []),
        ]
  let latest = ''
  for (const entry of entries) {
    const typed = await ask(entry)
    if (typeof typed === 'string') return typed
    if (entry === 'again') {
      if (typed.digits !== latest) return 'cancel'
      continue
    }
    latest = typed.digits
    if (blockBytes === 0) {
      const pin = digitsOf(latest, message.format)
      return { command: join(command.slice(0, HEADER_BYTES), [pin.length], pin) }
    }
    const offset = (entry === 'new' ? message.offsets[1] : message.offsets[0]) ?? 0
    put(command, 5 + offset, latest, message)
  }
  return { command }
}

function put(command: Uint8Array, at: number, pin: string, { format, blockBytes }: SecureMessage): void {
  command.set(digitsOf(pin, format).slice(0, blockBytes), at)
}

/** Encodes the digits by bits 0 and 1 of bmFormatString: binary, BCD or ASCII. */
function digitsOf(pin: string, format: number): Uint8Array {
  const digits = Array.from(pin, Number)
  const kind = format & 3
  if (kind === 2) return Uint8Array.from(pin, (digit) => digit.charCodeAt(0))
  if (kind !== 1) return Uint8Array.from(digits)
  return Uint8Array.from(
    { length: Math.ceil(digits.length / 2) },
    (_, i) => ((digits[2 * i] ?? 15) << 4) | (digits[2 * i + 1] ?? 15),
  )
}

/** Builds the T=1 block for the card: LEN is the length of the completed command, the epilogue is an LRC. */
export function blockOf(prologue: Uint8Array, command: Uint8Array): Uint8Array {
  const head = join(prologue.slice(0, 2), [command.length], command)
  return join(head, [head.reduce((sum, byte) => sum ^ byte, 0)])
}

/** bError for a PIN entry that ends without a PIN. */
export const entryErrors: Readonly<Record<'cancel' | 'timeout' | 'broken', number>> = {
  cancel: CcidError.PIN_CANCELLED,
  timeout: CcidError.PIN_TIMEOUT,
  broken: CcidError.HW_ERROR,
}
