/** The state of one slot of a virtual reader: its card and the running command (CCID 1.1, 4.2, 6.1.4 and 6.2.6). */
import { copyOf, join } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import type { ContactCard, ContactOptions } from '../iso7816/contact-card.ts'
import type { Fault } from './faults.ts'
import { CcidError, Chain, type MessageName } from './messages.ts'

/** The longest extended command APDU (ISO/IEC 7816-4): header, extended Lc, 65535 bytes of data, extended Le. */
const MAX_COMMAND_BYTES = 65_544
/** The longest short command APDU: header, Lc, 255 bytes of data, Le. */
const MAX_SHORT_COMMAND_BYTES = 261

/** A decoded bulk-OUT message (6.1). */
export interface Command {
  readonly name: MessageName | 'unknown'
  readonly slot: number
  readonly sequence: number
  readonly parameters: readonly [number, number, number]
  readonly data: Uint8Array
  /** Number of bulk transfers that were complete before the message arrived. */
  readonly transfersBefore: number
  readonly fault: Fault | undefined
}

/** bClockStatus of SlotStatus (6.2.2). */
export const Clock = { running: 0, stoppedLow: 1, stoppedHigh: 2 } as const
type ClockStatus = (typeof Clock)[keyof typeof Clock]

/** The result of an XfrBlock. */
export type Collected =
  /** The command APDU is complete. */
  | { readonly apdu: Uint8Array }
  /** A part of a command APDU was received; the reader expects the next one. */
  | { readonly expectsMore: true }
  /** The host fetches the next part of a response. */
  | { readonly responseRest: Uint8Array }
  | { readonly error: number }

/** One slot of a virtual reader. */
export class ReaderSlot {
  card: VirtualCard | undefined
  /** The contact interface of the card, if the reader works at TPDU or character level. */
  contact: ContactCard | undefined
  isPowered = false
  /** How the card behaves below the APDU level. */
  options: ContactOptions = {}
  /** bPowerSelect of the last power-on. */
  powerSelect = 0
  /** True if IccPowerOff was executed since the last power-on. */
  wasPoweredOff = false
  /** True if the card was just inserted again and is mute at the next power-on. */
  isMuteAtPowerOn = false
  /** True if the slot changed since the host fetched the last notification. */
  isChanged = false
  isBusy = false
  /** The running command, if the reader will respond to it. */
  runningCommand: Command | undefined
  /** Incremented when an exchange is aborted, so that its late response is discarded. */
  epoch = 0
  responseRest: Uint8Array | undefined
  parameters: Uint8Array = new Uint8Array(0)
  /** bClockStatus (6.2.2). */
  clockStatus: ClockStatus = Clock.running
  /** True if a Mechanical command has locked the card in the slot. */
  isLocked = false
  /** Sequence numbers of the ABORT class request and of the Abort message (5.3.1). */
  abortBySequence: { control?: number; bulk?: number } = {}
  /** Number of bulk transfers that were complete when the command APDU began. */
  transfersBefore = 0
  #commandParts: Uint8Array[] = []

  /** bmICCStatus: 0 active, 1 inactive, 2 absent. */
  get status(): number {
    if (this.card === undefined) return 2
    return this.isPowered ? 0 : 1
  }

  /** Aborts the exchange without a response. */
  abort(): void {
    this.epoch++
    this.markIdle()
    this.#commandParts = []
    this.responseRest = undefined
    this.abortBySequence = {}
  }

  /** Marks the slot as busy with a command. */
  markBusy(command: Command): void {
    this.isBusy = true
    this.runningCommand = command
  }

  /** Marks the slot as ready for the next command. */
  markIdle(): void {
    this.isBusy = false
    this.runningCommand = undefined
  }

  /** Powers on the card, or resets it if it has power, and returns its ATR. The slot must have a card. */
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

  /** Removes the power from the card. */
  powerOff(): void {
    if (this.isPowered) this.card?.powerOff()
    this.isPowered = false
    this.clockStatus = Clock.running
  }

  /** Returns true if a block with this wLevelParameter is the first one of a command APDU. */
  static isFirstBlock(level: number): boolean {
    return level === Chain.whole || level === Chain.begins
  }

  /** Handles SetParameters (6.1.7). Returns the bError if the reader refuses the parameters. */
  setParameters({ data, parameters: [protocol] }: Command, negotiates: boolean): number | undefined {
    if (protocol > 1) return CcidError.BAD_PROTOCOL
    if (data.length !== (protocol === 0 ? 5 : 7)) return CcidError.BAD_LENGTH
    this.parameters = data
    if (negotiates) this.contact?.negotiated(protocol)
    return undefined
  }

  /** The current protocol: T=1 has seven bytes of parameters, T=0 five (6.1.7). */
  get protocol(): number {
    return this.parameters.length === 7 ? 1 : 0
  }

  /** Handles a block at short APDU level, which is a complete short command APDU (6.1.4). */
  collectShort(level: number, block: Uint8Array): Collected {
    if (level === Chain.expectsMore && this.responseRest !== undefined)
      return { responseRest: this.responseRest }
    if (level !== Chain.whole) return { error: CcidError.BAD_LEVEL_PARAMETER }
    return isShort(block) ? { apdu: block } : { error: CcidError.BAD_LENGTH }
  }

  /** Handles a block at extended APDU level, where wLevelParameter states which part of a command APDU it is (6.1.4). */
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

/** Returns true if the APDU is one of the four short cases (ISO/IEC 7816-3:2006, 12.1.3). */
function isShort(apdu: Uint8Array): boolean {
  if (apdu.length < 4) return false
  if (apdu.length <= 5) return true
  const dataBytes = apdu[4] as number
  if (dataBytes === 0 || apdu.length > MAX_SHORT_COMMAND_BYTES) return false
  return apdu.length === 5 + dataBytes || apdu.length === 6 + dataBytes
}

/**
 * Returns the parameters after power-on, for the first protocol of the ATR, which TD1 after TA1 to TC1 names (ISO/IEC
 * 7816-3:2006, 8.2.3).
 */
export function defaultParameters(atr: Uint8Array): Uint8Array {
  const present = atr[1] ?? 0
  const td1At = 2 + (present & 0x10 ? 1 : 0) + (present & 0x20 ? 1 : 0) + (present & 0x40 ? 1 : 0)
  const protocol = present & 0x80 ? (atr[td1At] ?? 0) & 0x0f : 0
  return protocol === 1 ? Uint8Array.of(0x11, 0x10, 0, 0x4d, 0, 0x20, 0) : Uint8Array.of(0x11, 0, 0, 0x0a, 0)
}
