/** An open USB device file of a program, with the rules of Linux's usbfs (drivers/usb/core/devio.c). */
import { readUint16le, readUint32le } from '../bytes.ts'
import type { PluggedDevice } from '../usb/plugged-device.ts'
import { Errno, int32, Operation } from './bus-frame.ts'
import { alternatesOf } from './device-tree.ts'

const transferTypes = { interrupt: 1, control: 2, bulk: 3 } as const
const shortNotOk = 0x01

interface PendingTransfer {
  readonly endpoint: number
  cancel: () => void
}

/** The operations of the bus that an open file needs. */
export interface OpenFileHost {
  /** Sends a frame to the program. */
  send(type: string, id: number, ...parts: readonly Uint8Array[]): void
  /** Returns all open files of the device, including this one. */
  openFiles(): Iterable<OpenFile>
  /** Called after the program has selected another configuration. */
  configurationSelected(value: number): void
  /** Called when the device model throws. */
  fault(error: unknown): void
}

/** The claims and transfers of an open file. */
export class OpenFile {
  readonly #plugged: PluggedDevice
  readonly #host: OpenFileHost
  readonly #pending = new Map<number, PendingTransfer>()
  readonly #alternates = new Map<number, number>()

  constructor(plugged: PluggedDevice, host: OpenFileHost) {
    this.#plugged = plugged
    this.#host = host
  }

  /** Handles a frame of the program. Throws RangeError for an unknown or malformed frame. */
  receive(type: string, id: number, payload: Uint8Array): void {
    if (type === 'S') this.#submit(id, payload)
    else if (type === 'D') this.#kill((_, pendingId) => pendingId === id)
    else if (type === 'R' && payload.length === 12) {
      const [operation, first] = [readUint32le(payload, 0), readUint32le(payload, 4) | 0]
      this.#host.send('r', id, int32(this.#request(operation, first, readUint32le(payload, 8) | 0)))
    } else
      throw new RangeError(
        `A program sent an unknown frame ${JSON.stringify(type)} of ${payload.length} bytes.`,
      )
  }

