/** A CCID reader at APDU, TPDU or character level as a USB device: CCID 1.1, clauses 5 and 6, with faults on demand. */
import { join, readUint16le, readUint32le, toHex, uint32le } from '../bytes.ts'
import type { VirtualCard } from '../card.ts'
import { realClock, type SimulatorClock } from '../clock.ts'
import { ContactCard, type ContactOptions } from '../iso7816/contact-card.ts'
import type { ControlSetup, InResult } from '../usb/device-model.ts'
import { PacketDevice } from '../usb/packet-device.ts'
import { type ClassDescriptor, readClassDescriptor, voltages } from './class-descriptor.ts'
import { control } from './controls.ts'
import { ReaderCounters } from './counters.ts'
import {
  deliver,
  FaultSchedule,
  isPulledAt,
  isSlow,
  isStruckDuring,
  noticeOf,
  refusalOf,
  strikeAtr,
  strikeAway,
  strikeBefore,
  strikeDelay,
  strikeResponse,
} from './faults.ts'
import {
  answerTypeOf,
  CcidError,
  Chain,
  DATA_BLOCK,
  encodeAnswer,
  ESCAPE,
  FAILED,
  HEADER_BYTES,
  messageNames,
  NOTIFY_SLOT_CHANGE,
  PARAMETERS,
  SLOT_STATUS,
  TIME_EXTENSION,
} from './messages.ts'
import { blockOf, type PersonAtPad, readSecure, takePins } from './pin-entry.ts'
import { deviceParts, endpoints } from './profiles.ts'
import type { FirmwareHabits, ReaderProfile } from './reader-profile.ts'
import { Clock, type Command, defaultParameters, ReaderSlot } from './reader-slot.ts'

/** 256 bytes and a status word: a reader at short level has no room for more. */
const MAX_SHORT_RESPONSE_BYTES = 258

/** What became of an entry without a PIN. */
const entryErrors = {
  cancel: CcidError.PIN_CANCELLED,
  timeout: CcidError.PIN_TIMEOUT,
  broken: CcidError.HW_ERROR,
} as const

/** What a reader is given beside its profile. */
export interface VirtualReaderOptions {
  /** Default: 'V0000001'. null: none, so that a browser forgets its permission at each unplugging. */
  readonly serialNumber?: string | null
  /** What slow cards and time extensions wait for. Default: the platform's timers. */
  readonly clock?: SimulatorClock
}

/** As the device descriptor has it. */
export function serialNumberOf({ serialNumber }: VirtualReaderOptions): string | undefined {
  return serialNumber === null ? undefined : (serialNumber ?? 'V0000001')
}

/** Plug it into a bus (`virtualUsb([reader])`), insert a card, and take it for hardware. */
export class VirtualCcidReader extends PacketDevice {
  readonly profile: ReaderProfile
  readonly faults: FaultSchedule = new FaultSchedule()
  readonly counters: ReaderCounters = new ReaderCounters()
  /** Who types where the reader has keys (bPINSupport). Default: nobody, so that every entry runs out of time. */
  person: PersonAtPad = async () => 'timeout'
  /** Answers vendor commands (Escape); undefined: the reader does not know the command. Default: it knows none. */
  onEscape: (data: Uint8Array, slot: number) => Uint8Array | undefined = () => undefined
  readonly #told: ClassDescriptor
  /** The key that ended the latest entry is still down. */
  #isKeyDown = false
  /** The Escape came that PINs behind a bare header need. */
  #takesBareHeader = false
  #emvMode: FirmwareHabits['emvMode']
  readonly #clock: SimulatorClock
  readonly #slots: readonly ReaderSlot[]
  readonly #sendsEmptyPackets: boolean

  constructor(profile: ReaderProfile, options: VirtualReaderOptions = {}) {
    super(deviceParts(profile, [profile], serialNumberOf(options)))
    this.profile = profile
    this.#emvMode = profile.habits?.emvMode
    this.#clock = options.clock ?? realClock
    this.#sendsEmptyPackets = profile.emptyPackets ?? true
    this.#told = readClassDescriptor(profile)
    this.#slots = Array.from({ length: this.#told.slots }, () => new ReaderSlot())
  }

  /** Puts a card in; the card that is in comes out. `contact` tells how it behaves below APDUs, at TPDU and character level. */
  insert(card: VirtualCard, slot: number = 0, contact: ContactOptions = {}): void {
    const place = this.#slotAt(slot)
    place.powerOff()
    place.card = card
    place.options = contact
    place.contact =
      this.#told.level === 'tpdu' || this.#told.level === 'character'
        ? new ContactCard(card, contact, (commandBytes, responseBytes) =>
            this.counters.executed(commandBytes, responseBytes, place.transfersBefore),
          )
        : undefined
    if (this.isPlugged) this.#activateBySelf(place)
    this.#changed(place)
  }

