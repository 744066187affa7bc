/** Parses the class descriptor of a virtual reader (CCID 1.1, 5.1). */
import { fromHex, readUint32le } from '../bytes.ts'
import type { ReaderAbilities } from './controls.ts'
import type { ReaderProfile } from './reader-profile.ts'

/** Bits of dwFeatures: the exchange level (table 5.1-1). */
const SHORT_LEVEL = 0x2_0000
const EXTENDED_LEVEL = 0x4_0000
const TPDU_LEVEL = 0x1_0000
/** Bit of dwFeatures: the reader sends a PPS request at SetParameters. */
const AUTOMATIC_PPS = 0x80

/** Bit of dwFeatures: the reader activates a card when it is inserted. */
const ACTIVATES_ON_INSERTION = 0x04
/** Bit of dwFeatures: the reader selects the voltage itself. */
const AUTOMATIC_VOLTAGE = 0x08

/** The voltage for each bPowerSelect (6.1.1). */
export const voltages = [undefined, 5, 3, 1.8] as const

/** The properties in the class descriptor. */
export interface ClassDescriptor {
  readonly slots: number
  readonly level: 'extended' | 'short' | 'tpdu' | 'character'
  /** True if the reader sends a PPS request at SetParameters. */
  readonly negotiates: boolean
  /** True if the reader activates a card when it is inserted. */
  readonly activates: boolean
  /** bVoltageSupport, or undefined if the reader selects the voltage itself. */
  readonly voltageSupport: number | undefined
  readonly maxMessageBytes: number
  readonly pinSupport: number
  /** bMaxCCIDBusySlots. A reader that states 0 serves one slot nevertheless. */
  readonly maxBusySlots: number
  readonly abilities: ReaderAbilities
}

/** Parses the 54 bytes of the class descriptor. */
export function readClassDescriptor(profile: ReaderProfile): ClassDescriptor {
  const bytes = fromHex(profile.ccidDescriptor)
  const byte = (at: number): number => bytes[at] ?? 0
  const number = (at: number): number => readUint32le(bytes, at)
  const features = number(40)
  const { clockFrequenciesKHz, dataRatesBps } = profile
  const level = features & TPDU_LEVEL ? 'tpdu' : 'character'
  return {
    slots: byte(4) + 1,
    level: features & EXTENDED_LEVEL ? 'extended' : features & SHORT_LEVEL ? 'short' : level,
    negotiates: (features & AUTOMATIC_PPS) !== 0,
    activates: (features & ACTIVATES_ON_INSERTION) !== 0,
    voltageSupport: features & AUTOMATIC_VOLTAGE ? undefined : byte(5),
    maxMessageBytes: number(44),
    pinSupport: byte(52),
    maxBusySlots: Math.max(1, byte(53)),
    abilities: {
      features,
      mechanical: number(36),
      clocksKHz: {
        default: number(10),
        max: number(14),
        ...(clockFrequenciesKHz && { listed: clockFrequenciesKHz }),
      },
      ratesBps: { default: number(19), max: number(23), ...(dataRatesBps && { listed: dataRatesBps }) },
    },
  }
}
