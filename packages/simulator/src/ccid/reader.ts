/** A CCID reader at APDU level as a USB device: CCID 1.1, clauses 5 and 6, with faults on demand. */
import { join, readUint32le, uint32le } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import { realClock, type SimulatorClock } from '../clock.ts'
import type { ControlSetup, InResult } from '../usb/device-model.ts'
import { PacketDevice } from '../usb/packet-device.ts'
import { ReaderCounters } from './counters.ts'
import { type Fault, FaultSchedule } from './faults.ts'
import { endpoints, type ReaderProfile, readerParts } from './profiles.ts'

const HEADER_BYTES = 10
const MAX_SHORT_COMMAND_BYTES = 261
/** dwFeatures: which exchange level (table 5.1-1). */
const SHORT_LEVEL = 0x2_0000
const EXTENDED_LEVEL = 0x4_0000

/** bMessageType of what a host sends (6.1). */
const messageNames: ReadonlyMap<number, string> = new Map([
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

/** bMessageType of what a reader sends (6.2, 6.3). */
const DATA_BLOCK = 0x80
const SLOT_STATUS = 0x81
const PARAMETERS = 0x82
const ESCAPE = 0x83
const DATA_RATE_AND_CLOCK = 0x84
const NOTIFY_SLOT_CHANGE = 0x50

/** Which answer a command gets, failed ones too; SlotStatus where none is named. */
const answerTypes: ReadonlyMap<string, number> = new Map([
  ['IccPowerOn', DATA_BLOCK],
  ['XfrBlock', DATA_BLOCK],
  ['Secure', DATA_BLOCK],
  ['SetParameters', PARAMETERS],
  ['GetParameters', PARAMETERS],
  ['ResetParameters', PARAMETERS],
  ['Escape', ESCAPE],
  ['SetDataRateAndClockFrequency', DATA_RATE_AND_CLOCK],
])

/** bError (table 6.2-2); below 128 it is the offset of the field that is wrong. */
const CcidError = {
  COMMAND_NOT_SUPPORTED: 0,
  BAD_LENGTH: 1,
  BAD_SLOT: 5,
  BAD_LEVEL_PARAMETER: 8,
  CMD_SLOT_BUSY: 0xe0,
  ICC_MUTE: 0xfe,
} as const

/** bmCommandStatus (6.2.6). */
const FAILED = 0x40
const TIME_EXTENSION = 0x80

/** wLevelParameter and bChainParameter. */
const Chain = { whole: 0, begins: 1, ends: 2, continues: 3, expectsMore: 0x10 } as const

/** What a reader is given beside its profile. */
export interface VirtualReaderOptions {
  /** Default: 'V0000001'. null: none, so that a browser forgets its permission at each unplugging. */
  readonly serialNumber?: string | null
  /** What slow cards and time extensions wait for. Default: the platform's timers. */
  readonly clock?: SimulatorClock
}

interface Command {
  readonly name: string
  readonly slot: number
  readonly sequence: number
  readonly parameters: readonly [number, number, number]
  readonly data: Uint8Array
}

class ReaderSlot {
  card: VirtualCard | undefined
  isPowered = false
  isBusy = false
  /** Changed since the host was last told. */
  isChanged = false
  /** Counts what cuts an exchange off: its late answer belongs to nobody. */
  epoch = 0
  commandParts: Uint8Array[] = []
  responseRest: Uint8Array | undefined
  parameters: Uint8Array = new Uint8Array(0)
  abortBySequence: { control?: number; bulk?: number } = {}

  /** bmICCStatus: 0 active, 1 inactive, 2 absent. */
  get status(): number {
    if (this.card === undefined) return 2
    return this.isPowered ? 0 : 1
  }

  cutOff(): void {
    this.epoch++
    this.isBusy = false
    this.commandParts = []
    this.responseRest = undefined
    this.abortBySequence = {}
  }
}

/** Plug it into a bus (`virtualUsb([reader])`), insert a card, and take it for hardware. */
export class VirtualCcidReader extends PacketDevice {
  readonly profile: ReaderProfile
  readonly faults: FaultSchedule = new FaultSchedule()
  readonly counters: ReaderCounters = new ReaderCounters()
  readonly #clock: SimulatorClock
  readonly #slots: readonly ReaderSlot[]
  readonly #isExtendedLevel: boolean
  readonly #maxMessageBytes: number
  readonly #sendsEmptyPackets: boolean

  constructor(profile: ReaderProfile, options: VirtualReaderOptions = {}) {
    super(
      readerParts(profile, options.serialNumber === null ? undefined : (options.serialNumber ?? 'V0000001')),
    )
    this.profile = profile
    this.#clock = options.clock ?? realClock
    this.#sendsEmptyPackets = profile.emptyPackets ?? true
    const byte = (at: number): number => Number.parseInt(profile.ccidDescriptor.slice(2 * at, 2 * at + 2), 16)
    const number = (at: number): number =>
      readUint32le(Uint8Array.of(byte(at), byte(at + 1), byte(at + 2), byte(at + 3)), 0)
    const features = number(40)
    this.#isExtendedLevel = (features & EXTENDED_LEVEL) !== 0
    if (!this.#isExtendedLevel && (features & SHORT_LEVEL) === 0) {
      throw new RangeError(
        'The virtual reader models the APDU levels; this descriptor is at TPDU or character level.',
      )
    }
    this.#maxMessageBytes = number(44)
    this.#slots = Array.from({ length: byte(4) + 1 }, () => new ReaderSlot())
  }

  /** Puts a card in; the card that is in comes out. */
  insert(card: VirtualCard, slot: number = 0): void {
    this.#slotAt(slot).card = card
    this.#changed(this.#slotAt(slot))
  }

  /** Pulls the card: whatever it was working at is lost. */
  remove(slot: number = 0): void {
    const place = this.#slotAt(slot)
    if (place.card === undefined) return
    place.card.powerOff()
    place.card = undefined
    this.#changed(place)
  }

  /** The card in a slot. */
  cardIn(slot: number = 0): VirtualCard | undefined {
    return this.#slotAt(slot).card
  }

  #slotAt(slot: number): ReaderSlot {
    const place = this.#slots[slot]
    if (place === undefined) throw new RangeError(`The virtual reader has no slot ${slot}.`)
    return place
  }

  #changed(slot: ReaderSlot): void {
    slot.isPowered = false
    slot.isChanged = true
    this.#notify()
  }

  /** 6.3.1: two bits a slot. What the host has not fetched yet is replaced by what is now. */
  #notify(): void {
    if (!this.profile.interrupt || !this.isPlugged) return
    const bits = new Uint8Array(1 + Math.ceil(this.#slots.length / 4))
    bits[0] = NOTIFY_SLOT_CHANGE
    for (const [at, slot] of this.#slots.entries()) {
      const state = (slot.card === undefined ? 0 : 1) | (slot.isChanged ? 2 : 0)
      bits[1 + (at >> 2)] = (bits[1 + (at >> 2)] as number) | (state << (2 * (at & 3)))
    }
    const queue = this.inQueue(endpoints.interruptIn)
    queue.dropPackets()
    queue.sendPacket(bits)
  }

  protected override inCompleted(endpoint: number, result: InResult): void {
    if (endpoint === endpoints.bulkIn) this.counters.transferred()
    if (endpoint === endpoints.interruptIn && result.data.length > 0) {
      for (const slot of this.#slots) slot.isChanged = false
    }
  }

  protected wasReset(why: 'bus' | 'configuration' | 'plug' | 'unplug'): void {
    if (why !== 'configuration') this.faults.wasReset()
    for (const slot of this.#slots) {
      slot.cutOff()
      if (slot.isPowered) slot.card?.powerOff()
      slot.isPowered = false
      slot.isChanged = slot.card !== undefined
    }
    if (why !== 'unplug' && this.#slots.some((slot) => slot.isChanged)) this.#notify()
  }

  /** 5.3: ABORT, GET_CLOCK_FREQUENCIES, GET_DATA_RATES; the last two are optional, and the readers at hand lack them. */
  protected classRequest(setup: ControlSetup): Uint8Array | 'stall' {
    if (setup.bmRequestType !== 0x21 || setup.bRequest !== 0x01) return 'stall'
    const place = this.#slots[setup.wValue & 0xff]
    if (place === undefined) return 'stall'
    place.abortBySequence.control = setup.wValue >>> 8
    this.#tryAbort(setup.wValue & 0xff, place)
    return new Uint8Array(0)
  }

  protected outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (endpoint !== endpoints.bulkOut) return 'stall'
    // A frame too short for a header has no slot and no sequence number that could be answered.
    if (bytes.length < HEADER_BYTES) return 'stall'
    const command: Command = {
      name: messageNames.get(bytes[0] as number) ?? 'unknown',
      slot: bytes[5] as number,
      sequence: bytes[6] as number,
      parameters: [bytes[7] as number, bytes[8] as number, bytes[9] as number],
      data: bytes.slice(HEADER_BYTES),
    }
    const fault = command.name === 'XfrBlock' ? this.faults.next() : undefined
    if (fault?.kind === 'stall-out') return 'stall'
    this.counters.arrived(command.name)
    const place = this.#slots[command.slot]
    if (place === undefined) this.#fail(command, 2, CcidError.BAD_SLOT)
    else if (readUint32le(bytes, 1) !== command.data.length)
      this.#fail(command, place.status, CcidError.BAD_LENGTH)
    else this.#run(command, place, fault)
    return 'ok'
  }

  #run(command: Command, place: ReaderSlot, fault: Fault | undefined): void {
    if (command.name === 'Abort') {
      place.abortBySequence.bulk = command.sequence
      this.#tryAbort(command.slot, place)
      return
    }
    if (place.isBusy) {
      this.#fail(command, place.status, CcidError.CMD_SLOT_BUSY)
      return
    }
    switch (command.name) {
      case 'IccPowerOn':
        this.#powerOn(command, place)
        return
      case 'IccPowerOff':
        place.cutOff()
        if (place.isPowered) place.card?.powerOff()
        place.isPowered = false
        this.faults.wasReset()
        this.#answer(command, SLOT_STATUS, place.status, 0, 0)
        return
      case 'GetSlotStatus':
      case 'IccClock':
        this.#answer(command, SLOT_STATUS, place.status, 0, 0)
        return
      case 'XfrBlock':
        this.#transfer(command, place, fault)
        return
      case 'GetParameters':
      case 'ResetParameters':
      case 'SetParameters':
        this.#parameters(command, place)
        return
      default:
        this.#fail(command, place.status, CcidError.COMMAND_NOT_SUPPORTED)
    }
  }

  #powerOn(command: Command, place: ReaderSlot): void {
    const { card } = place
    if (card === undefined) {
      this.#fail(command, place.status, CcidError.ICC_MUTE)
      return
    }
    place.cutOff()
    card.reset(place.isPowered ? 'warm' : 'cold')
    place.isPowered = true
    place.parameters = defaultParameters(card.atr)
    this.faults.wasReset()
    this.#answer(command, DATA_BLOCK, place.status, 0, Chain.whole, card.atr)
  }

  /** 6.1.5 to 6.1.7: at APDU level the reader negotiates; what a host sets is taken and changes nothing. */
  #parameters(command: Command, place: ReaderSlot): void {
    if (place.status !== 0) {
      this.#fail(command, place.status, CcidError.ICC_MUTE)
      return
    }
    if (command.name === 'SetParameters') {
      const [protocol] = command.parameters
      if (protocol > 1) {
        this.#fail(command, place.status, 7)
        return
      }
      if (command.data.length !== (protocol === 0 ? 5 : 7)) {
        this.#fail(command, place.status, CcidError.BAD_LENGTH)
        return
      }
      place.parameters = command.data
    }
    const protocol = place.parameters.length === 7 ? 1 : 0
    this.#answer(command, PARAMETERS, place.status, 0, protocol, place.parameters)
  }

  #transfer(command: Command, place: ReaderSlot, fault: Fault | undefined): void {
    if (fault?.kind === 'card-pulled' && fault.moment === 'before') this.remove(command.slot)
    if (fault?.kind === 'unplugged' && fault.moment === 'before') {
      this.unplug()
      return
    }
    if (place.status !== 0 || place.card === undefined) {
      this.#fail(command, place.status, CcidError.ICC_MUTE)
      return
    }
    if (fault?.kind === 'mute-card') {
      this.#fail(command, place.status, CcidError.ICC_MUTE)
      return
    }
    const whole = this.#isExtendedLevel ? this.#collect(command, place) : command.data
    if (whole === undefined) return
    if (whole.length < 4 || (!this.#isExtendedLevel && !isShort(whole))) {
      this.#fail(command, place.status, CcidError.BAD_LENGTH)
      return
    }
    void this.#execute(command, place, place.card, whole, fault)
  }

  /** wLevelParameter (6.1.4): undefined where the command is not whole yet, or an answer has gone out already. */
  #collect(command: Command, place: ReaderSlot): Uint8Array | undefined {
    const level = command.parameters[1] | (command.parameters[2] << 8)
    const begun = place.commandParts.length > 0
    switch (level) {
      case Chain.whole:
        place.commandParts = []
        place.responseRest = undefined
        return command.data
      case Chain.begins:
        place.commandParts = [command.data]
        place.responseRest = undefined
        break
      case Chain.continues:
      case Chain.ends: {
        if (!begun) break
        place.commandParts.push(command.data)
        if (level === Chain.continues) break
        const whole = join(...place.commandParts)
        place.commandParts = []
        return whole
      }
      case Chain.expectsMore:
        if (place.responseRest === undefined) break
        this.#answerPart(command, place, place.responseRest, false)
        return undefined
    }
    if (place.commandParts.length === 0) this.#fail(command, place.status, CcidError.BAD_LEVEL_PARAMETER)
    else this.#answer(command, DATA_BLOCK, place.status, 0, Chain.expectsMore)
    return undefined
  }

  async #execute(
    command: Command,
    place: ReaderSlot,
    card: VirtualCard,
    apdu: Uint8Array,
    fault: Fault | undefined,
  ): Promise<void> {
    place.isBusy = true
    const { epoch } = place
    await this.#delay(command, place, fault)
    if (place.epoch !== epoch || place.card !== card) return
    const response = await card.process(apdu)
    this.counters.executed(apdu.length, response.length)
    // Aborted, reset or unplugged while the card worked: the answer belongs to nobody.
    if (place.epoch !== epoch) return
    if (fault?.kind === 'silent-reader') return
    place.isBusy = false
    if (fault?.kind === 'card-pulled' && fault.moment === 'during') this.remove(command.slot)
    if (fault?.kind === 'unplugged' && fault.moment === 'during') {
      this.unplug()
      return
    }
    if (place.card !== card) {
      this.#fail(command, place.status, CcidError.ICC_MUTE)
      return
    }
    const answer = fault?.kind === 'one-byte-response' ? response.slice(-1) : response
    this.#answerPart(command, place, answer, true, fault)
  }

  /** Time extensions and slow cards, by the clock. */
  async #delay(command: Command, place: ReaderSlot, fault: Fault | undefined): Promise<void> {
    if (fault?.kind === 'slow-card') await this.#wait(fault.delayMs)
    if (fault?.kind !== 'time-extension') return
    const { epoch } = place
    for (let frame = 0; frame < (fault.frames ?? 3); frame++) {
      if (place.epoch !== epoch) return
      this.#answer(command, DATA_BLOCK, TIME_EXTENSION | place.status, fault.multiplier ?? 1, 0)
      await this.#wait(fault.delayMs ?? 0)
    }
  }

  #wait(delayMs: number): Promise<void> {
    if (delayMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#clock.after(delayMs, resolve)
    })
  }

  /** As much of a response as a message holds; the rest waits for the host's empty block. */
  #answerPart(command: Command, place: ReaderSlot, rest: Uint8Array, isFirst: boolean, fault?: Fault): void {
    const room = this.#maxMessageBytes - HEADER_BYTES
    const isLast = rest.length <= room
    place.responseRest = isLast ? undefined : rest.slice(room)
    const chain = isFirst ? (isLast ? Chain.whole : Chain.begins) : isLast ? Chain.ends : Chain.continues
    const message = frame(command, DATA_BLOCK, place.status, 0, chain, rest.slice(0, room))
    this.#deliver(command, message, fault)
  }

  /** Sends an APDU's answer, spoiled as the fault has it. */
  #deliver(command: Command, message: Uint8Array, fault: Fault | undefined): void {
    const queue = this.inQueue(endpoints.bulkIn)
    let spoiled = message
    switch (fault?.kind) {
      case 'stall-in':
        queue.sendStall()
        break
      case 'empty-packet':
        queue.sendPacket(new Uint8Array(0))
        break
      case 'stale-answer':
        queue.sendMessage(
          frame(
            { ...command, sequence: (command.sequence + 0x80) & 0xff },
            DATA_BLOCK,
            0,
            0,
            0,
            Uint8Array.of(0x90, 0),
          ),
          false,
        )
        break
      case 'truncated-message':
        spoiled = message.slice(0, -1)
        break
      case 'wrong-length':
        spoiled = join(message.slice(0, 1), uint32le(message.length - HEADER_BYTES + 5), message.slice(5))
        break
      case 'huge-length':
        spoiled = join(message.slice(0, 1), uint32le(0xffff_ffff), message.slice(5))
        break
      case 'one-byte-message':
        spoiled = message.slice(0, 1)
        break
      default:
        break
    }
    queue.sendMessage(spoiled, this.#sendsEmptyPackets, () => {
      this.counters.answerTaken()
      if (fault?.kind === 'card-pulled' && fault.moment === 'after') this.remove(command.slot)
      if (fault?.kind === 'unplugged' && fault.moment === 'after') this.unplug()
    })
  }

  #answer(
    command: Command,
    type: number,
    status: number,
    error: number,
    parameter: number,
    data?: Uint8Array,
  ): void {
    this.inQueue(endpoints.bulkIn).sendMessage(
      frame(command, type, status, error, parameter, data),
      this.#sendsEmptyPackets,
      command.name === 'XfrBlock' ? () => this.counters.answerTaken() : undefined,
    )
  }

  #fail(command: Command, status: number, error: number): void {
    this.#answer(command, answerTypes.get(command.name) ?? SLOT_STATUS, FAILED | status, error, 0)
  }

  /** 5.3.1: the class request and the message have both come, with the same sequence number. */
  #tryAbort(slot: number, place: ReaderSlot): void {
    const { control, bulk } = place.abortBySequence
    if (bulk === undefined || control !== bulk) return
    place.cutOff()
    const command: Command = {
      name: 'Abort',
      slot,
      sequence: bulk,
      parameters: [0, 0, 0],
      data: new Uint8Array(0),
    }
    this.#answer(command, SLOT_STATUS, place.status, 0, 0)
  }
}

