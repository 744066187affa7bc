/** Executes the commands for clock, data rate and mechanical functions (CCID 1.1, 6.1.9, 6.1.12 and 6.1.14). */
import { join, readUint32le, uint32le } from '../bytes.ts'
import { CcidError, DATA_RATE_AND_CLOCK, SLOT_STATUS } from './messages.ts'
import { Clock, type Command, type ReaderSlot } from './reader-slot.ts'

/** Bit of dwFeatures: the reader can stop the card's clock (table 5.1-1). */
const CLOCK_STOP = 0x100
/** The bit of dwMechanical that a reader needs for each bFunction of Mechanical. */
const mechanicalBits: readonly number[] = [0, 1, 2, 4, 8, 8]

/** The abilities that the class descriptor and the control requests state. */
export interface ReaderAbilities {
  readonly features: number
  readonly mechanical: number
  readonly clocksKHz: { readonly default: number; readonly max: number; readonly listed?: readonly number[] }
  readonly ratesBps: { readonly default: number; readonly max: number; readonly listed?: readonly number[] }
}

/** The response to one of these commands: its type, the byte before abData, and abData; or bError. */
export type ControlResult =
  | { readonly type: number; readonly parameter: number; readonly data?: Uint8Array }
  | { readonly error: number }

/** Executes one of the three commands. `eject` is called to eject the card. */
export function control(
  command: Command,
  readerSlot: ReaderSlot,
  abilities: ReaderAbilities,
  eject: () => void,
): ControlResult {
  switch (command.name) {
    case 'IccClock':
      return clock(command, readerSlot, abilities)
    case 'SetDataRateAndClockFrequency':
      return rates(command, abilities)
    case 'Mechanical':
      return mechanical(command, readerSlot, abilities, eject)
    default:
      return { error: CcidError.COMMAND_NOT_SUPPORTED }
  }
}

/** Stops or restarts the clock (6.1.9). It stops in the state that bClockStop of the parameters names. */
function clock(
  { parameters }: Command,
  readerSlot: ReaderSlot,
  { features }: ReaderAbilities,
): ControlResult {
  if ((features & CLOCK_STOP) === 0) return { error: CcidError.COMMAND_NOT_SUPPORTED }
  if (readerSlot.status !== 0) return { error: CcidError.ICC_MUTE }
  const [requested] = parameters
  const allowed = readerSlot.parameters[4] ?? 0
  if (requested > 1 || (requested === 1 && allowed === 0)) return { error: CcidError.BAD_CLOCK_COMMAND }
  readerSlot.clockStatus =
    requested === 0 ? Clock.running : allowed === 2 ? Clock.stoppedHigh : Clock.stoppedLow
  return { type: SLOT_STATUS, parameter: readerSlot.clockStatus }
}

/** Sets dwClockFrequency and dwDataRate, which the response repeats (6.1.14). */
function rates({ data }: Command, { clocksKHz, ratesBps }: ReaderAbilities): ControlResult {
  if (clocksKHz.default === clocksKHz.max && ratesBps.default === ratesBps.max)
    return { error: CcidError.COMMAND_NOT_SUPPORTED }
  if (data.length !== 8) return { error: CcidError.BAD_LENGTH }
  const clockKHz = readUint32le(data, 0)
  const rateBps = readUint32le(data, 4)
  if (!isSupported(clockKHz, clocksKHz)) return { error: CcidError.BAD_CLOCK_FREQUENCY }
  if (!isSupported(rateBps, ratesBps)) return { error: CcidError.BAD_DATA_RATE }
  return { type: DATA_RATE_AND_CLOCK, parameter: 0, data: join(uint32le(clockKHz), uint32le(rateBps)) }
}

function isSupported(
  requested: number,
  { default: least, max, listed }: ReaderAbilities['ratesBps'],
): boolean {
  return listed === undefined ? requested >= least && requested <= max : listed.includes(requested)
}

/** Accepts, ejects, captures, locks or unlocks a card (6.1.12). */
function mechanical(
  { parameters: [requested] }: Command,
  readerSlot: ReaderSlot,
  { mechanical: supported }: ReaderAbilities,
  eject: () => void,
): ControlResult {
  if (supported === 0) return { error: CcidError.COMMAND_NOT_SUPPORTED }
  const bit = mechanicalBits[requested] ?? 0
  if ((supported & bit) === 0) return { error: CcidError.BAD_FUNCTION }
  if (requested === 4 || requested === 5) readerSlot.isLocked = requested === 4
  if (requested === 2 || requested === 3) {
    if (readerSlot.isLocked) return { error: CcidError.HW_ERROR }
    eject()
  }
  return { type: SLOT_STATUS, parameter: readerSlot.clockStatus }
}
