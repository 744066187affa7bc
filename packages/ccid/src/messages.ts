/**
 * CCID messages: bulk-OUT (CCID 1.1, 6.1), bulk-IN (6.2) and interrupt-IN (6.3), encoded and decoded. Those of protocol
 * parameters are in `protocol-parameters.ts`, for most readers need none of them.
 */
import { MalformedError, type TransmitOptions } from '@webtoki/apdu'
import type { Clock } from '@webtoki/device'

/** bMessageType of commands, PC to reader (CCID 1.1, 6.1). */
export const PcToRdr = {
  setParameters: 0x61,
  iccPowerOn: 0x62,
  iccPowerOff: 0x63,
  getSlotStatus: 0x65,
  secure: 0x69,
  escape: 0x6b,
  getParameters: 0x6c,
  resetParameters: 0x6d,
  xfrBlock: 0x6f,
  abort: 0x72,
} as const
export type PcToRdr = (typeof PcToRdr)[keyof typeof PcToRdr]

/** bMessageType of answers and notices, reader to PC (CCID 1.1, 6.2 and 6.3). */
export const RdrToPc = {
  notifySlotChange: 0x50,
  hardwareError: 0x51,
  dataBlock: 0x80,
  slotStatus: 0x81,
  parameters: 0x82,
  escape: 0x83,
} as const
export type RdrToPc = (typeof RdrToPc)[keyof typeof RdrToPc]

/** wLevelParameter of XfrBlock and bChainParameter of DataBlock: which part of a long APDU a block is. */
export const ChainParameter = {
  whole: 0x00,
  begins: 0x01,
  ends: 0x02,
  continues: 0x03,
  /** An empty block: the other side is to go on. */
  expectsMore: 0x10,
} as const
export type ChainParameter = (typeof ChainParameter)[keyof typeof ChainParameter]

/** bmICCStatus, bits 0 and 1 of bStatus (CCID 1.1, 6.2.6). */
export const IccStatus = { active: 0, inactive: 1, absent: 2 } as const
export type IccStatus = (typeof IccStatus)[keyof typeof IccStatus]

/** bmCommandStatus, bits 6 and 7 of bStatus (CCID 1.1, 6.2.6). */
export const CommandStatus = { ok: 0x00, failed: 0x40, timeExtension: 0x80 } as const
export type CommandStatus = (typeof CommandStatus)[keyof typeof CommandStatus]

/** bError where the command failed (CCID 1.1, table 6.2-2). */
export const CcidError = {
  CMD_ABORTED: 0xff,
  ICC_MUTE: 0xfe,
  XFR_PARITY_ERROR: 0xfd,
  XFR_OVERRUN: 0xfc,
  HW_ERROR: 0xfb,
  BAD_ATR_TS: 0xf8,
  BAD_ATR_TCK: 0xf7,
  ICC_PROTOCOL_NOT_SUPPORTED: 0xf6,
  ICC_CLASS_NOT_SUPPORTED: 0xf5,
  PROCEDURE_BYTE_CONFLICT: 0xf4,
  DEACTIVATED_PROTOCOL: 0xf3,
  BUSY_WITH_AUTO_SEQUENCE: 0xf2,
  PIN_TIMEOUT: 0xf0,
  PIN_CANCELLED: 0xef,
  CMD_SLOT_BUSY: 0xe0,
  CMD_NOT_SUPPORTED: 0x00,
} as const
export type CcidError = (typeof CcidError)[keyof typeof CcidError]

const errorNames = new Map<number, string>(Object.entries(CcidError).map(([name, code]) => [code, name]))

/** The standard's name of a bError. 1 to 127 are offsets into the message that was refused; 5 is bSlot. */
export function ccidErrorName(bError: number): string {
  const known = errorNames.get(bError)
  if (known !== undefined) return known
  if (bError === 5) return 'SLOT_DOES_NOT_EXIST'
  if (bError <= 127) return `BAD_PARAMETER_AT_${bError}`
  return `VENDOR_${bError.toString(16).toUpperCase().padStart(2, '0')}`
}

/** Bytes before abData in every bulk message. */
export const HEADER_BYTES = 10

