/** A virtual CCID reader at APDU, TPDU or character level, with injected faults (CCID 1.1, 5 and 6). */
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
  appliesDuring,
  hardwareNotificationOf,
  errorOf,
  applyToAtr,
  applyRemoval,
  applyBefore,
  applyDelay,
  applyToResponse,
} from './faults.ts'
import {
  responseTypeOf,
  CcidError,
  Chain,
  DATA_BLOCK,
  encodeResponse,
  encodeSlotChange,
  ESCAPE,
  FAILED,
  HEADER_BYTES,
  messageNames,
  PARAMETERS,
  SLOT_STATUS,
  TIME_EXTENSION,
} from './messages.ts'
import { blockOf, entryErrors, type PinPadPerson, readSecure, takePins } from './pin-entry.ts'
import { deviceParts, endpoints } from './profiles.ts'
import { serialNumberOf, type VirtualReaderOptions } from './reader-options.ts'
import type { FirmwareHabits, ReaderProfile } from './reader-profile.ts'
import { Clock, type Command, defaultParameters, ReaderSlot } from './reader-slot.ts'

/** The longest response at short APDU level: 256 bytes and a status word. */
const MAX_SHORT_RESPONSE_BYTES = 258

/**
 * A virtual USB CCID reader. It behaves like the device whose descriptors its profile holds.
 *
 * ```ts
 * const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
 * reader.insert(createPivCard())
 * const usb = virtualUsb([reader]) // use it in place of navigator.usb
 * ```
 */