/** A bulk-IN message (6.2). */
function frame(
  command: Pick<Command, 'slot' | 'sequence'>,
  type: number,
  status: number,
  error: number,
  parameter: number,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return join([type], uint32le(data.length), [command.slot, command.sequence, status, error, parameter], data)
}

/** Whether the APDU is one of the four short cases (ISO/IEC 7816-3:2006, 12.1.3). */
function isShort(apdu: Uint8Array): boolean {
  if (apdu.length <= 5) return true
  const dataBytes = apdu[4] as number
  if (dataBytes === 0 || apdu.length > MAX_SHORT_COMMAND_BYTES) return false
  return apdu.length === 5 + dataBytes || apdu.length === 6 + dataBytes
}

/** The protocol is the first that the ATR offers: TD1, right behind TA1 to TC1 (ISO/IEC 7816-3:2006, 8.2.3). */
function defaultParameters(atr: Uint8Array): Uint8Array {
  const present = atr[1] ?? 0
  const td1At = 2 + (present & 0x10 ? 1 : 0) + (present & 0x20 ? 1 : 0) + (present & 0x40 ? 1 : 0)
  const protocol = present & 0x80 ? (atr[td1At] ?? 0) & 0x0f : 0
  return protocol === 1 ? Uint8Array.of(0x11, 0x10, 0, 0x4d, 0, 0x20, 0) : Uint8Array.of(0x11, 0, 0, 0x0a, 0)
}
