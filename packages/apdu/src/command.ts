/** Command and response APDUs, ISO/IEC 7816-3:2006 clause 12.1 (the four cases, short and extended). */
import { concatBytes } from './bytes.ts'
import { MalformedError } from './errors.ts'

/** A command before it is encoded. */
export interface CommandApdu {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  /** Command data field; absent or empty: there is none. */
  readonly data?: Uint8Array
  /** Ne: the most response bytes that are expected; absent or 0: none. 256 is Le 00, 65536 is Le 0000. */
  readonly responseBytes?: number
}

/** A response taken apart. `data` is a view of the bytes that came. */
export interface ResponseApdu {
  readonly data: Uint8Array
  /** SW1 SW2 as one number. */
  readonly sw: number
}

/** How the length fields Lc and Le are written. */
export type ApduEncoding = 'short' | 'extended'

/** Longest data field, in bytes, and largest Ne of each encoding. */
export const apduLimits = {
  short: { dataBytes: 255, responseBytes: 256 },
  extended: { dataBytes: 65535, responseBytes: 65536 },
} as const

/** Writes a command. Throws RangeError where it does not fit the encoding: that is the caller's fault, not a card's. */
export function encodeCommand(command: CommandApdu, encoding: ApduEncoding): Uint8Array {
  const header = [command.cla, command.ins, command.p1, command.p2]
  if (header.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 0xff)) {
    throw new RangeError('A command header consists of four bytes.')
  }
  const data = command.data ?? new Uint8Array(0)
  const responseBytes = command.responseBytes ?? 0
  const limits = apduLimits[encoding]
  if (data.length > limits.dataBytes) {
    throw new RangeError(`${data.length} data bytes do not fit ${encoding} APDUs.`)
  }
  if (!Number.isInteger(responseBytes) || responseBytes < 0 || responseBytes > limits.responseBytes) {
    throw new RangeError(`${encoding} APDUs cannot ask for ${responseBytes} response bytes.`)
  }
  const extended = encoding === 'extended'
  const lc = data.length === 0 ? [] : extended ? [0, ...uint16(data.length)] : [data.length]
  // Le of case 2E has a leading zero byte of its own; in case 4E that byte stands in Lc already.
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

/** Reads a command in any of the seven encodings; `data` is a view. Throws MalformedError. */
export function decodeCommand(bytes: Uint8Array): CommandApdu {
  const [cla, ins, p1, p2, first] = bytes
  if (cla === undefined || ins === undefined || p1 === undefined || p2 === undefined) {
    throw malformed(`${bytes.length} bytes where a header has four`)
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

/** Takes data and status word apart. Throws MalformedError where there is no status word, or one that ISO/IEC 7816-4 forbids. */
export function decodeResponse(bytes: Uint8Array): ResponseApdu {
  const end = bytes.length - 2
  if (end < 0) throw new MalformedError('response APDU', `${bytes.length} bytes where a status word has two`)
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
