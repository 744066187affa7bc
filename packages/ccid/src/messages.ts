/**
 * Encodes and decodes CCID messages: bulk-OUT (CCID 1.1, 6.1), bulk-IN (6.2) and interrupt-IN (6.3). The messages of protocol
 * parameters are in `protocol-parameters.ts`, because most readers do not need them.
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

/** bMessageType of responses and interrupt messages, reader to PC (CCID 1.1, 6.2 and 6.3). */
export const RdrToPc = {
  notifySlotChange: 0x50,
  hardwareError: 0x51,
  dataBlock: 0x80,
  slotStatus: 0x81,
  parameters: 0x82,
  escape: 0x83,
} as const
export type RdrToPc = (typeof RdrToPc)[keyof typeof RdrToPc]

/** wLevelParameter of XfrBlock and bChainParameter of DataBlock: the position of a block in a long APDU. */
export const ChainParameter = {
  whole: 0x00,
  begins: 0x01,
  ends: 0x02,
  continues: 0x03,
  /** An empty block that requests the next part. */
  expectsMore: 0x10,
} as const
export type ChainParameter = (typeof ChainParameter)[keyof typeof ChainParameter]

/** bmICCStatus, bits 0 and 1 of bStatus (CCID 1.1, 6.2.6). */
export const IccStatus = { active: 0, inactive: 1, absent: 2 } as const
export type IccStatus = (typeof IccStatus)[keyof typeof IccStatus]

/** bmCommandStatus, bits 6 and 7 of bStatus (CCID 1.1, 6.2.6). */
export const CommandStatus = { ok: 0x00, failed: 0x40, timeExtension: 0x80 } as const
export type CommandStatus = (typeof CommandStatus)[keyof typeof CommandStatus]

/** bError of a failed command (CCID 1.1, table 6.2-2). */
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

/** Returns the standard's name of a bError. Values 1 to 127 are the offset of the rejected field; 5 is bSlot. */
export function ccidErrorName(bError: number): string {
  const known = errorNames.get(bError)
  if (known !== undefined) return known
  if (bError === 5) return 'SLOT_DOES_NOT_EXIST'
  if (bError <= 127) return `BAD_PARAMETER_AT_${bError}`
  return `VENDOR_${bError.toString(16).toUpperCase().padStart(2, '0')}`
}

/** Length of the header, which precedes abData in every bulk message. */
export const HEADER_BYTES = 10

/** The slot and sequence number of a command. The reader sets `sequence` when it sends the message. */
export interface CommandHead {
  readonly slot: number
  readonly sequence?: number
}

/** Encodes a bulk-OUT message: bMessageType, dwLength, slot and sequence, the three bytes before abData, abData. */
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

/** CCID 1.1, 6.1.1. Response: DataBlock with the ATR. Resets a powered card (warm reset). */
export function encodeIccPowerOn(
  command: CommandHead & { readonly power: PowerSelect },
): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.iccPowerOn, command, command.power, 0, 0)
}

/** CCID 1.1, 6.1.2. Response: SlotStatus. */
export function encodeIccPowerOff(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.iccPowerOff, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.3. Response: SlotStatus. */
export function encodeGetSlotStatus(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.getSlotStatus, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.4: carries a block to the card. */
export interface XfrBlock extends CommandHead {
  /** bBWI. */
  readonly waitingExtension?: number
  /** wLevelParameter: a ChainParameter at extended APDU level, the number of expected bytes at character level. */
  readonly chain: number
  /** abData. */
  readonly data: Uint8Array
}

/** CCID 1.1, 6.1.4. Response: DataBlock. */
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

/**
 * CCID 1.1, 6.1.11: the reader takes a PIN and inserts it into a command. `pin-pad.ts` encodes `data`. Response:
 * DataBlock.
 */
export function encodeSecure(command: CommandHead & { readonly data: Uint8Array }): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.secure, command, 0, 0, 0, command.data)
}

/** CCID 1.1, 6.1.8: a vendor-specific command. Response: Escape. */
export function encodeEscape(command: CommandHead & { readonly data: Uint8Array }): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.escape, command, 0, 0, 0, command.data)
}

/**
 * CCID 1.1, 6.1.13. Sent together with the class request ABORT of the same slot and sequence number. Response:
 * SlotStatus.
 */
export function encodeAbort(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.abort, command, 0, 0, 0)
}

