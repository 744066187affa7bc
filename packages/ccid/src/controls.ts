/** Controls of a reader beside its card's APDUs (CCID 1.1, 5.3 and 6.1), and its features by PC/SC part 10. */
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
import { type CcidResponse, CcidError, encode, encodeEscape, RdrToPc, READER_TIMEOUT_MS } from './messages.ts'
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

/**
 * bMessageType of messages that only the controls send (CCID 1.1, 6.1.9, 6.1.12, 6.1.14), and of the response to the
 * last one.
 */
const ICC_CLOCK = 0x6e
const MECHANICAL = 0x71
const SET_DATA_RATE_AND_CLOCK = 0x73
const DATA_RATE_AND_CLOCK = 0x84

/** State of the card's clock (bClockStatus, CCID 1.1, 6.2.2). */
export type ClockState = 'running' | 'stopped-low' | 'stopped-high' | 'stopped'
const clockStates = ['running', 'stopped-low', 'stopped-high', 'stopped'] as const

/** bFunction of Mechanical (CCID 1.1, 6.1.12). */
export type MechanicalFunction = 'accept' | 'eject' | 'capture' | 'lock' | 'unlock'
/** bFunction, and its bit in dwMechanical. */
const mechanics: Readonly<Record<MechanicalFunction, readonly [code: number, bit: number]>> = {
  accept: [1, 1],
  eject: [2, 2],
  capture: [3, 4],
  lock: [4, 8],
  unlock: [5, 8],
}

/** The card's clock frequency and data rate. */
export interface DataRateAndClock {
  readonly clockKHz: number
  readonly dataRateBps: number
}

/**
 * Controls of one slot's reader. A method rejects with NotSupportedError if the descriptor excludes the function,
 * before anything is sent, or if the reader does not know it. It rejects with ReaderRefusedError if the reader fails
 * for another reason. While a connection is open, a method that may affect the card waits for the card's lock like a
 * transaction, so it must not be awaited inside one. Afterwards the next owner of the lock finds `undisturbed` false.
 */
export interface ReaderControls {
  /** Features and properties by PC/SC part 10, from the descriptor alone. */
  readonly features: ReaderFeatures
  /** Sends a vendor-specific command and resolves to its response (CCID 1.1, 6.1.8). */
  escape(data: Uint8Array, options?: TransmitOptions): Promise<Uint8Array>
  /** Reads the protocol and its parameters in force. Does not affect the card, so it waits for no lock. */
  getParameters(options?: TransmitOptions): Promise<ProtocolParameters>
  /** Restores the reader's default parameters. */
  resetParameters(options?: TransmitOptions): Promise<ProtocolParameters>
  /**
   * Sets the parameters, as the driver does at each activation. A caller that changes them must make sure that the
   * card still understands the reader.
   */
  setParameters(parameters: ProtocolParameters, options?: TransmitOptions): Promise<ProtocolParameters>
  /** Stops the card's clock in the state that bClockStop of the parameters names, or restarts it. */
  iccClock(command: 'stop' | 'restart', options?: TransmitOptions): Promise<ClockState>
  /** Sets the card's clock frequency and data rate. Resolves to the values that the reader chose. */
  setDataRateAndClockFrequency(
    requested: DataRateAndClock,
    options?: TransmitOptions,
  ): Promise<DataRateAndClock>
  mechanical(command: MechanicalFunction, options?: TransmitOptions): Promise<void>
  /** Reads the clock frequencies that the reader supports, in kHz (GET_CLOCK_FREQUENCIES). */
  clockFrequenciesKHz(): Promise<readonly number[]>
  /** Reads the data rates that the reader supports, in bits per second (GET_DATA_RATES). */
  dataRatesBps(): Promise<readonly number[]>
}

/** Returns the controls for a slot that `ccidSlots` created. Throws NotSupportedError for any other slot. */
export function readerControls(slot: CardSlot): ReaderControls {
  if (!(slot instanceof CcidSlot))
    throw new NotSupportedError('The slot is not a CCID slot; pass one that ccidSlots() created.')
  return new Controls(slot)
}

