/** CCID messages for devices that have no bulk endpoints: ICCD version B on the control pipe (Integrated Circuit(s) Cards Devices 1.0, 6). */
import { MalformedError, ReaderGoneError, TransferError } from '@webtoki/apdu'
import { claim, unclaim } from './claim.ts'
import type { Clock } from './clock.ts'
import type { CcidInterface } from './descriptors.ts'
import { CommandStatus, HEADER_BYTES, IccStatus, PcToRdr, RdrToPc } from './messages.ts'
import type { CcidPipe, PipeEnd } from './pipe.ts'
import { translateUsbError } from './webusb-errors.ts'

const Request = { powerOn: 0x62, powerOff: 0x63, xfrBlock: 0x65, dataBlock: 0x6f, slotStatus: 0x81 } as const
/** bResponseType (6.2.2); the values between are bChainParameter of the CCID. */
const Response = { status: 0x40, pollAgain: 0x80 } as const
const POLL_UNIT_MS = 10
/** A control transfer's length has 16 bits, and hosts refuse the longest. */
const MAX_BLOCK_BYTES = 4096

/** Answers each message as a CCID would, so that nobody above need know. */
export class IccdPipe implements CcidPipe {
  readonly ended: Promise<PipeEnd>
  readonly notices$ = undefined
  readonly #device: USBDevice
  readonly #interfaceNumber: number
  readonly #clock: Clock
  #end: PipeEnd | undefined
  #tellEnd!: (end: PipeEnd) => void
  #closing: Promise<void> | undefined
  readonly #answers: Uint8Array[] = []
  #wanted: { resolve(answer: Uint8Array): void; reject(error: Error): void } | undefined

  private constructor(device: USBDevice, interfaceNumber: number, clock: Clock) {
    this.#device = device
    this.#interfaceNumber = interfaceNumber
    this.#clock = clock
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
  }

  /** Opens, configures and claims. Rejects with a typed error, and then nothing stays claimed. */
  static async open(device: USBDevice, face: CcidInterface, clock: Clock, reset: boolean): Promise<IccdPipe> {
    await claim(device, face, reset)
    return new IccdPipe(device, face.interfaceNumber, clock)
  }

  /** The request leaves now; its answer comes by `receive`. */
  async send(message: Uint8Array<ArrayBuffer>): Promise<void> {
    const sequence = message[6] as number
    try {
      switch (message[0]) {
        case PcToRdr.iccPowerOn:
          // First off: the device's own state begins anew.
          await this.#out(Request.powerOff, 0)
          await this.#out(Request.powerOn, 1)
          break
        case PcToRdr.iccPowerOff:
          await this.#out(Request.powerOff, 0)
          this.#tell(RdrToPc.slotStatus, sequence, IccStatus.inactive, 0, 0)
          return
        case PcToRdr.getSlotStatus: {
          const [, status = IccStatus.absent] = await this.#in(Request.slotStatus, 3)
          // 3 is reserved, and nothing that could be used.
          const icc = (status & 3) === 3 ? IccStatus.absent : status & 3
          this.#tell(RdrToPc.slotStatus, sequence, icc, 0, 0)
          return
        }
        case PcToRdr.xfrBlock:
          await this.#out(Request.xfrBlock, (message[8] as number) << 8, message.slice(HEADER_BYTES))
          break
        default:
          this.#tell(RdrToPc.slotStatus, sequence, CommandStatus.failed, 0, 0)
          return
      }
    } catch (error) {
      throw this.#failed(error)
    }
    void this.#collect(sequence)
  }

  /** Asks for the data block until it is there. While the card works, who waits is told as by a CCID's time extension. */
  async #collect(sequence: number): Promise<void> {
    try {
      while (this.#end === undefined) {
        const block = await this.#in(Request.dataBlock, MAX_BLOCK_BYTES)
        const [type, first = 0, second = 0] = block
        if (type === undefined) throw new MalformedError('ICCD data block', 'no bResponseType')
        if (type === Response.pollAgain) {
          this.#tell(RdrToPc.dataBlock, sequence, CommandStatus.timeExtension, 1, 0)
          const delayMs = ((second << 8) | first || 1) * POLL_UNIT_MS
          await new Promise<void>((resolve) => {
            this.#clock.setTimeout(resolve, delayMs)
          })
        } else if (type === Response.status) {
          this.#tell(RdrToPc.dataBlock, sequence, CommandStatus.failed | (first & 3), second, 0)
          return
        } else {
          this.#tell(RdrToPc.dataBlock, sequence, 0, 0, type, block.subarray(1))
          return
        }
      }
    } catch (error) {
      const failed = this.#failed(error)
      this.#wanted?.reject(failed)
      this.#wanted = undefined
    }
  }

  /** A message as a CCID would have sent it. */
  #tell(
    type: number,
    sequence: number,
    status: number,
    error: number,
    parameter: number,
    data: Uint8Array = new Uint8Array(0),
  ): void {
    const answer = new Uint8Array(HEADER_BYTES + data.length)
    answer[0] = type
    new DataView(answer.buffer).setUint32(1, data.length, true)
    answer.set([0, sequence, status, error, parameter], 5)
    answer.set(data, HEADER_BYTES)
    const wanted = this.#wanted
    this.#wanted = undefined
    if (wanted === undefined) this.#answers.push(answer)
    else wanted.resolve(answer)
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
    const { status } = await (data === undefined
      ? this.#device.controlTransferOut(setup)
      : this.#device.controlTransferOut(setup, data))
    if (status !== 'ok')
      throw new TransferError(`The device refused request ${request.toString(16)}h (${status}).`)
  }

  async #in(request: number, lengthBytes: number): Promise<Uint8Array> {
    const { status, data } = await this.#device.controlTransferIn(this.#setup(request, 0), lengthBytes)
    if (status !== 'ok' || data === undefined)
      throw new TransferError(`The device refused request ${request.toString(16)}h (${status}).`)
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  }

  #setup(request: number, value: number): USBControlTransferParameters {
    return { requestType: 'class', recipient: 'interface', request, value, index: this.#interfaceNumber }
  }

  close(): Promise<void> {
    this.#finish({ why: 'closed', error: new ReaderGoneError() })
    this.#closing ??= unclaim(this.#device, this.#interfaceNumber)
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
    this.#wanted?.reject(end.error)
    this.#wanted = undefined
  }
}