/** What every command carries. The reader's loop writes `sequence` when it sends, so that it may be left out. */
export interface CommandHead {
  readonly slot: number
  readonly sequence?: number
}

/** Any bulk-OUT message: bMessageType, the head, the three bytes before abData, abData. */
export function encode(
  type: number,
  head: CommandHead,
  first: number,
  second: number,
  third: number,
  data?: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const dataBytes = data === undefined ? 0 : data.length
  const message = new Uint8Array(HEADER_BYTES + dataBytes)
  message[0] = type
  message[1] = dataBytes
  message[2] = dataBytes >>> 8
  message[3] = dataBytes >>> 16
  message[4] = dataBytes >>> 24
  message[5] = head.slot
  message[6] = head.sequence ?? 0
  message[7] = first
  message[8] = second
  message[9] = third
  if (data !== undefined) message.set(data, HEADER_BYTES)
  return message
}

/** bPowerSelect (CCID 1.1, 6.1.1). */
export const PowerSelect = { automatic: 0, volts5: 1, volts3: 2, volts1v8: 3 } as const
export type PowerSelect = (typeof PowerSelect)[keyof typeof PowerSelect]

/** CCID 1.1, 6.1.1. Answer: DataBlock with the ATR. On a card that is on, this is a warm reset. */
export function encodeIccPowerOn(
  command: CommandHead & { readonly power: PowerSelect },
): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.iccPowerOn, command, command.power, 0, 0)
}

/** CCID 1.1, 6.1.2. Answer: SlotStatus. */
export function encodeIccPowerOff(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.iccPowerOff, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.3. Answer: SlotStatus. */
export function encodeGetSlotStatus(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.getSlotStatus, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.4: carry a block to the card. */
export interface XfrBlock extends CommandHead {
  /** bBWI. */
  readonly waitingExtension?: number
  /** wLevelParameter: a ChainParameter at the level of extended APDUs, the number of bytes expected at character level. */
  readonly chain: number
  /** abData. */
  readonly data: Uint8Array
}

/** CCID 1.1, 6.1.4. Answer: DataBlock. */
export function encodeXfrBlock(command: XfrBlock): Uint8Array<ArrayBuffer> {
  return encode(
    PcToRdr.xfrBlock,
    command,
    command.waitingExtension ?? 0,
    command.chain,
    command.chain >> 8,
    command.data,
  )
}

/** CCID 1.1, 6.1.11: the reader takes a PIN and puts it into a command. `data` is made by `pin-pad.ts`. Answer: DataBlock. */
export function encodeSecure(command: CommandHead & { readonly data: Uint8Array }): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.secure, command, 0, 0, 0, command.data)
}

/** CCID 1.1, 6.1.8: a vendor's own command. Answer: Escape. */
export function encodeEscape(command: CommandHead & { readonly data: Uint8Array }): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.escape, command, 0, 0, 0, command.data)
}

/** CCID 1.1, 6.1.13. Goes with the class request ABORT of the same slot and sequence. Answer: SlotStatus. */
export function encodeAbort(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.abort, command, 0, 0, 0)
}

/** Any bulk-IN message; the byte before abData means something else in each (CCID 1.1, 6.2). */
export interface Answer {
  readonly type: number
  readonly slot: number
  readonly sequence: number
  readonly bStatus: number
  readonly iccStatus: IccStatus
  readonly commandStatus: CommandStatus
  /** bError: a reason where the command failed, a multiplier where time is extended. */
  readonly error: number
  /** bChainParameter, bClockStatus, bProtocolNum or RFU. */
  readonly parameter: number
  /** A view of abData, not a copy. */
  readonly data: Uint8Array
}