export class VirtualCcidReader extends PacketDevice {
  readonly profile: ReaderProfile
  readonly faults: FaultSchedule = new FaultSchedule()
  readonly counters: ReaderCounters = new ReaderCounters()
  /** Simulates the person at the PIN pad of a reader that has one (bPINSupport). Default: every entry times out. */
  person: PinPadPerson = async () => 'timeout'
  /**
   * Returns the response to a vendor command (Escape), or undefined if the reader does not support it. Default: no
   * command is supported.
   */
  onEscape: (data: Uint8Array, slot: number) => Uint8Array | undefined = () => undefined
  readonly #descriptor: ClassDescriptor
  /** True while the key that ended the last PIN entry is still pressed. */
  #isKeyDown = false
  /** True after the Escape that must precede a PIN entry with a command of only four bytes. */
  #acceptsBareHeader = false
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
    this.#descriptor = readClassDescriptor(profile)
    this.#slots = Array.from({ length: this.#descriptor.slots }, () => new ReaderSlot())
  }

  /**
   * Inserts a card and replaces the one in the slot, if any. `contact` states how the card behaves below the APDU
   * level, for readers at TPDU and character level. Throws RangeError if the reader has no such slot.
   */
  insert(card: VirtualCard, slot: number = 0, contact: ContactOptions = {}): void {
    const readerSlot = this.#slotAt(slot)
    readerSlot.powerOff()
    readerSlot.card = card
    readerSlot.options = contact
    readerSlot.contact =
      this.#descriptor.level === 'tpdu' || this.#descriptor.level === 'character'
        ? new ContactCard(card, contact, (commandBytes, responseBytes) =>
            this.counters.commandExecuted(commandBytes, responseBytes, readerSlot.transfersBefore),
          )
        : undefined
    if (this.isPlugged) this.#activateOnInsertion(readerSlot)
    this.#slotChanged(readerSlot)
  }

  /** Powers on an inserted card with a cold reset, if the reader activates cards by itself. */
  #activateOnInsertion(readerSlot: ReaderSlot): void {
    if (readerSlot.card === undefined || !this.#descriptor.activates) return
    readerSlot.powerSelect = 0
    readerSlot.activate()
  }

  /**
   * Removes the card and inserts it again, faster than the host can notice. The card has no power, and is mute at the
   * first power-on.
   */
  reinsert(slot: number = 0): void {
    const readerSlot = this.#slotAt(slot)
    if (readerSlot.card === undefined) return
    readerSlot.powerOff()
    readerSlot.isMuteAtPowerOn = true
    this.#slotChanged(readerSlot)
  }

  /** Removes the card. A running command fails. Throws Error if the card is locked by the Mechanical command. */
  remove(slot: number = 0): void {
    const readerSlot = this.#slotAt(slot)
    if (readerSlot.card === undefined) return
    if (readerSlot.isLocked)
      throw new Error('The card cannot be removed: a Mechanical command has locked it. Unlock it first.')
    readerSlot.powerOff()
    readerSlot.card = undefined
    this.#slotChanged(readerSlot)
  }

  /** Returns the card in a slot, or undefined if it is empty. */
  cardIn(slot: number = 0): VirtualCard | undefined {
    return this.#slotAt(slot).card
  }

  #slotAt(slot: number): ReaderSlot {
    const readerSlot = this.#slots[slot]
    if (readerSlot === undefined) throw new RangeError(`The virtual reader has no slot ${slot}.`)
    return readerSlot
  }

  #slotChanged(readerSlot: ReaderSlot): void {
    readerSlot.isChanged = true
    const { runningCommand } = readerSlot
    // The card was removed while it executed a command. The command fails at once, and the card's late response is
    // discarded.
    if (runningCommand !== undefined) {
      readerSlot.abort()
      this.#fail(runningCommand, readerSlot, CcidError.ICC_MUTE)
    }
    this.#notify()
  }

  /** Sends NotifySlotChange. It replaces a notification that the host has not fetched yet. */
  #notify(): void {
    if (!this.profile.interrupt || !this.isPlugged) return
    const queue = this.inQueue(endpoints.interruptIn)
    queue.dropPackets()
    queue.sendPacket(encodeSlotChange(this.#slots))
  }

  protected override inCompleted(endpoint: number, result: InResult): void {
    if (endpoint === endpoints.bulkIn) this.counters.transferCompleted()
    if (endpoint === endpoints.interruptIn && result.data.length > 0) {
      for (const slot of this.#slots) slot.isChanged = false
    }
  }

  protected wasReset(why: 'bus' | 'configuration' | 'plug' | 'unplug'): void {
    if (why !== 'configuration') this.faults.wasReset()
    for (const slot of this.#slots) {
      slot.abort()
      slot.powerOff()
      if (why !== 'unplug') this.#activateOnInsertion(slot)
      slot.isChanged = slot.card !== undefined
    }
    if (why !== 'unplug' && this.#slots.some((slot) => slot.isChanged)) this.#notify()
  }

  /** Handles ABORT and the optional GET_CLOCK_FREQUENCIES and GET_DATA_RATES (5.3). */
  protected classRequest(setup: ControlSetup): Uint8Array | 'stall' {
    if (setup.bmRequestType === 0xa1) {
      const { clockFrequenciesKHz, dataRatesBps } = this.profile
      const numbers = { 0x02: clockFrequenciesKHz, 0x03: dataRatesBps }[setup.bRequest]
      return numbers === undefined ? 'stall' : join(...numbers.map(uint32le))
    }
    if (setup.bmRequestType !== 0x21 || setup.bRequest !== 0x01) return 'stall'
    const readerSlot = this.#slots[setup.wValue & 0xff]
    if (readerSlot === undefined) return 'stall'
    readerSlot.abortBySequence.control = setup.wValue >>> 8
    this.#tryAbort(setup.wValue & 0xff, readerSlot)
    return new Uint8Array(0)
  }

  protected outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (endpoint !== endpoints.bulkOut) return 'stall'
    // A message without a complete header has no slot and no sequence number for a response.
    if (bytes.length < HEADER_BYTES) return 'stall'
    const name = messageNames.get(bytes[0] as number) ?? 'unknown'
    const readerSlot = this.#slots[bytes[5] as number]
    // A message that a busy slot rejects does not trigger a fault. The fault applies to the next accepted message.
    const fault = readerSlot === undefined || readerSlot.isBusy ? undefined : this.faults.next(name)
    if (fault?.kind === 'stall-out') return 'stall'
    const command: Command = {
      name,
      slot: bytes[5] as number,
      sequence: bytes[6] as number,
      parameters: [bytes[7] as number, bytes[8] as number, bytes[9] as number],
      data: bytes.slice(HEADER_BYTES),
      transfersBefore: this.counters.messageReceived(name),
      fault,
    }
    if (readerSlot === undefined)
      this.#respond(command, responseTypeOf(name), FAILED | 2, CcidError.BAD_SLOT, 0)
    else if (
      readUint32le(bytes, 1) !== command.data.length ||
      bytes.length > this.#descriptor.maxMessageBytes
    )
      this.#fail(command, readerSlot, CcidError.BAD_LENGTH)
    else this.#accept(command, readerSlot)
    return 'ok'
  }

  #accept(command: Command, readerSlot: ReaderSlot): void {
    const { name, fault } = command
    if (name === 'Abort') {
      readerSlot.abortBySequence.bulk = command.sequence
      this.#tryAbort(command.slot, readerSlot)
      return
    }
    // 5.3.1: between the ABORT class request and the Abort message, the slot executes nothing else.
    if (readerSlot.abortBySequence.control !== undefined) {
      this.#fail(command, readerSlot, CcidError.CMD_ABORTED)
      return
    }
    // 5.1: bMaxCCIDBusySlots limits the number of busy slots, so other slots are rejected too.
    if (
      readerSlot.isBusy ||
      this.#slots.filter((each) => each.isBusy).length >= this.#descriptor.maxBusySlots
    ) {
      this.#fail(command, readerSlot, CcidError.CMD_SLOT_BUSY)
      return
    }
    if (applyBefore(fault, command, this)) return
    if (isSlow(fault)) void this.#runLater(command, readerSlot)
    else this.#run(command, readerSlot)
  }

  /** Runs a command after the time extensions or the delay of a slow card. */
  async #runLater(command: Command, readerSlot: ReaderSlot): Promise<void> {
    const { fault } = command
    const { epoch } = readerSlot
    readerSlot.markBusy(command)
    const extend = (multiplier: number): boolean => {
      if (readerSlot.epoch !== epoch) return false
      const status = TIME_EXTENSION | readerSlot.status
      const message = encodeResponse(command, responseTypeOf(command.name), status, multiplier, 0)
      this.inQueue(endpoints.bulkIn).sendMessage(message, this.#sendsEmptyPackets)
      return true
    }
    await applyDelay(fault, (delayMs) => this.#wait(delayMs), extend)
    if (readerSlot.epoch !== epoch) return
    readerSlot.markIdle()
    this.#run(command, readerSlot)
  }

  #wait(delayMs: number): Promise<void> {
    if (delayMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#clock.after(delayMs, resolve)
    })
  }

  #run(command: Command, readerSlot: ReaderSlot): void {
    const { fault } = command
    const error = errorOf(fault)
    // With a fault during the response, the card still executes the command.
    if (error !== undefined && !appliesDuring(fault, command)) {
      this.#failByFault(command, readerSlot, error)
      return
    }
    switch (command.name) {
      case 'IccPowerOn':
        this.#powerOn(command, readerSlot)
        return
      case 'IccPowerOff':
        readerSlot.abort()
        readerSlot.powerOff()
        readerSlot.wasPoweredOff = true
        this.faults.wasReset('power')
        this.#respond(command, SLOT_STATUS, readerSlot.status, 0, 0)
        return
      case 'GetSlotStatus':
        this.#respond(command, SLOT_STATUS, readerSlot.status, 0, readerSlot.clockStatus)
        return
      case 'IccClock':
      case 'SetDataRateAndClockFrequency':
      case 'Mechanical':
        this.#control(command, readerSlot)
        return
      case 'Escape':
        this.#escape(command, readerSlot)
        return
      case 'XfrBlock':
        this.#transfer(command, readerSlot)
        return
      case 'Secure':
        void this.#secure(command, readerSlot)
        return
      case 'GetParameters':
      case 'ResetParameters':
      case 'SetParameters':
        this.#parameters(command, readerSlot)
        return
      default:
        this.#fail(command, readerSlot, CcidError.COMMAND_NOT_SUPPORTED)
    }
  }

  #control(command: Command, readerSlot: ReaderSlot): void {
    const result = control(command, readerSlot, this.#descriptor.abilities, () => this.remove(command.slot))
    if ('error' in result) this.#fail(command, readerSlot, result.error)
    else this.#respond(command, result.type, readerSlot.status, 0, result.parameter, result.data)
  }

  /** Handles the vendor's commands (6.1.8). */
  #escape(command: Command, readerSlot: ReaderSlot): void {
    const { escapes = [], pad = {} } = this.profile
    const hex = toHex(command.data)
    const endsEmv = this.#emvMode?.escape === hex
    if (endsEmv) this.#emvMode = undefined
    if (hex === pad.escapeBeforeBareHeader) this.#acceptsBareHeader = true
    const isKnown = endsEmv || escapes.some((begin) => hex.startsWith(begin))
    const data = isKnown ? new Uint8Array(0) : this.onEscape(command.data, command.slot)
    if (data === undefined) this.#fail(command, readerSlot, CcidError.COMMAND_NOT_SUPPORTED)
    else this.#respond(command, ESCAPE, readerSlot.status, 0, 0, data)
  }

  /** Fails a command with a transmission or hardware error. A fault can add a HardwareError notification (6.3.2). */
  #failByFault(command: Command, readerSlot: ReaderSlot, error: number): void {
    const notification = this.profile.interrupt ? hardwareNotificationOf(command.fault, command) : undefined
    if (notification !== undefined) this.inQueue(endpoints.interruptIn).sendPacket(notification.notice)
    if (notification?.isAlone === true) return
    this.#fail(command, readerSlot, error)
  }

  #powerOn(command: Command, readerSlot: ReaderSlot): void {
    const { card, isMuteAtPowerOn } = readerSlot
    const [powerSelect] = command.parameters
    const volts = voltages[powerSelect]
    const support = this.#descriptor.voltageSupport
    // A voltage that the descriptor does not offer is a bad parameter. 0 is valid only if the reader selects the
    // voltage itself.
    if (powerSelect > 3 || (support !== undefined && (support & (1 << (powerSelect - 1))) === 0)) {
      this.#fail(command, readerSlot, CcidError.BAD_POWER_SELECT)
      return
    }
    // The card must be off before the voltage changes.
    if (readerSlot.isPowered && readerSlot.powerSelect !== powerSelect) readerSlot.powerOff()
    readerSlot.isMuteAtPowerOn = false
    readerSlot.powerSelect = powerSelect
    const isWrongVoltage =
      support !== undefined && volts !== undefined && !(readerSlot.options.volts?.includes(volts) ?? true)
    if (this.#emvMode !== undefined) {
      this.#fail(command, readerSlot, this.#emvMode.error)
      return
    }
    const needsPowerOff = this.profile.habits?.needsPowerOff === true && !readerSlot.wasPoweredOff
    if (card === undefined || isMuteAtPowerOn || isWrongVoltage || needsPowerOff) {
      readerSlot.powerOff()
      this.#fail(command, readerSlot, CcidError.ICC_MUTE)
      return
    }
    readerSlot.abort()
    const atr = readerSlot.activate()
    this.faults.wasReset('power')
    const receivedAtr = applyToAtr(command.fault, atr)
    if (receivedAtr === undefined) this.#fail(command, readerSlot, CcidError.BAD_ATR_TS)
    else this.#respond(command, DATA_BLOCK, readerSlot.status, 0, Chain.whole, receivedAtr)
  }

  /**
   * Handles the parameter commands (6.1.5 to 6.1.7). At APDU level the reader negotiates itself, so parameters that the
   * host sets are only returned.
   */
  #parameters(command: Command, readerSlot: ReaderSlot): void {
    if (readerSlot.status !== 0 || readerSlot.card === undefined) {
      this.#fail(command, readerSlot, CcidError.ICC_MUTE)
      return
    }
    if (command.name === 'ResetParameters') readerSlot.parameters = defaultParameters(readerSlot.card.atr)
    if (command.name === 'SetParameters') {
      const error = readerSlot.setParameters(command, this.#descriptor.negotiates)
      if (error !== undefined) {
        this.#fail(command, readerSlot, error)
        return
      }
    }
    const { status, protocol, parameters } = readerSlot
    const message = encodeResponse(command, PARAMETERS, status, 0, protocol, parameters)
    if (this.profile.habits?.hidesParameterLength === true) message[1] = 0
    this.#send(command, message)
  }

  #transfer(command: Command, readerSlot: ReaderSlot): void {
    // A card whose clock is stopped is mute.
    if (
      readerSlot.status !== 0 ||
      readerSlot.card === undefined ||
      readerSlot.clockStatus !== Clock.running
    ) {
      this.#fail(command, readerSlot, CcidError.ICC_MUTE)
      return
    }
    const level = readUint16le(Uint8Array.from(command.parameters), 1)
    // At character level, wLevelParameter is the number of bytes that the host waits for.
    if (this.#descriptor.level === 'character') {
      const isWrong = level === 0 || level > this.#descriptor.maxMessageBytes - HEADER_BYTES
      if (isWrong) this.#fail(command, readerSlot, CcidError.BAD_LEVEL_PARAMETER)
      else void this.#execute(command, readerSlot, readerSlot.card, command.data, level)
      return
    }
    if (ReaderSlot.isFirstBlock(level)) readerSlot.transfersBefore = command.transfersBefore
    const collected =
      this.#descriptor.level === 'extended'
        ? readerSlot.collectExtended(level, command.data)
        : this.#descriptor.level === 'short'
          ? readerSlot.collectShort(level, command.data)
          : { apdu: command.data }
    if ('error' in collected) {
      this.#fail(command, readerSlot, collected.error)
      return
    }
    if ('apdu' in collected) {
      void this.#execute(command, readerSlot, readerSlot.card, collected.apdu)
      return
    }
    const { fault } = command
    const error = errorOf(fault)
    if (isPulledAt(fault, 'during')) {
      if (!applyRemoval(fault, command.slot, this)) this.#fail(command, readerSlot, CcidError.ICC_MUTE)
    } else if (error !== undefined) this.#failByFault(command, readerSlot, error)
    else if ('responseRest' in collected)
      this.#respondPart(command, readerSlot, collected.responseRest, false)
    else
      this.#respond(
        command,
        DATA_BLOCK,
        readerSlot.status,
        0,
        Chain.expectsMore,
        applyToResponse(fault, new Uint8Array(0)),
      )
  }

  async #execute(
    command: Command,
    readerSlot: ReaderSlot,
    card: VirtualCard,
    apdu: Uint8Array,
    expected?: number,
  ): Promise<void> {
    const { fault } = command
    const { epoch, transfersBefore } = readerSlot
    readerSlot.markBusy(command)
    // The host's OUT transfer completes before the card starts, so unplugging the reader during the command does not
    // fail it.
    await Promise.resolve()
    if (readerSlot.epoch !== epoch) return
    const { contact } = readerSlot
    const response =
      contact === undefined
        ? await card.process(apdu)
        : expected === undefined
          ? await contact.exchange(apdu, readerSlot.protocol)
          : await contact.characters(apdu, expected, readerSlot.protocol)
    if (contact === undefined) this.counters.commandExecuted(apdu.length, response.length, transfersBefore)
    // The command was aborted, or the card reset or removed, during execution, so the response is discarded.
    if (readerSlot.epoch !== epoch) return
    if (isPulledAt(fault, 'during')) {
      applyRemoval(fault, command.slot, this)
      return
    }
    readerSlot.markIdle()
    const error = errorOf(fault, 'during')
    if (error !== undefined) this.#failByFault(command, readerSlot, error)
    else if (response === 'mute') this.#fail(command, readerSlot, CcidError.ICC_MUTE)
    else if (this.#descriptor.level === 'short' && response.length > MAX_SHORT_RESPONSE_BYTES)
      this.#fail(command, readerSlot, CcidError.XFR_OVERRUN)
    else this.#respondPart(command, readerSlot, response, true)
  }

  /**
   * Handles Secure (6.1.11): the person enters the PIN, and the reader inserts it into the command and sends it to the
   * card.
   */
  async #secure(command: Command, readerSlot: ReaderSlot): Promise<void> {
    const { card, contact } = readerSlot
    const { pad = {} } = this.profile
    if (pad.unknown?.includes(command.data[0] === 1 ? 'modify' : 'verify')) {
      this.#respond(command, SLOT_STATUS, FAILED | readerSlot.status, CcidError.COMMAND_NOT_SUPPORTED, 0)
      return
    }
    const message = readSecure(command.data, pad, {
      pinSupport: this.#isKeyDown ? 0 : this.#descriptor.pinSupport,
      hasCard: readerSlot.status === 0 && card !== undefined,
      acceptsBareHeader: this.#acceptsBareHeader,
    })
    if (typeof message === 'number' || card === undefined) {
      this.#fail(command, readerSlot, message as number)
      return
    }
    this.#acceptsBareHeader = false
    const { epoch } = readerSlot
    readerSlot.markBusy(command)
    readerSlot.transfersBefore = command.transfersBefore
    const typed = await takePins(message, this.person)
    if (readerSlot.epoch !== epoch) return
    if (typeof typed === 'string') {
      readerSlot.markIdle()
      this.#fail(command, readerSlot, entryErrors[typed])
      return
    }
    if (pad.keyReleaseMs !== undefined) {
      this.#isKeyDown = true
      this.#clock.after(pad.keyReleaseMs, () => {
        this.#isKeyDown = false
      })
    }
    const isBlock = contact !== undefined && readerSlot.protocol === 1
    const bytes = isBlock ? blockOf(message.prologue, typed.command) : typed.command
    const response =
      contact === undefined ? await card.process(bytes) : await contact.exchange(bytes, readerSlot.protocol)
    if (contact === undefined && response !== 'mute')
      this.counters.commandExecuted(bytes.length, response.length, command.transfersBefore)
    if (readerSlot.epoch !== epoch) return
    readerSlot.markIdle()
    if (response === 'mute') this.#fail(command, readerSlot, CcidError.ICC_MUTE)
    else this.#respond(command, DATA_BLOCK, readerSlot.status, 0, 0, response)
  }

  /** Sends the part of a response that fits in one message. The host fetches the rest with an empty block. */
  #respondPart(command: Command, readerSlot: ReaderSlot, whole: Uint8Array, isFirst: boolean): void {
    const rest = applyToResponse(command.fault, whole)
    const { responsePartBytes = Number.POSITIVE_INFINITY } = this.profile.habits ?? {}
    const capacity = Math.min(this.#descriptor.maxMessageBytes - HEADER_BYTES, responsePartBytes)
    const isLast = rest.length <= capacity
    readerSlot.responseRest = isLast ? undefined : rest.slice(capacity)
    const chain = isFirst ? (isLast ? Chain.whole : Chain.begins) : isLast ? Chain.ends : Chain.continues
    const message = encodeResponse(command, DATA_BLOCK, readerSlot.status, 0, chain, rest.slice(0, capacity))
    this.#send(command, message, () => this.counters.responseReceived())
  }

  #respond(
    command: Command,
    type: number,
    status: number,
    error: number,
    parameter: number,
    data?: Uint8Array,
  ): void {
    this.#send(command, encodeResponse(command, type, status, error, parameter, data))
  }

  #fail(command: Command, readerSlot: ReaderSlot, error: number): void {
    this.#respond(command, responseTypeOf(command.name), FAILED | readerSlot.status, error, 0)
  }

  /** Sends a response, with the fault of the command applied to it. */
  #send(command: Command, message: Uint8Array, delivered?: () => void): void {
    const { fault } = command
    if (fault?.kind === 'silent-reader') {
      const readerSlot = this.#slots[command.slot]
      if (readerSlot !== undefined) readerSlot.isBusy = true
      return
    }
    deliver(fault, command, message, this.inQueue(endpoints.bulkIn), this.#sendsEmptyPackets, () => {
      delivered?.()
      if (isPulledAt(fault, 'after')) applyRemoval(fault, command.slot, this)
    })
  }

  /** Completes an abort once the class request and the message have arrived with the same sequence number (5.3.1). */
  #tryAbort(slot: number, readerSlot: ReaderSlot): void {
    const { control, bulk } = readerSlot.abortBySequence
    if (bulk === undefined || control !== bulk) return
    readerSlot.abort()
    const response = encodeResponse({ slot, sequence: bulk }, SLOT_STATUS, readerSlot.status, 0, 0)
    this.inQueue(endpoints.bulkIn).sendMessage(response, this.#sendsEmptyPackets)
  }
}
