/** What a host may do with a reader beside carrying APDUs: clock, rates, mechanics (CCID 1.1, 6.1.9, 6.1.12, 6.1.14). */
import { join, readUint32le, uint32le } from '../bytes.ts'
import { CcidError, DATA_RATE_AND_CLOCK, SLOT_STATUS } from './messages.ts'
import { Clock, type Command, type ReaderSlot } from './reader-slot.ts'

/** dwFeatures: the card's clock can be stopped (table 5.1-1). */
const CLOCK_STOP = 0x100
/** bFunction of Mechanical, by the bit of dwMechanical that a reader needs for it. */
const mechanicalBits: readonly number[] = [0, 1, 2, 4, 8, 8]

/** What the class descriptor and the control requests say of such things. */
export interface ReaderAbilities {
  readonly features: number
  readonly mechanical: number
  readonly clocksKHz: { readonly default: number; readonly max: number; readonly listed?: readonly number[] }
  readonly ratesBps: { readonly default: number; readonly max: number; readonly listed?: readonly number[] }
}

/** The answer to a control command: its type, the byte before abData, abData; or bError. */
export type ControlAnswer =
  | { readonly type: number; readonly parameter: number; readonly data?: Uint8Array }
  | { readonly error: number }

/** Runs one of the three. `eject` lets the card out. */
export function control(
  command: Command,
  place: ReaderSlot,
  abilities: ReaderAbilities,
  eject: () => void,
): ControlAnswer {
  switch (command.name) {
    case 'IccClock':
      return clock(command, place, abilities)
    case 'SetDataRateAndClockFrequency':
      return rates(command, abilities)
    case 'Mechanical':
      return mechanical(command, place, abilities, eject)
    default:
      return { error: CcidError.COMMAND_NOT_SUPPORTED }
  }
}

/** 6.1.9: the clock rests in the state that bClockStop of the parameters names. */
function clock({ parameters }: Command, place: ReaderSlot, { features }: ReaderAbilities): ControlAnswer {
  if ((features & CLOCK_STOP) === 0) return { error: CcidError.COMMAND_NOT_SUPPORTED }
  if (place.status !== 0) return { error: CcidError.ICC_MUTE }
  const [wanted] = parameters
  const allowed = place.parameters[4] ?? 0
  if (wanted > 1 || (wanted === 1 && allowed === 0)) return { error: CcidError.BAD_CLOCK_COMMAND }
  place.clockStatus = wanted === 0 ? Clock.running : allowed === 2 ? Clock.stoppedHigh : Clock.stoppedLow
  return { type: SLOT_STATUS, parameter: place.clockStatus }
}

/** 6.1.14: dwClockFrequency and dwDataRate, which the answer repeats. */
function rates({ data }: Command, { clocksKHz, ratesBps }: ReaderAbilities): ControlAnswer {
  if (clocksKHz.default === clocksKHz.max && ratesBps.default === ratesBps.max)
    return { error: CcidError.COMMAND_NOT_SUPPORTED }
  if (data.length !== 8) return { error: CcidError.BAD_LENGTH }
  const clockKHz = readUint32le(data, 0)
  const rateBps = readUint32le(data, 4)
  if (!isPossible(clockKHz, clocksKHz)) return { error: CcidError.BAD_CLOCK_FREQUENCY }
  if (!isPossible(rateBps, ratesBps)) return { error: CcidError.BAD_DATA_RATE }
  return { type: DATA_RATE_AND_CLOCK, parameter: 0, data: join(uint32le(clockKHz), uint32le(rateBps)) }
}

function isPossible(wanted: number, { default: least, max, listed }: ReaderAbilities['ratesBps']): boolean {
  return listed === undefined ? wanted >= least && wanted <= max : listed.includes(wanted)
}

/** 6.1.12: accept, eject, capture, lock, unlock. */
function mechanical(
  { parameters: [wanted] }: Command,
  place: ReaderSlot,
  { mechanical: able }: ReaderAbilities,
  eject: () => void,
): ControlAnswer {
  if (able === 0) return { error: CcidError.COMMAND_NOT_SUPPORTED }
  const bit = mechanicalBits[wanted] ?? 0
  if ((able & bit) === 0) return { error: CcidError.BAD_FUNCTION }
  if (wanted === 4 || wanted === 5) place.isLocked = wanted === 4
  if (wanted === 2 || wanted === 3) {
    if (place.isLocked) return { error: CcidError.HW_ERROR }
    eject()
  }
  return { type: SLOT_STATUS, parameter: place.clockStatus }
}