/** Reads a bulk-IN message of any type. Its declared length must be what came: nothing is allocated by it. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  if (bytes.length < HEADER_BYTES)
    throw new MalformedError('CCID answer', `${bytes.length} bytes, a header has 10`)
  const declaredBytes = declaredMessageBytes(bytes) - HEADER_BYTES
  // Some readers send parameters and leave dwLength at 0.
  const isUndeclared = declaredBytes === 0 && bytes[0] === RdrToPc.parameters
  if (declaredBytes !== bytes.length - HEADER_BYTES && !isUndeclared) {
    throw new MalformedError(
      'CCID answer',
      `type ${bytes[0]} declares ${declaredBytes} data bytes, ${bytes.length - HEADER_BYTES} came`,
    )
  }
  const bStatus = bytes[7] as number
  const iccStatus = bStatus & 0x03
  const commandStatus = bStatus & 0xc0
  if (iccStatus === 3 || commandStatus === 0xc0) {
    throw new MalformedError('CCID answer', `bStatus ${bStatus} is reserved`)
  }
  return {
    type: bytes[0] as number,
    slot: bytes[5] as number,
    sequence: bytes[6] as number,
    bStatus,
    iccStatus: iccStatus as IccStatus,
    commandStatus: commandStatus as CommandStatus,
    error: bytes[8] as number,
    parameter: bytes[9] as number,
    data: bytes.subarray(HEADER_BYTES),
  }
}

/** Header and dwLength together, in bytes. The caller has seen that a whole header is there. */
export function declaredMessageBytes(bytes: Uint8Array): number {
  const low = (bytes[1] as number) | ((bytes[2] as number) << 8) | ((bytes[3] as number) << 16)
  return HEADER_BYTES + low + (bytes[4] as number) * 0x100_0000
}

/** Checks a bChainParameter that came from outside. */
export function chainParameter(value: number): ChainParameter {
  if (value <= ChainParameter.continues || value === ChainParameter.expectsMore)
    return value as ChainParameter
  throw new MalformedError('DataBlock', `bChainParameter ${value}`)
}

/** What the interrupt endpoint tells. */
export type Notice =
  | { readonly type: 'slot-change'; readonly slots: readonly SlotChange[] }
  | {
      readonly type: 'hardware-error'
      readonly slot: number
      readonly sequence: number
      readonly code: number
    }

/** Two bits a slot: what is now, and whether it changed since the last notice (CCID 1.1, 6.3.1). */
export interface SlotChange {
  readonly present: boolean
  readonly changed: boolean
}

/** Reads RDR_to_PC_NotifySlotChange or RDR_to_PC_HardwareError (CCID 1.1, 6.3). Padding bits read as empty slots. */
export function decodeNotice(bytes: Uint8Array): Notice {
  if (bytes[0] === RdrToPc.notifySlotChange && bytes.length >= 2) {
    const slots: SlotChange[] = []
    for (let i = 0; i < 4 * (bytes.length - 1); i++) {
      const bits = (bytes[1 + (i >> 2)] as number) >> (2 * (i & 3))
      slots.push({ present: (bits & 1) !== 0, changed: (bits & 2) !== 0 })
    }
    return { type: 'slot-change', slots }
  }
  if (bytes[0] === RdrToPc.hardwareError && bytes.length === 4) {
    return {
      type: 'hardware-error',
      slot: bytes[1] as number,
      sequence: bytes[2] as number,
      code: bytes[3] as number,
    }
  }
  throw new MalformedError('CCID notice', `${bytes.length} bytes, bMessageType ${bytes[0] ?? 'missing'}`)
}

/** What time extensions may add to one exchange, where the caller does not say. */
export const DEFAULT_MAX_WAIT_MS = 180_000
/** Messages that no card delays. */
export const READER_TIMEOUT_MS = 5_000

/** Which part of `TransmitOptions` an exchange of messages knows. */
export interface Patience {
  readonly timeoutMs?: TransmitOptions['timeoutMs'] | undefined
  readonly maxWaitMs?: TransmitOptions['maxWaitMs'] | undefined
  readonly onWait?: TransmitOptions['onWait'] | undefined
  readonly sensitive?: true | undefined
  /**
   * The card asked for more time: tells `onWait`, and returns how long the exchange may still take, in milliseconds.
   * Messages of one exchange share it. Default: one of the message's own.
   */
  readonly extend?: (() => number) | undefined
}

/** One `maxWaitMs` for an exchange, however many messages it takes. It runs from the first time extension. */
export function sharedCap({ maxWaitMs = DEFAULT_MAX_WAIT_MS, onWait }: Patience, clock: Clock): () => number {
  let endMs: number | undefined
  return () => {
    endMs ??= clock.now() + maxWaitMs
    onWait?.('time-extension')
    return Math.max(0, endMs - clock.now())
  }
}