class Controls implements ReaderControls {
  readonly #slot: CcidSlot

  constructor(slot: CcidSlot) {
    this.#slot = slot
  }

  get features(): ReaderFeatures {
    const { pinSupport, reader } = this.#slot
    const { device, usbInterface } = reader.origin
    return featuresOf(device, { ...reader.descriptor, pinSupport }, usbInterface.quirk.pad)
  }

  async escape(data: Uint8Array, options: TransmitOptions = {}): Promise<Uint8Array> {
    const message = encodeEscape({ slot: this.#slot.number, data })
    return (await this.#exchange(message, RdrToPc.escape, 'Escape', options)).data.slice()
  }

  async getParameters(options: TransmitOptions = {}): Promise<ProtocolParameters> {
    const { reader, number } = this.#slot
    await reader.ready()
    const message = encodeGetParameters({ slot: number })
    return parametersOf(
      await reader
        .exchange(message, RdrToPc.parameters, 'GetParameters', options, READER_TIMEOUT_MS)
        .catch(rejectUnsupported),
    )
  }

  async resetParameters(options: TransmitOptions = {}): Promise<ProtocolParameters> {
    const message = encodeResetParameters({ slot: this.#slot.number })
    return parametersOf(await this.#exchange(message, RdrToPc.parameters, 'ResetParameters', options))
  }

  async setParameters(
    parameters: ProtocolParameters,
    options: TransmitOptions = {},
  ): Promise<ProtocolParameters> {
    const message = encodeSetParameters({ slot: this.#slot.number, ...parameters })
    return parametersOf(await this.#exchange(message, RdrToPc.parameters, 'SetParameters', options))
  }

  async iccClock(command: 'stop' | 'restart', options: TransmitOptions = {}): Promise<ClockState> {
    if ((this.#slot.reader.descriptor.features & CcidFeature.clockStop) === 0)
      throw new NotSupportedError('The reader cannot stop its card’s clock (dwFeatures).')
    const message = encode(ICC_CLOCK, this.#head, command === 'stop' ? 1 : 0, 0, 0)
    const { parameter } = await this.#exchange(message, RdrToPc.slotStatus, 'IccClock', options)
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
    const set = (await this.#exchange(message, DATA_RATE_AND_CLOCK, name, options)).data
    if (set.length !== 8) throw new MalformedError(`response to ${name}`, `${set.length} bytes instead of 8`)
    const actual = dataViewOf(set)
    return { clockKHz: actual.getUint32(0, true), dataRateBps: actual.getUint32(4, true) }
  }

  async mechanical(command: MechanicalFunction, options: TransmitOptions = {}): Promise<void> {
    const [code, bit] = mechanics[command]
    if ((this.#slot.reader.descriptor.mechanical & bit) === 0)
      throw new NotSupportedError(`The reader has no mechanism to ${command} a card (dwMechanical).`)
    const message = encode(MECHANICAL, this.#head, code, 0, 0)
    await this.#exchange(message, RdrToPc.slotStatus, 'Mechanical', options)
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

  #exchange(
    message: Uint8Array<ArrayBuffer>,
    responseType: number,
    command: string,
    options: TransmitOptions,
  ): Promise<CcidResponse> {
    return this.#slot.exchangeLocked(message, responseType, command, options).catch(rejectUnsupported)
  }
}

function parametersOf(response: CcidResponse): ProtocolParameters {
  const { protocol, data } = decodeParameters(response)
  return { protocol, data: data.slice() }
}

/** bError 0 means that the reader does not know the command (CCID 1.1, table 6.2-2). */
function rejectUnsupported(error: unknown): never {
  if (error instanceof ReaderRefusedError && error.bError === CcidError.CMD_NOT_SUPPORTED)
    throw new NotSupportedError(`The reader does not support ${error.command}.`, { cause: error })
  throw error
}
