/** CCID messages for devices that have no bulk endpoints: ICCD on the control pipe (Integrated Circuit(s) Cards Devices 1.0, 6). */
import { claim, type Clock, releaseDevice, translateUsbError } from '@webtoki/device'
import { dataViewOf, ReaderGoneError, TransferError, viewOf } from '@webtoki/apdu'
import type { CcidInterface } from './descriptors.ts'
import { IccdA } from './iccd-a.ts'
import { sendB } from './iccd-b.ts'
import type { IccdFetch, IccdWire } from './iccd-wire.ts'
import { HEADER_BYTES } from './messages.ts'
import type { CcidPipe, PipeEnd } from './pipe.ts'
import type { PipeOptions } from './webusb-pipe.ts'

/** dwFeatures: TPDU, short and extended APDU level; none of them: characters. */
const LEVELS = 0x7_0000
/** bInterfaceProtocol of version A. */
const VERSION_A = 1

interface IccdPipeOptions extends PipeOptions {
  readonly clock: Clock
}

/** Answers each message as a CCID would, so that nobody above need know. */
export class IccdPipe implements CcidPipe {
  readonly ended: Promise<PipeEnd>
  readonly notices$ = undefined
  readonly #device: USBDevice
  readonly #interfaceNumber: number
  readonly #clock: Clock
  readonly #isThere: PipeOptions['isThere']
  readonly #send: (message: Uint8Array, wire: IccdWire) => Promise<IccdFetch | undefined>
  #end: PipeEnd | undefined
  #tellEnd!: (end: PipeEnd) => void
  #closing: Promise<void> | undefined
  readonly #answers: Uint8Array[] = []
  #wanted: { resolve(answer: Uint8Array): void; reject(error: Error): void } | undefined

  private constructor(device: USBDevice, face: CcidInterface, { clock, isThere }: IccdPipeOptions) {
    this.#device = device
    this.#interfaceNumber = face.interfaceNumber
    this.#clock = clock
    this.#isThere = isThere
    // By the bits as told: the level is corrected to TPDUs, which this pipe takes apart.
    const a = new IccdA((face.descriptor.features & LEVELS) === 0)
    this.#send = face.interfaceProtocol === VERSION_A ? (message, wire) => a.send(message, wire) : sendB
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
  }

  /** Opens, configures and claims. Rejects with a typed error, and then nothing stays claimed. */
  static async open(device: USBDevice, face: CcidInterface, options: IccdPipeOptions): Promise<IccdPipe> {
    await claim(device, face, options.reset)
    return new IccdPipe(device, face, options)
  }

  /** The request leaves now; its answer comes by `receive`. */
  async send(message: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      const fetch = await this.#send(message, this.#wire(message[6] as number))
      if (fetch !== undefined) void fetch().catch((error: unknown) => this.#wantedFails(error))
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #wantedFails(error: unknown): void {
    const failed = this.#failed(error)
    this.#wanted?.reject(failed)
    this.#wanted = undefined
  }

  #wire(sequence: number): IccdWire {
    const isOpen = (): boolean => this.#end === undefined
    return {
      get isOpen() {
        return isOpen()
      },
      out: (request, value, data) => this.#out(request, value, data),
      in: (request, lengthBytes) => this.#in(request, lengthBytes),
      wait: (delayMs) =>
        new Promise((resolve) => {
          this.#clock.setTimeout(resolve, delayMs)
        }),
      tell: (type, status, error = 0, parameter = 0, data = nothing) => {
        const answer = new Uint8Array(HEADER_BYTES + data.length)
        answer[0] = type
        dataViewOf(answer).setUint32(1, data.length, true)
        answer.set([0, sequence, status, error, parameter], 5)
        answer.set(data, HEADER_BYTES)
        const wanted = this.#wanted
        this.#wanted = undefined
        if (wanted === undefined) this.#answers.push(answer)
        else wanted.resolve(answer)
      },
    }
  }

  receive(): Promise<Uint8Array> {
    const answer = this.#answers.shift()
    if (answer !== undefined) return Promise.resolve(answer)
    if (this.#end !== undefined) return Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#wanted = { resolve, reject }
    })
  }

  /** ICCD has no ABORT: the reader is reset instead. */
  abort(): Promise<void> {
    return Promise.reject(new TransferError('The device knows no ABORT.'))
  }

  async #out(request: number, value: number, data?: Uint8Array<ArrayBuffer>): Promise<void> {
    const setup = this.#setup(request, value)
    try {
      const { status } = await (data === undefined
        ? this.#device.controlTransferOut(setup)
        : this.#device.controlTransferOut(setup, data))
      if (status !== 'ok')
        throw new TransferError(`The device refused request ${request.toString(16)}h (${status}).`)
    } finally {
      data?.fill(0)
    }
  }

  async #in(request: number, lengthBytes: number): Promise<Uint8Array> {
    const { status, data } = await this.#device.controlTransferIn(this.#setup(request, 0), lengthBytes)
    if (status !== 'ok' || data === undefined)
      throw new TransferError(`The device refused request ${request.toString(16)}h (${status}).`)
    return viewOf(data)
  }

  #setup(request: number, value: number): USBControlTransferParameters {
    return { requestType: 'class', recipient: 'interface', request, value, index: this.#interfaceNumber }
  }

  close(): Promise<void> {
    this.#finish({ why: 'closed', error: new ReaderGoneError() })
    this.#closing ??= releaseDevice(this.#device, this.#interfaceNumber)
    return this.#closing
  }

  /** Translates, and ends the pipe where the device is gone. */
  #failed(error: unknown): Error {
    const translated = translateUsbError('transfer', error)
    if (translated instanceof ReaderGoneError) this.#finish({ why: 'gone', error: translated })
    return translated
  }

  #finish(end: PipeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#tellEnd(end)
    // No event tells of a permission taken back: the transfers fail, as if the reader was unplugged.
    if (end.why === 'gone') void this.#isThere()
    this.#wanted?.reject(end.error)
    this.#wanted = undefined
  }
}

const nothing = new Uint8Array(0)