  /** Cold, as the host's first IccPowerOn is; only where the reader powers cards itself. */
  #activateBySelf(place: ReaderSlot): void {
    if (place.card === undefined || !this.#told.activates) return
    place.powerSelect = 0
    place.activate()
  }

  /** Out and in again, quicker than anybody looks: no power, and mute to the first power-on. */
  reinsert(slot: number = 0): void {
    const place = this.#slotAt(slot)
    if (place.card === undefined) return
    place.powerOff()
    place.isWaking = true
    this.#changed(place)
  }

  /** Pulls the card: whatever it was working at is lost. */
  remove(slot: number = 0): void {
    const place = this.#slotAt(slot)
    if (place.card === undefined) return
    if (place.isLocked) throw new Error('The virtual reader holds the card: it was locked by Mechanical.')
    place.powerOff()
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

  #changed(place: ReaderSlot): void {
    place.isChanged = true
    const { working } = place
    // The card went from under a command: it is answered at once, and the card's late answer belongs to nobody.
    if (working !== undefined) {
      place.cutOff()
      this.#fail(working, place, CcidError.ICC_MUTE)
    }
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
      slot.powerOff()
      if (why !== 'unplug') this.#activateBySelf(slot)
      slot.isChanged = slot.card !== undefined
    }
    if (why !== 'unplug' && this.#slots.some((slot) => slot.isChanged)) this.#notify()
  }

  /** 5.3: ABORT, GET_CLOCK_FREQUENCIES, GET_DATA_RATES; the last two are optional. */
  protected classRequest(setup: ControlSetup): Uint8Array | 'stall' {
    if (setup.bmRequestType === 0xa1) {
      const { clockFrequenciesKHz, dataRatesBps } = this.profile
      const numbers = { 0x02: clockFrequenciesKHz, 0x03: dataRatesBps }[setup.bRequest]
      return numbers === undefined ? 'stall' : join(...numbers.map(uint32le))
    }
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
    const name = messageNames.get(bytes[0] as number) ?? 'unknown'
    const place = this.#slots[bytes[5] as number]
    // What a busy slot refuses is not struck: the fault waits for a message that is taken.
    const fault = place === undefined || place.isBusy ? undefined : this.faults.next(name)
    if (fault?.kind === 'stall-out') return 'stall'
    const command: Command = {
      name,
      slot: bytes[5] as number,
      sequence: bytes[6] as number,
      parameters: [bytes[7] as number, bytes[8] as number, bytes[9] as number],
      data: bytes.slice(HEADER_BYTES),
      transfersBefore: this.counters.arrived(name),
      fault,
    }
    if (place === undefined) this.#answer(command, answerTypeOf(name), FAILED | 2, CcidError.BAD_SLOT, 0)
    else if (readUint32le(bytes, 1) !== command.data.length || bytes.length > this.#told.maxMessageBytes)
      this.#fail(command, place, CcidError.BAD_LENGTH)
    else this.#take(command, place)
    return 'ok'
  }

  #take(command: Command, place: ReaderSlot): void {
    const { name, fault } = command
    if (name === 'Abort') {
      place.abortBySequence.bulk = command.sequence
      this.#tryAbort(command.slot, place)
      return
    }
    // 5.3.1: between the class request and the message nothing else is run.
    if (place.abortBySequence.control !== undefined) {
      this.#fail(command, place, CcidError.CMD_ABORTED)
      return
    }
    // 5.1: with so many slots at work the reader takes nothing for another one either.
    if (place.isBusy || this.#slots.filter((each) => each.isBusy).length >= this.#told.maxBusySlots) {
      this.#fail(command, place, CcidError.CMD_SLOT_BUSY)
      return
    }
    if (strikeBefore(fault, command, this)) return
    if (isSlow(fault)) void this.#runLater(command, place)
    else this.#run(command, place)
  }

