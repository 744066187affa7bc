/** The base class of virtual USB devices: standard requests, halts and packets (USB 2.0, 5.8 and 9.4). */
import { readUint16le, uint16le } from '../bytes.ts'
import { type EndpointFacts, readConfiguration, stringDescriptor } from './descriptors.ts'
import type { ControlSetup, InResult, UsbDeviceModel, UsbPort } from './device-model.ts'
import { InQueue } from './in-queue.ts'

/** The descriptors and strings of a device. */
export interface PacketDeviceParts {
  readonly deviceDescriptor: Uint8Array
  readonly configurationDescriptors: readonly Uint8Array[]
  readonly strings: readonly (string | undefined)[]
}

/**
 * Base class of virtual USB devices. It handles descriptors, halts and IN queues; subclasses implement the behaviour of
 * their class.
 */
export abstract class PacketDevice implements UsbDeviceModel {
  readonly deviceDescriptor: Uint8Array
  readonly configurationDescriptors: readonly Uint8Array[]
  readonly strings: readonly (string | undefined)[]
  protected readonly endpoints: ReadonlyMap<number, EndpointFacts>
  readonly #queues = new Map<number, InQueue>()
  readonly #haltedOut = new Set<number>()
  #configuration: number
  #port: UsbPort | undefined

  constructor(parts: PacketDeviceParts) {
    this.deviceDescriptor = parts.deviceDescriptor
    this.configurationDescriptors = parts.configurationDescriptors
    this.strings = parts.strings
    const endpoints = new Map<number, EndpointFacts>()
    for (const bytes of parts.configurationDescriptors) {
      for (const alternate of readConfiguration(bytes).alternates) {
        for (const endpoint of alternate.endpoints) endpoints.set(endpoint.address, endpoint)
      }
    }
    this.endpoints = endpoints
    for (const { address, packetBytes } of endpoints.values()) {
      if (address & 0x80)
        this.#queues.set(address, new InQueue(packetBytes, (result) => this.inCompleted(address, result)))
    }
    this.#configuration = parts.configurationDescriptors[0]?.[5] ?? 0
  }

  /** True if the device is plugged into a bus. */
  get isPlugged(): boolean {
    return this.#port !== undefined
  }

  /** Unplugs the device from its bus. */
  unplug(): void {
    this.#port?.unplug()
  }

  /** Simulates suspend and resume of the computer. Throws Error if the bus does not model it. */
  suspend(): void {
    if (this.#port?.suspend === undefined)
      throw new Error('The bus of this virtual device does not model suspend.')
    this.#port.suspend()
  }

  control(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall' {
    const response =
      (setup.bmRequestType & 0x60) === 0 ? this.#standard(setup) : this.classRequest(setup, data)
    return response === 'stall' ? response : response.slice(0, setup.wLength)
  }

  out(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    if (this.#haltedOut.has(endpoint)) return 'stall'
    const result = this.outReceived(endpoint, bytes)
    if (result === 'stall') this.#haltedOut.add(endpoint)
    return result
  }

  submitIn(endpoint: number, lengthBytes: number, complete: (result: InResult) => void): () => void {
    return this.inQueue(endpoint).submit(lengthBytes, complete)
  }

  clearHalt(endpoint: number): void {
    if (endpoint & 0x80) this.inQueue(endpoint).clearHalt()
    else this.#haltedOut.delete(endpoint)
  }

  reset(): void {
    this.#forget()
    this.wasReset('bus')
  }

  setConfiguration(value: number): void {
    this.#configuration = value
    this.#forget()
    this.wasReset('configuration')
  }

  selectAlternate(_interfaceNumber: number, _alternateSetting: number): void {
    this.#forget()
    this.wasReset('configuration')
  }

  plugged(port: UsbPort): void {
    this.#port = port
    this.#forget()
    this.wasReset('plug')
  }

  unplugged(): void {
    this.#port = undefined
    this.#forget()
    this.wasReset('unplug')
  }

  /** Number of pending IN transfers on an endpoint. */
  pendingIn(endpoint: number): number {
    return this.inQueue(endpoint).pendingTransfers
  }

  /** Returns the queue of an IN endpoint. Throws RangeError if the device has no such endpoint. */
  protected inQueue(endpoint: number): InQueue {
    const queue = this.#queues.get(endpoint)
    if (queue === undefined)
      throw new RangeError(`The virtual device has no IN endpoint ${endpoint.toString(16)}h.`)
    return queue
  }

  /** Called for each OUT transfer. */
  protected abstract outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall'
  /** Called for each class or vendor request. */
  protected abstract classRequest(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall'
  /** Called after the queues were cleared, with the reason. */
  protected abstract wasReset(why: 'bus' | 'configuration' | 'plug' | 'unplug'): void
  /** Called when an IN transfer completes. */
  protected inCompleted(_endpoint: number, _result: InResult): void {}

  #forget(): void {
    for (const queue of this.#queues.values()) queue.reset()
    this.#haltedOut.clear()
  }

  #standard(setup: ControlSetup): Uint8Array | 'stall' {
    const isIn = (setup.bmRequestType & 0x80) !== 0
    const nothing = new Uint8Array()
    if (isIn && setup.bRequest === 0x00) return uint16le(0)
    if (isIn && setup.bRequest === 0x08) return Uint8Array.of(this.#configuration)
    if (isIn && setup.bRequest === 0x0a) return Uint8Array.of(0)
    if (isIn && setup.bRequest === 0x06) return this.#descriptor(setup.wValue >>> 8, setup.wValue & 0xff)
    if (!isIn && setup.bRequest === 0x01 && setup.wValue === 0) {
      this.clearHalt(setup.wIndex & 0xff)
      return nothing
    }
    if (!isIn && setup.bRequest === 0x09) {
      this.setConfiguration(setup.wValue & 0xff)
      return nothing
    }
    return 'stall'
  }

  #descriptor(type: number, index: number): Uint8Array | 'stall' {
    if (type === 1) return this.deviceDescriptor
    if (type === 2) return this.configurationDescriptors[index] ?? 'stall'
    if (type !== 3) return 'stall'
    if (index === 0) return stringDescriptor(undefined)
    const text = this.strings[index]
    return text === undefined ? 'stall' : stringDescriptor(text)
  }
}

/** Reads a BCD version such as bcdUSB as the browser splits it: 0x0210 is major 2, minor 1, subminor 0. */
export function readVersion(bytes: Uint8Array, offset: number): readonly [number, number, number] {
  const bcd = readUint16le(bytes, offset)
  return [bcd >>> 8, (bcd >>> 4) & 0x0f, bcd & 0x0f]
}
