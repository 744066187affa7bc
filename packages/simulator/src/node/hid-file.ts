/** An open hidraw file of a program (Linux, Documentation/hid/hidraw.rst). */
import { join, readUint32le, uint32le } from '../bytes.ts'
import { type HidDeviceModel, hasNumberedReports } from '../hid/device.ts'
import { Errno, int32 } from './bus-frame.ts'

/** The numbers of the ioctls in linux/hidraw.h. */
const Request = { descriptorSize: 1, descriptor: 2, info: 3, name: 4, setFeature: 6, getFeature: 7 } as const
const BUS_USB = 3

/** Sends a frame to the program. */
export type SendFrame = (type: string, id: number, ...parts: readonly Uint8Array[]) => void

/** Handles the frames of a program for an open hidraw file. */
export class HidFile {
  readonly #model: HidDeviceModel
  readonly #send: SendFrame
  readonly #isNumbered: boolean

  constructor(model: HidDeviceModel, send: SendFrame) {
    this.#model = model
    this.#send = send
    this.#isNumbered = hasNumberedReports(model.reportDescriptor)
  }

  /** Handles a frame of the program. Throws RangeError for an unknown frame. */
  receive(type: string, id: number, payload: Uint8Array): void {
    if (type === 'W') this.#model.output(payload[0] ?? 0, payload.slice(1))
    else if (type === 'H' && payload.length >= 8) this.#ioctl(id, payload)
    // The only request is close, and no transfers are pending here.
    else if (type === 'R') this.#send('r', id, int32(0))
    else
      throw new RangeError(
        `A program sent an unknown frame ${JSON.stringify(type)} of ${payload.length} bytes.`,
      )
  }

  /** Sends an input report to the program. It includes the report ID only if reports are numbered. */
  input(reportId: number, data: Uint8Array): void {
    this.#send('i', 0, this.#isNumbered ? join([reportId], data) : data)
  }

  #ioctl(id: number, payload: Uint8Array): void {
    const [number, capacityBytes] = [readUint32le(payload, 0), readUint32le(payload, 4)]
    const input = payload.slice(8)
    const model = this.#model
    const reply = (result: number, data: Uint8Array = new Uint8Array(0)): void =>
      this.#send('r', id, int32(result), data)
    switch (number) {
      case Request.descriptorSize:
        return reply(model.reportDescriptor.length)
      case Request.descriptor:
        return reply(0, model.reportDescriptor.slice(0, capacityBytes))
      case Request.info:
        return reply(0, join(uint32le(BUS_USB), uint16le(model.vendorId), uint16le(model.productId)))
      case Request.name: {
        const name = new TextEncoder().encode(`${model.product}\0`).slice(0, capacityBytes)
        return reply(name.length, name)
      }
      case Request.setFeature: {
        const done = model.setFeature(input[0] ?? 0, input.slice(1))
        return reply(done === 'stall' ? -Errno.EPIPE : capacityBytes)
      }
      case Request.getFeature: {
        const data = model.getFeature(input[0] ?? 0)
        if (data === 'stall') return reply(-Errno.EPIPE)
        const report = join([input[0] ?? 0], data).slice(0, capacityBytes)
        return reply(report.length, report)
      }
      default:
        return reply(-Errno.EINVAL)
    }
  }
}

function uint16le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8)
}
