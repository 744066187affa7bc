/** What a reader with keys does with PC_to_RDR_Secure: it takes the PIN and puts it into the command (CCID 1.1, 6.1.11). */
import { join } from '../bytes.ts'

/** What a person does at the keys. */
export type PinEntry = { readonly digits: string } | 'cancel' | 'timeout'

/** What the reader's display asks for. */
export interface PinQuestion {
  readonly operation: 'verify' | 'modify'
  readonly entry: 'pin' | 'old' | 'new' | 'again'
  readonly minDigits: number
  readonly maxDigits: number
}

/** Answers the reader's questions. */
export type PersonAtPad = (question: PinQuestion) => Promise<PinEntry>

/** A Secure message as the reader reads it. */
export interface SecureMessage {
  readonly operation: 'verify' | 'modify'
  readonly format: number
  readonly blockBytes: number
  readonly maxDigits: number
  readonly minDigits: number
  /** Offsets of the PIN, or of the old and the new one, in the command's data field. */
  readonly offsets: readonly number[]
  readonly asksOld: boolean
  readonly confirms: boolean
  /** NAD, PCB, LEN for T=1. */
  readonly prologue: Uint8Array
  readonly command: Uint8Array
}

/** Undefined where it is none. */
export function readSecure(data: Uint8Array): SecureMessage | undefined {
  const [operation, , format = 0, block = 0] = data
  if (operation === 0) {
    if (data.length < 15 + 5) return undefined
    return {
      operation: 'verify',
      format,
      blockBytes: block & 0x0f,
      maxDigits: data[5] as number,
      minDigits: data[6] as number,
      offsets: [(format >> 3) & 0x0f],
      asksOld: false,
      confirms: false,
      prologue: data.slice(12, 15),
      command: data.slice(15),
    }
  }
  if (operation !== 1 || data.length < 20) return undefined
  const confirm = data[9] as number
  // One bMsgIndex for each message, one at least and three at most.
  const indices = Math.min(3, Math.max(1, data[11] as number))
  const prologueAt = 14 + indices
  return {
    operation: 'modify',
    format,
    blockBytes: block & 0x0f,
    offsets: [data[5] as number, data[6] as number],
    maxDigits: data[7] as number,
    minDigits: data[8] as number,
    asksOld: (confirm & 2) !== 0,
    confirms: (confirm & 1) !== 0,
    prologue: data.slice(prologueAt, prologueAt + 3),
    command: data.slice(prologueAt + 3),
  }
}

/** Asks the person; the command with what they typed, or why there is none. */
export async function takePins(
  message: SecureMessage,
  person: PersonAtPad,
): Promise<{ readonly command: Uint8Array } | 'cancel' | 'timeout'> {
  const { operation, minDigits, maxDigits } = message
  const ask = async (entry: PinQuestion['entry']): Promise<PinEntry> => {
    const typed = await person({ operation, entry, minDigits, maxDigits })
    if (typed === 'cancel' || typed === 'timeout') return typed
    const { length } = typed.digits
    // The confirmation key does nothing before there are enough digits; a person who leaves it so runs out of time.
    return length >= minDigits && length <= maxDigits ? typed : 'timeout'
  }
  const command = message.command.slice()
  const entries: readonly PinQuestion['entry'][] =
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
    if (typed === 'cancel' || typed === 'timeout') return typed
    if (entry === 'again') {
      if (typed.digits !== latest) return 'cancel'
      continue
    }
    latest = typed.digits
    const offset = (entry === 'new' ? message.offsets[1] : message.offsets[0]) ?? 0
    put(command, 5 + offset, latest, message)
  }
  return { command }
}

function put(command: Uint8Array, at: number, pin: string, { format, blockBytes }: SecureMessage): void {
  const digits = Array.from(pin, Number)
  const kind = format & 3
  const bytes =
    kind === 2
      ? Uint8Array.from(pin, (digit) => digit.charCodeAt(0))
      : kind === 1
        ? Uint8Array.from(
            { length: Math.ceil(digits.length / 2) },
            (_, i) => ((digits[2 * i] ?? 15) << 4) | (digits[2 * i + 1] ?? 15),
          )
        : Uint8Array.from(digits)
  command.set(bytes.slice(0, blockBytes), at)
}

/** The T=1 block that the reader sends, its epilogue made by exclusive-or. */
export function blockOf(prologue: Uint8Array, command: Uint8Array): Uint8Array {
  const head = join(prologue, command)
  return join(head, [head.reduce((sum, byte) => sum ^ byte, 0)])
}