  /** Time extensions and slow cards, by the clock. */
  async #runLater(command: Command, place: ReaderSlot): Promise<void> {
    const { fault } = command
    const { epoch } = place
    place.begin(command)
    const extend = (multiplier: number): boolean => {
      if (place.epoch !== epoch) return false
      const status = TIME_EXTENSION | place.status
      const wanted = encodeAnswer(command, answerTypeOf(command.name), status, multiplier, 0)
      this.inQueue(endpoints.bulkIn).sendMessage(wanted, this.#sendsEmptyPackets)
      return true
    }
    await strikeDelay(fault, (delayMs) => this.#wait(delayMs), extend)
    if (place.epoch !== epoch) return
    place.done()
    this.#run(command, place)
  }

  #wait(delayMs: number): Promise<void> {
    if (delayMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#clock.after(delayMs, resolve)
    })
  }

  #run(command: Command, place: ReaderSlot): void {
    const { fault } = command
    const error = refusalOf(fault)
    // What is damaged on its way back was executed, by a card that had something to execute.
    if (error !== undefined && !isStruckDuring(fault, command)) {
      this.#strikeLine(command, place, error)
      return
    }
    switch (command.name) {
      case 'IccPowerOn':
        this.#powerOn(command, place)
        return
      case 'IccPowerOff':
        place.cutOff()
        place.powerOff()
        place.wasPoweredOff = true
        this.faults.wasReset('power')
        this.#answer(command, SLOT_STATUS, place.status, 0, 0)
        return
      case 'GetSlotStatus':
        this.#answer(command, SLOT_STATUS, place.status, 0, place.clockStatus)
        return
      case 'IccClock':
      case 'SetDataRateAndClockFrequency':
      case 'Mechanical':
        this.#control(command, place)
        return
      case 'Escape':
        this.#escape(command, place)
        return
      case 'XfrBlock':
        this.#transfer(command, place)
        return
      case 'Secure':
        void this.#secure(command, place)
        return
      case 'GetParameters':
      case 'ResetParameters':
      case 'SetParameters':
        this.#parameters(command, place)
        return
      default:
        this.#fail(command, place, CcidError.COMMAND_NOT_SUPPORTED)
    }
  }

  #control(command: Command, place: ReaderSlot): void {
    const answer = control(command, place, this.#told.abilities, () => this.remove(command.slot))
    if ('error' in answer) this.#fail(command, place, answer.error)
    else this.#answer(command, answer.type, place.status, 0, answer.parameter, answer.data)
  }

  /** 6.1.8: the maker's own commands. */
  #escape(command: Command, place: ReaderSlot): void {
    const { escapes = [], pad = {} } = this.profile
    const hex = toHex(command.data)
    const endsEmv = this.#emvMode?.escape === hex
    if (endsEmv) this.#emvMode = undefined
    if (hex === pad.escapeBeforeBareHeader) this.#takesBareHeader = true
    const isKnown = endsEmv || escapes.some((begin) => hex.startsWith(begin))
    const answer = isKnown ? new Uint8Array(0) : this.onEscape(command.data, command.slot)
    if (answer === undefined) this.#fail(command, place, CcidError.COMMAND_NOT_SUPPORTED)
    else this.#answer(command, ESCAPE, place.status, 0, 0, answer)
  }

  /** The command fails by an error of the line or of the reader; a hardware error may be told beside it (6.3.2). */
  #strikeLine(command: Command, place: ReaderSlot, error: number): void {
    const told = this.profile.interrupt ? noticeOf(command.fault, command) : undefined
    if (told !== undefined) this.inQueue(endpoints.interruptIn).sendPacket(told.notice)
    if (told?.isAlone === true) return
    this.#fail(command, place, error)
  }

  #powerOn(command: Command, place: ReaderSlot): void {
    const { card, isWaking } = place
    const [powerSelect] = command.parameters
    const volts = voltages[powerSelect]
    const support = this.#told.voltageSupport
    // What the descriptor does not offer is a bad parameter; 0 is good for readers that find the voltage themselves.
    if (powerSelect > 3 || (support !== undefined && (support & (1 << (powerSelect - 1))) === 0)) {
      this.#fail(command, place, CcidError.BAD_POWER_SELECT)
      return
    }
    // Another voltage needs the power to be off before.
    if (place.isPowered && place.powerSelect !== powerSelect) place.powerOff()
    place.isWaking = false
    place.powerSelect = powerSelect
    const isDead =
      support !== undefined && volts !== undefined && !(place.options.volts?.includes(volts) ?? true)
    if (this.#emvMode !== undefined) {
      this.#fail(command, place, this.#emvMode.error)
      return
    }
    const isAsleep = this.profile.habits?.needsPowerOff === true && !place.wasPoweredOff
    if (card === undefined || isWaking || isDead || isAsleep) {
      place.powerOff()
      this.#fail(command, place, CcidError.ICC_MUTE)
      return
    }
    place.cutOff()
    const atr = place.activate()
    this.faults.wasReset('power')
    const arrived = strikeAtr(command.fault, atr)
    if (arrived === undefined) this.#fail(command, place, CcidError.BAD_ATR_TS)
    else this.#answer(command, DATA_BLOCK, place.status, 0, Chain.whole, arrived)
  }

  /** 6.1.5 to 6.1.7: at APDU level the reader negotiates; what a host sets is told back and changes nothing else. */
  #parameters(command: Command, place: ReaderSlot): void {
    if (place.status !== 0 || place.card === undefined) {
      this.#fail(command, place, CcidError.ICC_MUTE)
      return
    }
    if (command.name === 'ResetParameters') place.parameters = defaultParameters(place.card.atr)
    if (command.name === 'SetParameters') {
      const [protocol] = command.parameters
      if (protocol > 1) {
        this.#fail(command, place, CcidError.BAD_PROTOCOL)
        return
      }
      if (command.data.length !== (protocol === 0 ? 5 : 7)) {
        this.#fail(command, place, CcidError.BAD_LENGTH)
        return
      }
      place.parameters = command.data
      if (this.#told.negotiates) place.contact?.negotiated(protocol)
    }
    const message = encodeAnswer(command, PARAMETERS, place.status, 0, place.protocol, place.parameters)
    if (this.profile.habits?.hidesParameterLength === true) message[1] = 0
    this.#send(command, message)
  }

  #transfer(command: Command, place: ReaderSlot): void {
    // A card without a clock is mute.
    if (place.status !== 0 || place.card === undefined || place.clockStatus !== Clock.running) {
      this.#fail(command, place, CcidError.ICC_MUTE)
      return
    }
    const level = readUint16le(Uint8Array.from(command.parameters), 1)
    // Character level: how many bytes the host waits for.
    if (this.#told.level === 'character') {
      const isWrong = level === 0 || level > this.#told.maxMessageBytes - HEADER_BYTES
      if (isWrong) this.#fail(command, place, CcidError.BAD_LEVEL_PARAMETER)
      else void this.#execute(command, place, place.card, command.data, level)
      return
    }
    if (ReaderSlot.begins(level)) place.transfersBefore = command.transfersBefore
    const got =
      this.#told.level === 'extended'
        ? place.takeExtended(level, command.data)
        : this.#told.level === 'short'
          ? place.takeShort(level, command.data)
          : { apdu: command.data }
    if ('error' in got) {
      this.#fail(command, place, got.error)
      return
    }
    if ('apdu' in got) {
      void this.#execute(command, place, place.card, got.apdu)
      return
    }
    const { fault } = command
    const error = refusalOf(fault)
    if (isPulledAt(fault, 'during')) {
      if (!strikeAway(fault, command.slot, this)) this.#fail(command, place, CcidError.ICC_MUTE)
    } else if (error !== undefined) this.#strikeLine(command, place, error)
    else if ('responseRest' in got) this.#answerPart(command, place, got.responseRest, false)
    else
      this.#answer(
        command,
        DATA_BLOCK,
        place.status,
        0,
        Chain.expectsMore,
        strikeResponse(fault, new Uint8Array(0)),
      )
  }

  async #execute(
    command: Command,
    place: ReaderSlot,
    card: VirtualCard,
    apdu: Uint8Array,
    expected?: number,
  ): Promise<void> {
    const { fault } = command
    const { epoch, transfersBefore } = place
    place.begin(command)
    // The host's OUT transfer is over before the card begins: an unplugging while it works does not fail it.
    await Promise.resolve()
    if (place.epoch !== epoch) return
    const { contact } = place
    const response =
      contact === undefined
        ? await card.process(apdu)
        : expected === undefined
          ? await contact.exchange(apdu, place.protocol)
          : await contact.characters(apdu, expected, place.protocol)
    if (contact === undefined) this.counters.executed(apdu.length, response.length, transfersBefore)
    // Aborted, reset, pulled or unplugged while the card worked: the answer belongs to nobody.
    if (place.epoch !== epoch) return
    if (isPulledAt(fault, 'during')) {
      strikeAway(fault, command.slot, this)
      return
    }
    place.done()
    const error = refusalOf(fault, 'during')
    if (error !== undefined) this.#strikeLine(command, place, error)
    else if (response === 'mute') this.#fail(command, place, CcidError.ICC_MUTE)
    else if (this.#told.level === 'short' && response.length > MAX_SHORT_RESPONSE_BYTES)
      this.#fail(command, place, CcidError.XFR_OVERRUN)
    else this.#answerPart(command, place, response, true)
  }

  /** 6.1.11: the person types, and the reader sends the command that it completed. */
  async #secure(command: Command, place: ReaderSlot): Promise<void> {
    const { card, contact } = place
    const { pad = {} } = this.profile
    if (pad.unknown?.includes(command.data[0] === 1 ? 'modify' : 'verify')) {
      this.#answer(command, SLOT_STATUS, FAILED | place.status, CcidError.COMMAND_NOT_SUPPORTED, 0)
      return
    }
    const needed = command.data[0] === 1 ? 2 : 1
    if ((this.#told.pinSupport & needed) === 0 || this.#isKeyDown) {
      this.#fail(command, place, CcidError.COMMAND_NOT_SUPPORTED)
      return
    }
    if (place.status !== 0 || card === undefined) {
      this.#fail(command, place, CcidError.ICC_MUTE)
      return
    }
    const message = readSecure(command.data, pad)
    if (typeof message === 'number') {
      this.#fail(command, place, message)
      return
    }
    if (pad.escapeBeforeBareHeader !== undefined && message.blockBytes === 0 && !this.#takesBareHeader) {
      this.#fail(command, place, CcidError.COMMAND_NOT_SUPPORTED)
      return
    }
    this.#takesBareHeader = false
    const { epoch } = place
    place.begin(command)
    place.transfersBefore = command.transfersBefore
    const typed = await takePins(message, this.person)
    if (place.epoch !== epoch) return
    if (typeof typed === 'string') {
      place.done()
      this.#fail(command, place, entryErrors[typed])
      return
    }
    if (pad.keyReleaseMs !== undefined) {
      this.#isKeyDown = true
      this.#clock.after(pad.keyReleaseMs, () => {
        this.#isKeyDown = false
      })
    }
    const isBlock = contact !== undefined && place.protocol === 1
    const bytes = isBlock ? blockOf(message.prologue, typed.command) : typed.command
    const response =
      contact === undefined ? await card.process(bytes) : await contact.exchange(bytes, place.protocol)
    if (contact === undefined && response !== 'mute')
      this.counters.executed(bytes.length, response.length, command.transfersBefore)
    if (place.epoch !== epoch) return
    place.done()
    if (response === 'mute') this.#fail(command, place, CcidError.ICC_MUTE)
    else this.#answer(command, DATA_BLOCK, place.status, 0, 0, response)
  }

  /** As much of a response as a message holds; the rest waits for the host's empty block. */
  #answerPart(command: Command, place: ReaderSlot, whole: Uint8Array, isFirst: boolean): void {
    const rest = strikeResponse(command.fault, whole)
    const { answerPartBytes = Number.POSITIVE_INFINITY } = this.profile.habits ?? {}
    const room = Math.min(this.#told.maxMessageBytes - HEADER_BYTES, answerPartBytes)
    const isLast = rest.length <= room
    place.responseRest = isLast ? undefined : rest.slice(room)
    const chain = isFirst ? (isLast ? Chain.whole : Chain.begins) : isLast ? Chain.ends : Chain.continues
    const message = encodeAnswer(command, DATA_BLOCK, place.status, 0, chain, rest.slice(0, room))
    this.#send(command, message, () => this.counters.answerTaken())
  }

  #answer(
    command: Command,
    type: number,
    status: number,
    error: number,
    parameter: number,
    data?: Uint8Array,
  ): void {
    this.#send(command, encodeAnswer(command, type, status, error, parameter, data))
  }

  #fail(command: Command, place: ReaderSlot, error: number): void {
    this.#answer(command, answerTypeOf(command.name), FAILED | place.status, error, 0)
  }

  /** Sends the answer, spoiled as the command's fault has it. */
  #send(command: Command, message: Uint8Array, taken?: () => void): void {
    const { fault } = command
    if (fault?.kind === 'silent-reader') {
      const place = this.#slots[command.slot]
      if (place !== undefined) place.isBusy = true
      return
    }
    deliver(fault, command, message, this.inQueue(endpoints.bulkIn), this.#sendsEmptyPackets, () => {
      taken?.()
      if (isPulledAt(fault, 'after')) strikeAway(fault, command.slot, this)
    })
  }

  /** 5.3.1: the class request and the message have both come, with the same sequence number. */
  #tryAbort(slot: number, place: ReaderSlot): void {
    const { control, bulk } = place.abortBySequence
    if (bulk === undefined || control !== bulk) return
    place.cutOff()
    const answer = encodeAnswer({ slot, sequence: bulk }, SLOT_STATUS, place.status, 0, 0)
    this.inQueue(endpoints.bulkIn).sendMessage(answer, this.#sendsEmptyPackets)
  }
}