  /** Called when the program closes the file or ends. Ends its transfers and releases its interfaces. */
  closed(): void {
    this.#kill(() => true)
    for (const [interfaceNumber, owner] of [...this.#plugged.claims])
      if (owner === this) this.#release(interfaceNumber)
  }

  /** Ends the transfers of this file on an interface. */
  killInterface(interfaceNumber: number): void {
    const endpoints = new Set(
      this.#interfaceAlternates(interfaceNumber).flatMap((a) => a.endpoints.map((e) => e.address)),
    )
    this.#kill((transfer) => endpoints.has(transfer.endpoint))
  }

  #request(operation: number, first: number, second: number): number {
    try {
      switch (operation) {
        case Operation.claim:
          return this.#claim(first)
        case Operation.release:
          if (this.#plugged.claims.get(first) !== this) return -Errno.EINVAL
          this.#release(first)
          return 0
        case Operation.setInterface:
          return this.#setInterface(first, second)
        case Operation.setConfiguration:
          return this.#setConfiguration(first)
        case Operation.reset:
          // At a reset, the kernel unbinds usbfs from every interface.
          for (const file of this.#host.openFiles()) file.closed()
          this.#plugged.model.reset()
          return 0
        case Operation.clearHalt:
          if (!this.#hasEndpoint(first)) return -Errno.ENOENT
          this.#plugged.model.clearHalt(first)
          return 0
        case Operation.resetEndpoint:
          return this.#hasEndpoint(first) ? 0 : -Errno.ENOENT
        case Operation.getDriver:
          return this.#plugged.claims.has(first) ? 0 : -Errno.ENODATA
        case Operation.close:
          this.closed()
          return 0
        default:
          return -Errno.EINVAL
      }
    } catch (error) {
      this.#host.fault(error)
      return -Errno.EPROTO
    }
  }

  #claim(interfaceNumber: number): number {
    if (this.#interfaceAlternates(interfaceNumber).length === 0) return -Errno.ENOENT
    const owner = this.#plugged.claims.get(interfaceNumber)
    if (owner !== undefined) return owner === this ? 0 : -Errno.EBUSY
    this.#plugged.claims.set(interfaceNumber, this)
    this.#plugged.model.interfaceClaimed?.(interfaceNumber)
    return 0
  }

  #release(interfaceNumber: number): void {
    this.killInterface(interfaceNumber)
    this.#plugged.claims.delete(interfaceNumber)
    if (!this.#plugged.isPlugged) return
    if (this.#alternates.get(interfaceNumber)) this.#plugged.model.selectAlternate(interfaceNumber, 0)
    this.#alternates.delete(interfaceNumber)
    this.#plugged.model.interfaceReleased?.(interfaceNumber)
  }

  #setInterface(interfaceNumber: number, alternateSetting: number): number {
    const claimed = this.#claim(interfaceNumber)
    if (claimed !== 0) return claimed
    const settings = this.#interfaceAlternates(interfaceNumber)
    if (!settings.some((a) => a.alternateSetting === alternateSetting)) return -Errno.EINVAL
    this.killInterface(interfaceNumber)
    this.#alternates.set(interfaceNumber, alternateSetting)
    this.#plugged.model.selectAlternate(interfaceNumber, alternateSetting)
    return 0
  }

  #setConfiguration(value: number): number {
    if (this.#plugged.claims.size > 0) return -Errno.EBUSY
    const isKnown = this.#plugged.model.configurationDescriptors.some((bytes) => bytes[5] === value)
    if (!isKnown && value > 0) return -Errno.EINVAL
    for (const file of this.#host.openFiles()) file.closed()
    this.#plugged.configurationValue = Math.max(0, value)
    this.#plugged.model.setConfiguration(this.#plugged.configurationValue)
    this.#host.configurationSelected(this.#plugged.configurationValue)
    return 0
  }

  #submit(id: number, payload: Uint8Array): void {
    if (payload.length < 10)
      throw new RangeError(`A program sent a transfer of ${payload.length} bytes, shorter than its header.`)
    const [type, endpoint] = [payload[0], payload[1] as number]
    const [flags, lengthBytes] = [readUint32le(payload, 2), readUint32le(payload, 6)]
    const data = payload.slice(10)
    try {
      if (type === transferTypes.control) this.#control(id, data)
      else if ((type === transferTypes.bulk || type === transferTypes.interrupt) && this.#mayUse(endpoint)) {
        if (endpoint & 0x80) this.#in(id, endpoint, lengthBytes, (flags & shortNotOk) !== 0)
        else if (this.#plugged.model.out(endpoint, data) === 'stall') this.#complete(id, -Errno.EPIPE)
        else this.#complete(id, 0, undefined, data.length)
      } else this.#complete(id, -Errno.EPROTO)
    } catch (error) {
      this.#pending.delete(id)
      this.#complete(id, -Errno.EPROTO)
      this.#host.fault(error)
    }
  }

  #control(id: number, bytes: Uint8Array): void {
    if (bytes.length < 8)
      throw new RangeError(
        `A program sent a control transfer of ${bytes.length} bytes, shorter than its SETUP packet.`,
      )
    const setup = {
      bmRequestType: bytes[0] as number,
      bRequest: bytes[1] as number,
      wValue: readUint16le(bytes, 2),
      wIndex: readUint16le(bytes, 4),
      wLength: readUint16le(bytes, 6),
    }
    if (!this.#mayControl(setup.bmRequestType, setup.wIndex & 0xff)) {
      this.#complete(id, -Errno.EPROTO)
      return
    }
    const result = this.#plugged.model.control(setup, bytes.slice(8))
    if (result === 'stall') this.#complete(id, -Errno.EPIPE)
    else if (setup.bmRequestType & 0x80) this.#complete(id, 0, result.slice(0, setup.wLength))
    else this.#complete(id, 0, undefined, bytes.length - 8)
  }

  #in(id: number, endpoint: number, lengthBytes: number, failsIfShort: boolean): void {
    const pending: PendingTransfer = { endpoint, cancel: () => {} }
    this.#pending.set(id, pending)
    // The model may complete the transfer before submitIn returns the cancel function.
    pending.cancel = this.#plugged.model.submitIn(endpoint, lengthBytes, ({ status, data }) => {
      if (!this.#pending.delete(id)) return
      if (status === 'stall') this.#complete(id, -Errno.EPIPE, data)
      else if (status === 'babble') this.#complete(id, -Errno.EOVERFLOW, data)
      else this.#complete(id, failsIfShort && data.length < lengthBytes ? -Errno.EREMOTEIO : 0, data)
    })
  }

  // The program reaps killed transfers like any other, with the status of usb_kill_urb().
  #kill(matches: (transfer: PendingTransfer, id: number) => boolean): void {
    for (const [id, transfer] of [...this.#pending]) {
      if (!matches(transfer, id)) continue
      this.#pending.delete(id)
      transfer.cancel()
      this.#complete(id, -Errno.ENOENT)
    }
  }

  #complete(
    id: number,
    status: number,
    data: Uint8Array = new Uint8Array(),
    actualBytes = data.length,
  ): void {
    this.#host.send('c', id, int32(status, actualBytes), data)
  }

  #interfaceAlternates(interfaceNumber: number) {
    return alternatesOf(this.#plugged.model, this.#plugged.configurationValue).filter(
      (alternate) => alternate.interfaceNumber === interfaceNumber,
    )
  }

  #hasEndpoint(address: number): boolean {
    return this.#interfaceOf(address) !== undefined
  }

  #interfaceOf(address: number): number | undefined {
    return alternatesOf(this.#plugged.model, this.#plugged.configurationValue).find((alternate) =>
      alternate.endpoints.some((endpoint) => endpoint.address === address),
    )?.interfaceNumber
  }

  // Requests to an interface or one of its endpoints require a claim. The meaning of wIndex in vendor requests is
  // unknown, so they are permitted.
  #mayControl(requestType: number, index: number): boolean {
    const recipient = requestType & 0x1f
    if ((requestType & 0x60) === 0x40) return true
    if (recipient === 1) return this.#claim(index) === 0
    // Some programs set the wrong direction bit.
    return recipient !== 2 || (index & 0x7f) === 0 || this.#mayUse(index) || this.#mayUse(index ^ 0x80)
  }

  // The kernel claims the interface for a program that has not done so, unless another program holds it.
  #mayUse(address: number): boolean {
    const interfaceNumber = this.#interfaceOf(address)
    return interfaceNumber !== undefined && this.#claim(interfaceNumber) === 0
  }
}
