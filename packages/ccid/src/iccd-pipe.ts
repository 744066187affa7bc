/**
 * A `CcidPipe` for devices without bulk endpoints: ICCD on the control pipe (Integrated Circuit(s) Cards Devices 1.0,
 * 6).
 */
import { claim, type Clock, releaseDevice, translateUsbError } from '@webtoki/device'
import { dataViewOf, ReaderGoneError, TransferError, viewOf } from '@webtoki/apdu'
import type { CcidInterface } from './descriptors.ts'
import { IccdA } from './iccd-a.ts'
import { sendB } from './iccd-b.ts'
import type { FetchResponse, IccdWire } from './iccd-wire.ts'
import { HEADER_BYTES } from './messages.ts'
import type { CcidPipe, PipeEnd } from './pipe.ts'
import type { PipeOptions } from './webusb-pipe.ts'

/** The level bits of dwFeatures. None is set at character level. */
const LEVELS = 0x7_0000
/** bInterfaceProtocol of ICCD version A. */
const VERSION_A = 1

interface IccdPipeOptions extends PipeOptions {
  readonly clock: Clock
}

/** Responds to each message as a CCID reader would, so that callers need not distinguish the two. */
export class IccdPipe implements CcidPipe {
  readonly ended: Promise<PipeEnd>
  readonly interruptMessages$ = undefined
  readonly #device: USBDevice
  readonly #interfaceNumber: number
  readonly #clock: Clock
  readonly #isAvailable: PipeOptions['isAvailable']
  readonly #send: (message: Uint8Array, wire: IccdWire) => Promise<FetchResponse | undefined>
  #end: PipeEnd | undefined
  #resolveEnded!: (end: PipeEnd) => void
  #closing: Promise<void> | undefined
  readonly #responses: Uint8Array[] = []
  #receiver: { resolve(response: Uint8Array): void; reject(error: Error): void } | undefined

  private constructor(
    device: USBDevice,
    usbInterface: CcidInterface,
    { clock, isAvailable }: IccdPipeOptions,
  ) {
    this.#device = device
    this.#interfaceNumber = usbInterface.interfaceNumber
    this.#clock = clock
    this.#isAvailable = isAvailable
    // Uses the stated bits: the corrected level is 'tpdu', because this pipe splits TPDUs.
    const versionA = new IccdA((usbInterface.descriptor.features & LEVELS) === 0)
    this.#send =
      usbInterface.interfaceProtocol === VERSION_A ? (message, wire) => versionA.send(message, wire) : sendB
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  /** Opens the device and claims the interface. Rejects with a typed error, and then leaves nothing claimed. */
  static async open(
    device: USBDevice,
    usbInterface: CcidInterface,
    options: IccdPipeOptions,
  ): Promise<IccdPipe> {
    await claim(device, usbInterface, options.reset)
    return new IccdPipe(device, usbInterface, options)
  }

  /** Sends the request now. `receive` returns its response. */
  async send(message: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      const fetch = await this.#send(message, this.#wire(message[6] as number))
      if (fetch !== undefined) void fetch().catch((error: unknown) => this.#rejectReceiver(error))
    } catch (error) {
      throw this.#onTransferError(error)
    }
  }

  #rejectReceiver(error: unknown): void {
    const failed = this.#onTransferError(error)
    this.#receiver?.reject(failed)
    this.#receiver = undefined
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
      respond: (type, status, error = 0, parameter = 0, data = nothing) => {
        const response = new Uint8Array(HEADER_BYTES + data.length)
        response[0] = type
        dataViewOf(response).setUint32(1, data.length, true)
        response.set([0, sequence, status, error, parameter], 5)
        response.set(data, HEADER_BYTES)
        const receiver = this.#receiver
        this.#receiver = undefined
        if (receiver === undefined) this.#responses.push(response)
        else receiver.resolve(response)
      },
    }
  }

  receive(): Promise<Uint8Array> {
    const response = this.#responses.shift()
    if (response !== undefined) return Promise.resolve(response)
    if (this.#end !== undefined) return Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject }
    })
  }

  /** ICCD has no ABORT, so the caller resets the reader. */
  abort(): Promise<void> {
    return Promise.reject(new TransferError('ICCD devices do not support ABORT.'))
  }

  async #out(request: number, value: number, data?: Uint8Array<ArrayBuffer>): Promise<void> {
    const setup = this.#setup(request, value)
    try {
      const { status } = await (data === undefined
        ? this.#device.controlTransferOut(setup)
        : this.#device.controlTransferOut(setup, data))
      if (status !== 'ok')
        throw new TransferError(`The device rejected request ${request.toString(16)}h (${status}).`)
    } finally {
      data?.fill(0)
    }
  }

  async #in(request: number, lengthBytes: number): Promise<Uint8Array> {
    const { status, data } = await this.#device.controlTransferIn(this.#setup(request, 0), lengthBytes)
    if (status !== 'ok' || data === undefined)
      throw new TransferError(`The device rejected request ${request.toString(16)}h (${status}).`)
    return viewOf(data)
  }

  #setup(request: number, value: number): USBControlTransferParameters {
    return { requestType: 'class', recipient: 'interface', request, value, index: this.#interfaceNumber }
  }

  close(): Promise<void> {
    this.#finish({ reason: 'closed', error: new ReaderGoneError() })
    this.#closing ??= releaseDevice(this.#device, this.#interfaceNumber)
    return this.#closing
  }

  /** Translates the error, and ends the pipe if the device is gone. */
  #onTransferError(error: unknown): Error {
    const translated = translateUsbError('transfer', error)
    if (translated instanceof ReaderGoneError) this.#finish({ reason: 'gone', error: translated })
    return translated
  }

  #finish(end: PipeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#resolveEnded(end)
    // The browser sends no event when a permission is revoked: the transfers fail as if the reader had been
    // unplugged.
    if (end.reason === 'gone') void this.#isAvailable()
    this.#receiver?.reject(end.error)
    this.#receiver = undefined
  }
}

const nothing = new Uint8Array(0)
