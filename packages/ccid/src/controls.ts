/** What can be asked of a reader itself, beside its card's APDUs (CCID 1.1, 5.3 and 6.1), and what it says of itself (PC/SC part 10). */
import {
  type CardSlot,
  dataViewOf,
  MalformedError,
  NotSupportedError,
  ReaderRefusedError,
  type TransmitOptions,
} from '@webtoki/apdu'
import { readClockFrequencies, readDataRates } from './class-requests.ts'
import { CcidFeature } from './ccid-feature.ts'
import { featuresOf, type ReaderFeatures } from './features.ts'
import { type Answer, CcidError, encode, encodeEscape, RdrToPc, READER_TIMEOUT_MS } from './messages.ts'
import {
  decodeParameters,
  encodeGetParameters,
  encodeResetParameters,
  encodeSetParameters,
  type ProtocolParameters,
} from './protocol-parameters.ts'
import { CcidSlot } from './slot.ts'

export { Feature, type PinProperties, type ReaderFeatures, type TlvProperties } from './features.ts'
export type { ProtocolParameters } from './protocol-parameters.ts'

/** bMessageType of what only a control asks (CCID 1.1, 6.1.9, 6.1.12, 6.1.14), and of the answer to the last. */
const ICC_CLOCK = 0x6e
const MECHANICAL = 0x71
const SET_DATA_RATE_AND_CLOCK = 0x73
const DATA_RATE_AND_CLOCK = 0x84

/** What the card's clock does (bClockStatus, CCID 1.1, 6.2.2). */
export type ClockState = 'running' | 'stopped-low' | 'stopped-high' | 'stopped'
const clockStates = ['running', 'stopped-low', 'stopped-high', 'stopped'] as const

/** bFunction of Mechanical (CCID 1.1, 6.1.12). */
export type MechanicalFunction = 'accept' | 'eject' | 'capture' | 'lock' | 'unlock'
/** bFunction, and the bit of dwMechanical that a reader has for it. */
const mechanics: Readonly<Record<MechanicalFunction, readonly [code: number, bit: number]>> = {
  accept: [1, 1],
  eject: [2, 2],
  capture: [3, 4],
  lock: [4, 8],
  unlock: [5, 8],
}

/** A card's clock and the speed on its line. */
export interface DataRateAndClock {
  readonly clockKHz: number
  readonly dataRateBps: number
}

/**
 * What can be asked of one slot's reader. Everything rejects with NotSupportedError where the descriptor says that the
 * reader has it not, before a byte leaves, or where the reader says so itself; ReaderRefusedError tells other refusals.
 * While a connection is open, what may touch its card waits for the card's lock, like any transaction: it must not be
 * waited for inside one. The next owner finds `undisturbed` false.
 */
export interface ReaderControls {
  /** Features and properties as PC/SC part 10 names them; nothing is asked of the reader. */
  readonly features: ReaderFeatures
  /** A command in the maker's own language. */
  escape(data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  /** Protocol and parameters in force. Harmless: it waits for no lock. */
  getParameters(options?: TransmitOptions): Promise<ProtocolParameters>
  /** Back to the parameters that the reader begins with. */
  resetParameters(options?: TransmitOptions): Promise<ProtocolParameters>
  /** The driver sets them at each activation; a caller who changes them answers for the card's understanding. */
  setParameters(parameters: ProtocolParameters, options?: TransmitOptions): Promise<ProtocolParameters>
  /** Stops the card's clock in the state that bClockStop of the parameters names, or starts it again. */
  iccClock(command: 'stop' | 'restart', options?: TransmitOptions): Promise<ClockState>
  /** Resolves to what the reader has set. */
  setDataRateAndClockFrequency(wanted: DataRateAndClock, options?: TransmitOptions): Promise<DataRateAndClock>
  mechanical(command: MechanicalFunction, options?: TransmitOptions): Promise<void>
  /** GET_CLOCK_FREQUENCIES, in kHz. */
  clockFrequenciesKHz(): Promise<readonly number[]>
  /** GET_DATA_RATES, in bits a second. */
  dataRatesBps(): Promise<readonly number[]>
}

/** For a slot that `ccidSlots` made; throws NotSupportedError for any other. */
export function readerControls(slot: CardSlot): ReaderControls {
  if (!(slot instanceof CcidSlot))
    throw new NotSupportedError('The slot is none of a CCID reader of this driver.')
  return new Controls(slot)
}

class Controls implements ReaderControls {
  readonly #slot: CcidSlot

  constructor(slot: CcidSlot) {
    this.#slot = slot
  }

  get features(): ReaderFeatures {
    const { pinSupport, reader } = this.#slot
    const { device, usbInterface: face } = reader.origin
    return featuresOf(device, { ...reader.descriptor, pinSupport }, face.quirk.pad)
  }

