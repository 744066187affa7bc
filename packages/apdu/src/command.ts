/** Command and response APDUs, ISO/IEC 7816-3:2006 clause 12.1 (the four cases, short and extended). */
import { concatBytes } from './bytes.ts'
import { MalformedError } from './errors.ts'

/** A command before it is encoded. */
export interface CommandApdu {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  /** Command data field. Absent or empty: the command has none. */
  readonly data?: Uint8Array
  /** Ne: the maximum number of response data bytes. Absent or 0: none. 256 is Le 00, 65536 is Le 0000. */
  readonly responseBytes?: number
}

/** A decoded response. `data` is a view of the received bytes. */
export interface ResponseApdu {
  readonly data: Uint8Array
  /** SW1 SW2 as one number. */
  readonly sw: number
}

/** The form of the length fields Lc and Le. */
export type ApduEncoding = 'short' | 'extended'

/** Longest data field and largest Ne of each encoding, in bytes. */
export const apduLimits = {
  short: { dataBytes: 255, responseBytes: 256 },
  extended: { dataBytes: 65535, responseBytes: 65536 },
} as const

/**
 * Encodes a command APDU. Throws RangeError if it does not fit the encoding, which is a fault of the caller, not of the
 * card.
 */
export function encodeCommand(command: CommandApdu, encoding: ApduEncoding): Uint8Array {
  const header = [command.cla, command.ins, command.p1, command.p2]
  if (header.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 0xff)) {
    throw new RangeError('CLA, INS, P1 and P2 must be bytes.')
  }
  const data = command.data ?? new Uint8Array(0)
  const responseBytes = command.responseBytes ?? 0
  const limits = apduLimits[encoding]
  if (data.length > limits.dataBytes) {
    throw new RangeError(`${data.length} data bytes do not fit ${encoding} APDUs.`)
  }
  if (!Number.isInteger(responseBytes) || responseBytes < 0 || responseBytes > limits.responseBytes) {
    throw new RangeError(`Ne ${responseBytes} does not fit ${encoding} APDUs.`)
  }
  const extended = encoding === 'extended'
  const lc = data.length === 0 ? [] : extended ? [0, ...uint16(data.length)] : [data.length]
  // In case 2E, Le starts with a zero byte. In case 4E, Lc already has that byte.
  const le =
    responseBytes === 0
      ? []
      : !extended
        ? [responseBytes & 0xff]
        : data.length === 0
          ? [0, ...uint16(responseBytes)]
          : uint16(responseBytes)
  return concatBytes(header, lc, data, le)
}

/** Decodes a command APDU in any of the seven encodings. `data` is a view. Throws MalformedError. */
export function decodeCommand(bytes: Uint8Array): CommandApdu {
  const [cla, ins, p1, p2, first] = bytes
  if (cla === undefined || ins === undefined || p1 === undefined || p2 === undefined) {
    throw malformed(`${bytes.length} bytes instead of at least 4`)
  }
  const header = { cla, ins, p1, p2 }
  if (first === undefined) return header
  if (bytes.length === 5) return { ...header, responseBytes: first || 256 }
  if (first !== 0) return { ...header, ...body(bytes, 5, first, 1) }
  if (bytes.length < 7) throw malformed('an extended length field of one byte')
  const length = readUint16(bytes, 5)
  if (bytes.length === 7) return { ...header, responseBytes: length || 65536 }
  if (length === 0) throw malformed('an extended Lc of zero')
  return { ...header, ...body(bytes, 7, length, 2) }
}

/**
 * Splits a response APDU into data and status word. Throws MalformedError if the status word is missing or forbidden by
 * ISO/IEC 7816-4.
 */
export function decodeResponse(bytes: Uint8Array): ResponseApdu {
  const end = bytes.length - 2
  if (end < 0) throw new MalformedError('response APDU', `${bytes.length} bytes instead of at least 2`)
  const sw = readUint16(bytes, end)
  // ISO/IEC 7816-4:2013 5.1.3: values other than 6XXX and 9XXX are invalid, and so is 60XX.
  const sw1 = sw >> 8
  if (sw1 === 0x60 || (sw1 >> 4 !== 6 && sw1 >> 4 !== 9)) {
    throw new MalformedError('response APDU', `SW1 ${sw1.toString(16).toUpperCase().padStart(2, '0')}`)
  }
  return { data: bytes.subarray(0, end), sw }
}

function body(bytes: Uint8Array, start: number, lc: number, lengthBytes: 1 | 2): Partial<CommandApdu> {
  const end = start + lc
  const data = bytes.subarray(start, end)
  if (bytes.length === end) return { data }
  if (bytes.length !== end + lengthBytes) {
    throw malformed(`Lc ${lc} in ${bytes.length} bytes`)
  }
  const le = lengthBytes === 1 ? (bytes[end] ?? 0) : readUint16(bytes, end)
  return { data, responseBytes: le || (lengthBytes === 1 ? 256 : 65536) }
}

function uint16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff]
}

function readUint16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}

function malformed(detail: string): MalformedError {
  return new MalformedError('command APDU', detail)
}
