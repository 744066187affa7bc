/** A slot of a virtual reader: its card, and the exchange that it is busy with (CCID 1.1, 4.2, 6.1.4, 6.2.6). */
import { copyOf, join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import type { ContactCard, ContactOptions } from '../iso7816/contact-card.ts'
import type { Fault } from './faults.ts'
import { CcidError, Chain, type MessageName } from './messages.ts'

/** ISO/IEC 7816-4: CLA INS P1 P2, an extended Lc, 65535 bytes of data, an extended Le. */
const MAX_COMMAND_BYTES = 65_544
/** Header, Lc, 255 bytes of data, Le. */
const MAX_SHORT_COMMAND_BYTES = 261

/** A bulk-OUT message, taken apart (6.1). */
export interface Command {
  readonly name: MessageName | 'unknown'
  readonly slot: number
  readonly sequence: number
  readonly parameters: readonly [number, number, number]
  readonly data: Uint8Array
  /** Bulk transfers completed before it came. */
  readonly transfersBefore: number
  readonly fault: Fault | undefined
}

/** bClockStatus of SlotStatus (6.2.2). */
export const Clock = { running: 0, stoppedLow: 1, stoppedHigh: 2 } as const
type ClockStatus = (typeof Clock)[keyof typeof Clock]

/** What an XfrBlock came to. */
export type Collected =
  /** A command APDU is whole: for the card. */
  | { readonly apdu: Uint8Array }
  /** A part of one; the reader asks for the next. */
  | { readonly expectsMore: true }
  /** The host fetches the next part of this response. */
  | { readonly responseRest: Uint8Array }
  | { readonly error: number }

/** State of one slot. */
export class ReaderSlot {
  card: VirtualCard | undefined
  /** The card's contacts, where the reader takes TPDUs. */
  contact: ContactCard | undefined
  isPowered = false
  /** How the card behaves at its contacts. */
  options: ContactOptions = {}
  /** bPowerSelect that it is powered with. */
  powerSelect = 0
  /** A command took its power since the last power-on. */
  wasPoweredOff = false
  /** Just pushed in: mute to the first power-on. */
  isMuteUntilPowerOn = false
  /** Changed since the host was last told. */
  isChanged = false
  isBusy = false
  /** What it is busy with, as long as an answer will come. */
  runningCommand: Command | undefined
  /** Counts what cuts an exchange off: its late answer belongs to nobody. */
  epoch = 0
  responseRest: Uint8Array | undefined
  parameters: Uint8Array = new Uint8Array(0)
  /** bClockStatus (6.2.2). */
  clockStatus: ClockStatus = Clock.running
  /** By Mechanical: the card cannot be taken out. */
  isLocked = false
  abortBySequence: { control?: number; bulk?: number } = {}
  /** How many bulk transfers had been completed when the command APDU began. */
  transfersBefore = 0
  #commandParts: Uint8Array[] = []

  /** bmICCStatus: 0 active, 1 inactive, 2 absent. */
  get status(): number {
    if (this.card === undefined) return 2
    return this.isPowered ? 0 : 1
  }

  /** Ends the exchange without an answer. */
  abort(): void {
    this.epoch++
    this.markIdle()
    this.#commandParts = []
    this.responseRest = undefined
    this.abortBySequence = {}
  }

  /** Busy from now on. */
  markBusy(command: Command): void {
    this.isBusy = true
    this.runningCommand = command
  }

  /** Free for the next command. */
  markIdle(): void {
    this.isBusy = false
    this.runningCommand = undefined
  }

  /** Resets the card, warm if it has power, and gives it power; what it answers. There is a card. */
  activate(): Uint8Array {
    const card = this.card as VirtualCard
    const isWarm = this.isPowered
    card.reset(isWarm ? 'warm' : 'cold')
    this.contact?.restart()
    this.isPowered = true
    this.wasPoweredOff = false
    this.clockStatus = Clock.running
    const atr = copyOf(isWarm ? (this.options.warmAtr ?? card.atr) : card.atr)
    this.parameters = defaultParameters(atr)
    return atr
  }

  /** Takes the current from the card. */
  powerOff(): void {
    if (this.isPowered) this.card?.powerOff()
    this.isPowered = false
    this.clockStatus = Clock.running
  }

  /** Whether a block with this wLevelParameter is the first of its command APDU. */
  static isFirstBlock(level: number): boolean {
    return level === Chain.whole || level === Chain.begins
  }

  /** Which protocol the reader speaks: T=1 has seven bytes of parameters, T=0 five (6.1.7). */
  get protocol(): number {
    return this.parameters.length === 7 ? 1 : 0
  }

  /** Short APDU level: a block is a command APDU, one of the four short cases (6.1.4). */
  collectShort(level: number, block: Uint8Array): Collected {
    if (level === Chain.expectsMore && this.responseRest !== undefined)
      return { responseRest: this.responseRest }
    if (level !== Chain.whole) return { error: CcidError.BAD_LEVEL_PARAMETER }
    return isShort(block) ? { apdu: block } : { error: CcidError.BAD_LENGTH }
  }

  /** Extended APDU level: wLevelParameter says which part of a command APDU the block is (6.1.4). */
  collectExtended(level: number, block: Uint8Array): Collected {
    const hasBegun = this.#commandParts.length > 0
    if (level === Chain.expectsMore) {
      const rest = this.responseRest
      return rest === undefined || hasBegun
        ? { error: CcidError.BAD_LEVEL_PARAMETER }
        : { responseRest: rest }
    }
    const isLast = level === Chain.whole || level === Chain.ends
    if (ReaderSlot.isFirstBlock(level)) this.#commandParts = []
    else if (!hasBegun || (level !== Chain.ends && level !== Chain.continues))
      return { error: CcidError.BAD_LEVEL_PARAMETER }
    this.responseRest = undefined
    this.#commandParts.push(block)
    const apdu = join(...this.#commandParts)
    if (apdu.length > MAX_COMMAND_BYTES) {
      this.#commandParts = []
      return { error: CcidError.XFR_OVERRUN }
    }
    if (!isLast) return { expectsMore: true }
    this.#commandParts = []
    return apdu.length < 4 ? { error: CcidError.BAD_LENGTH } : { apdu }
  }
}

/** Whether the APDU is one of the four short cases (ISO/IEC 7816-3:2006, 12.1.3). */
function isShort(apdu: Uint8Array): boolean {
  if (apdu.length < 4) return false
  if (apdu.length <= 5) return true
  const dataBytes = apdu[4] as number
  if (dataBytes === 0 || apdu.length > MAX_SHORT_COMMAND_BYTES) return false
  return apdu.length === 5 + dataBytes || apdu.length === 6 + dataBytes
}

/** What the parameters are after power-on: of the first protocol that the ATR offers, TD1 behind TA1 to TC1 (ISO/IEC 7816-3:2006, 8.2.3). */
export function defaultParameters(atr: Uint8Array): Uint8Array {
  const present = atr[1] ?? 0
  const td1At = 2 + (present & 0x10 ? 1 : 0) + (present & 0x20 ? 1 : 0) + (present & 0x40 ? 1 : 0)
  const protocol = present & 0x80 ? (atr[td1At] ?? 0) & 0x0f : 0
  return protocol === 1 ? Uint8Array.of(0x11, 0x10, 0, 0x4d, 0, 0x20, 0) : Uint8Array.of(0x11, 0, 0, 0x0a, 0)
}