  async escape(data: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    const message = encodeEscape({ slot: this.#slot.number, data })
    return (await this.#ask(message, RdrToPc.escape, 'Escape', options)).data.slice()
  }

  async getParameters(options: TransmitOptions = {}): Promise<ProtocolParameters> {
    const { reader, number } = this.#slot
    await reader.ready()
    const message = encodeGetParameters({ slot: number })
    return parametersOf(
      await reader
        .ask(message, RdrToPc.parameters, 'GetParameters', options, READER_TIMEOUT_MS)
        .catch(notKnown),
    )
  }

  async resetParameters(options: TransmitOptions = {}): Promise<ProtocolParameters> {
    const message = encodeResetParameters({ slot: this.#slot.number })
    return parametersOf(await this.#ask(message, RdrToPc.parameters, 'ResetParameters', options))
  }

  async setParameters(
    wanted: ProtocolParameters,
    options: TransmitOptions = {},
  ): Promise<ProtocolParameters> {
    const message = encodeSetParameters({ slot: this.#slot.number, ...wanted })
    return parametersOf(await this.#ask(message, RdrToPc.parameters, 'SetParameters', options))
  }

  async iccClock(command: 'stop' | 'restart', options: TransmitOptions = {}): Promise<ClockState> {
    if ((this.#slot.reader.descriptor.features & CcidFeature.clockStop) === 0)
      throw new NotSupportedError('The reader cannot stop its card’s clock (dwFeatures).')
    const message = encode(ICC_CLOCK, this.#head, command === 'stop' ? 1 : 0, 0, 0)
    const { parameter } = await this.#ask(message, RdrToPc.slotStatus, 'IccClock', options)
    const state = clockStates[parameter]
    if (state === undefined) throw new MalformedError('SlotStatus', `bClockStatus ${parameter}`)
    return state
  }

  async setDataRateAndClockFrequency(
    { clockKHz, dataRateBps }: DataRateAndClock,
    options: TransmitOptions = {},
  ): Promise<DataRateAndClock> {
    const { descriptor } = this.#slot.reader
    const hasOneClock = descriptor.defaultClockKHz === descriptor.maximumClockKHz
    if (hasOneClock && descriptor.dataRateBps === descriptor.maxDataRateBps)
      throw new NotSupportedError(
        'The reader has one clock and one data rate (dwMaximumClock, dwMaxDataRate).',
      )
    const data = new Uint8Array(8)
    const view = dataViewOf(data)
    view.setUint32(0, clockKHz, true)
    view.setUint32(4, dataRateBps, true)
    const name = 'SetDataRateAndClockFrequency'
    const message = encode(SET_DATA_RATE_AND_CLOCK, this.#head, 0, 0, 0, data)
    const set = (await this.#ask(message, DATA_RATE_AND_CLOCK, name, options)).data
    if (set.length !== 8) throw new MalformedError(`answer to ${name}`, `${set.length} bytes, 8 are due`)
    const told = dataViewOf(set)
    return { clockKHz: told.getUint32(0, true), dataRateBps: told.getUint32(4, true) }
  }

  async mechanical(command: MechanicalFunction, options: TransmitOptions = {}): Promise<void> {
    const [code, bit] = mechanics[command]
    if ((this.#slot.reader.descriptor.mechanical & bit) === 0)
      throw new NotSupportedError(`The reader has no mechanism to ${command} a card (dwMechanical).`)
    const message = encode(MECHANICAL, this.#head, code, 0, 0)
    await this.#ask(message, RdrToPc.slotStatus, 'Mechanical', options)
  }

  async clockFrequenciesKHz(): Promise<readonly number[]> {
    await this.#slot.reader.ready()
    return readClockFrequencies(this.#slot.reader)
  }

  async dataRatesBps(): Promise<readonly number[]> {
    await this.#slot.reader.ready()
    return readDataRates(this.#slot.reader)
  }

  get #head(): { readonly slot: number } {
    return { slot: this.#slot.number }
  }

  #ask(
    message: Uint8Array<ArrayBuffer>,
    expects: number,
    command: string,
    options: TransmitOptions,
  ): Promise<Answer> {
    return this.#slot.askAlone(message, expects, command, options).catch(notKnown)
  }
}

function parametersOf(answer: Answer): ProtocolParameters {
  const { protocol, data } = decodeParameters(answer)
  return { protocol, data: data.slice() }
}

/** bError 0: the reader does not know the command. */
function notKnown(error: unknown): never {
  if (error instanceof ReaderRefusedError && error.bError === CcidError.CMD_NOT_SUPPORTED)
    throw new NotSupportedError(`The reader does not know ${error.command}.`, { cause: error })
  throw error
}