/** A bulk-IN message. The meaning of the byte before abData depends on the type (CCID 1.1, 6.2). */
export interface CcidResponse {
  readonly type: number
  readonly slot: number
  readonly sequence: number
  readonly bStatus: number
  readonly iccStatus: IccStatus
  readonly commandStatus: CommandStatus
  /** bError: the reason of a failed command, or the multiplier of a time extension. */
  readonly error: number
  /** bChainParameter, bClockStatus, bProtocolNum or RFU. */
  readonly parameter: number
  /** A view of abData, not a copy. */
  readonly data: Uint8Array
}

/**
 * Decodes a bulk-IN message of any type. Throws MalformedError, for example if dwLength differs from the number of
 * bytes received.
 */
export function decodeResponse(bytes: Uint8Array): CcidResponse {
  if (bytes.length < HEADER_BYTES)
    throw new MalformedError('CCID response', `${bytes.length} bytes instead of at least 10`)
  const declaredBytes = declaredMessageBytes(bytes) - HEADER_BYTES
  // Some readers send Parameters with a dwLength of 0.
  const isUndeclared = declaredBytes === 0 && bytes[0] === RdrToPc.parameters
  if (declaredBytes !== bytes.length - HEADER_BYTES && !isUndeclared) {
    throw new MalformedError(
      'CCID response',
      `type ${bytes[0]} declares ${declaredBytes} data bytes and has ${bytes.length - HEADER_BYTES}`,
    )
  }
  const bStatus = bytes[7] as number
  const iccStatus = bStatus & 0x03
  const commandStatus = bStatus & 0xc0
  if (iccStatus === 3 || commandStatus === 0xc0) {
    throw new MalformedError('CCID response', `bStatus ${bStatus} is reserved`)
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

/** Length of the message including its header, from dwLength. The caller has checked that the header is complete. */
export function declaredMessageBytes(bytes: Uint8Array): number {
  const low = (bytes[1] as number) | ((bytes[2] as number) << 8) | ((bytes[3] as number) << 16)
  return HEADER_BYTES + low + (bytes[4] as number) * 0x100_0000
}

/** Validates a received bChainParameter. Throws MalformedError. */
export function chainParameter(value: number): ChainParameter {
  if (value <= ChainParameter.continues || value === ChainParameter.expectsMore)
    return value as ChainParameter
  throw new MalformedError('DataBlock', `bChainParameter ${value}`)
}

/** A decoded message of the interrupt endpoint (CCID 1.1, 6.3). */
export type InterruptMessage =
  | { readonly type: 'slot-change'; readonly slots: readonly SlotChange[] }
  | {
      readonly type: 'hardware-error'
      readonly slot: number
      readonly sequence: number
      readonly code: number
    }

/** Two bits per slot: the current state, and whether it changed since the last message (CCID 1.1, 6.3.1). */
export interface SlotChange {
  readonly present: boolean
  readonly changed: boolean
}

/**
 * Decodes RDR_to_PC_NotifySlotChange or RDR_to_PC_HardwareError (CCID 1.1, 6.3). Padding bits decode as empty slots.
 * Throws MalformedError.
 */
export function decodeInterruptMessage(bytes: Uint8Array): InterruptMessage {
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
  throw new MalformedError(
    'CCID interrupt message',
    `${bytes.length} bytes, bMessageType ${bytes[0] ?? 'missing'}`,
  )
}

/** Default limit for the time that time extensions may add to one exchange. */
export const DEFAULT_MAX_WAIT_MS = 180_000
/** Time-out of messages that do not involve the card. */
export const READER_TIMEOUT_MS = 5_000

/** The `TransmitOptions` that apply to the exchange of a message. */
export interface MessageOptions {
  readonly timeoutMs?: TransmitOptions['timeoutMs'] | undefined
  readonly maxWaitMs?: TransmitOptions['maxWaitMs'] | undefined
  readonly onWait?: TransmitOptions['onWait'] | undefined
  readonly sensitive?: true | undefined
  /**
   * Called for each time extension: notifies `onWait` and returns how long the exchange may still take, in
   * milliseconds. The messages of one exchange share it. Default: a budget for this message alone.
   */
  readonly onTimeExtension?: (() => number) | undefined
}

/**
 * Creates the budget of `maxWaitMs` that all messages of one exchange share. It starts with the first time extension.
 */
export function timeExtensionBudget(
  { maxWaitMs = DEFAULT_MAX_WAIT_MS, onWait }: MessageOptions,
  clock: Clock,
): () => number {
  let endMs: number | undefined
  return () => {
    endMs ??= clock.now() + maxWaitMs
    onWait?.('time-extension')
    return Math.max(0, endMs - clock.now())
  }
}
