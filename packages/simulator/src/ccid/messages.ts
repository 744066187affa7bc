/** Message types, codes and encoding of CCID messages (CCID 1.1, 6.1 to 6.3). */
import { join, uint32le } from '../bytes.ts'

/** Length of the header of every bulk message (6.1, 6.2). */
export const HEADER_BYTES = 10

/** The names of the bulk-OUT messages (6.1). */
export type MessageName =
  | 'SetParameters'
  | 'IccPowerOn'
  | 'IccPowerOff'
  | 'GetSlotStatus'
  | 'Secure'
  | 'T0APDU'
  | 'Escape'
  | 'GetParameters'
  | 'ResetParameters'
  | 'IccClock'
  | 'XfrBlock'
  | 'Mechanical'
  | 'Abort'
  | 'SetDataRateAndClockFrequency'

/** The bulk-OUT messages by bMessageType (6.1). */
export const messageNames: ReadonlyMap<number, MessageName> = new Map([
  [0x61, 'SetParameters'],
  [0x62, 'IccPowerOn'],
  [0x63, 'IccPowerOff'],
  [0x65, 'GetSlotStatus'],
  [0x69, 'Secure'],
  [0x6a, 'T0APDU'],
  [0x6b, 'Escape'],
  [0x6c, 'GetParameters'],
  [0x6d, 'ResetParameters'],
  [0x6e, 'IccClock'],
  [0x6f, 'XfrBlock'],
  [0x71, 'Mechanical'],
  [0x72, 'Abort'],
  [0x73, 'SetDataRateAndClockFrequency'],
])

/** RDR_to_PC_DataBlock (6.2.1). */
export const DATA_BLOCK = 0x80
/** RDR_to_PC_SlotStatus (6.2.2). */
export const SLOT_STATUS = 0x81
/** RDR_to_PC_Parameters (6.2.3). */
export const PARAMETERS = 0x82
/** RDR_to_PC_NotifySlotChange (6.3.1). */
export const NOTIFY_SLOT_CHANGE = 0x50
/** RDR_to_PC_HardwareError (6.3.2). */
export const HARDWARE_ERROR = 0x51
/** bHardwareErrorCode: overcurrent, the only code that the standard defines. */
export const OVERCURRENT = 1

/** RDR_to_PC_Escape (6.2.4). */
export const ESCAPE = 0x83
/** RDR_to_PC_DataRateAndClockFrequency (6.2.5). */
export const DATA_RATE_AND_CLOCK = 0x84

/** The type of the response to each command, even if it fails. Other commands get SlotStatus. */
const responseTypes: ReadonlyMap<string, number> = new Map([
  ['IccPowerOn', DATA_BLOCK],
  ['XfrBlock', DATA_BLOCK],
  ['Secure', DATA_BLOCK],
  ['SetParameters', PARAMETERS],
  ['GetParameters', PARAMETERS],
  ['ResetParameters', PARAMETERS],
  ['Escape', ESCAPE],
  ['SetDataRateAndClockFrequency', DATA_RATE_AND_CLOCK],
])

/** Returns bMessageType of the response to a command. */
export function responseTypeOf(name: MessageName | 'unknown'): number {
  return responseTypes.get(name) ?? SLOT_STATUS
}

/** bError (table 6.2-2). A value below 128 is the offset of the wrong field. */
export const CcidError = {
  COMMAND_NOT_SUPPORTED: 0,
  BAD_LENGTH: 1,
  BAD_SLOT: 5,
  BAD_POWER_SELECT: 7,
  BAD_PROTOCOL: 7,
  BAD_LEVEL_PARAMETER: 8,
  BAD_CLOCK_COMMAND: 7,
  BAD_FUNCTION: 7,
  BAD_CLOCK_FREQUENCY: 10,
  BAD_DATA_RATE: 14,
  PIN_CANCELLED: 0xef,
  PIN_TIMEOUT: 0xf0,
  CMD_SLOT_BUSY: 0xe0,
  BUSY_WITH_AUTO_SEQUENCE: 0xf2,
  BAD_ATR_TS: 0xf8,
  HW_ERROR: 0xfb,
  XFR_OVERRUN: 0xfc,
  XFR_PARITY_ERROR: 0xfd,
  ICC_MUTE: 0xfe,
  CMD_ABORTED: 0xff,
} as const

/** bmCommandStatus: the command failed (6.2.6). */
export const FAILED = 0x40
/** bmCommandStatus: time extension requested; bError is the multiplier (6.2.6). */
export const TIME_EXTENSION = 0x80

/** wLevelParameter (6.1.4) and bChainParameter (6.2.1). */
export const Chain = { whole: 0, begins: 1, ends: 2, continues: 3, expectsMore: 0x10 } as const

/** Encodes a bulk-IN message (6.2). */
export function encodeResponse(
  to: { readonly slot: number; readonly sequence: number },
  type: number,
  status: number,
  error: number,
  parameter: number,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return join([type], uint32le(data.length), [to.slot, to.sequence, status, error, parameter], data)
}

/** Encodes NotifySlotChange, with two bits for each slot: card present, and changed since the last one (6.3.1). */
export function encodeSlotChange(
  slots: readonly { readonly card: unknown; readonly isChanged: boolean }[],
): Uint8Array {
  const bits = new Uint8Array(1 + Math.ceil(slots.length / 4))
  bits[0] = NOTIFY_SLOT_CHANGE
  for (const [at, slot] of slots.entries()) {
    const state = (slot.card === undefined ? 0 : 1) | (slot.isChanged ? 2 : 0)
    bits[1 + (at >> 2)] = (bits[1 + (at >> 2)] as number) | (state << (2 * (at & 3)))
  }
  return bits
}
