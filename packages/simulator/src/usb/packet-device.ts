/** A device that answers the standard requests of USB 2.0, 9.4, and cuts its messages into packets. */
import { readUint16le, uint16le } from '../bytes.ts'
import { type EndpointFacts, readConfiguration, stringDescriptor } from './descriptors.ts'
import type { ControlSetup, InResult, UsbDeviceModel, UsbPort } from './device-model.ts'
import { InQueue } from './in-queue.ts'

/** What a device is made of. */
export interface PacketDeviceParts {
  readonly deviceDescriptor: Uint8Array
  readonly configurationDescriptors: readonly Uint8Array[]
  readonly strings: readonly (string | undefined)[]
}

/** Base of the virtual devices: descriptors, halts and IN queues; class behaviour is the heir's. */
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

  /** Whether it is plugged into a bus. */
  get isPlugged(): boolean {
    return this.#port !== undefined
  }

  /** Pulls the cable from the device's side. */
  unplug(): void {
    this.#port?.unplug()
  }

  /** The computer sleeps and wakes. */
  suspend(): void {
    if (this.#port?.suspend === undefined) throw new Error('This bus does not model suspend.')
    this.#port.suspend()
  }

  control(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall' {
    const answer = (setup.bmRequestType & 0x60) === 0 ? this.#standard(setup) : this.classRequest(setup, data)
    return answer === 'stall' ? answer : answer.slice(0, setup.wLength)
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

  /** How many IN transfers the host keeps waiting on the endpoint. */
  pendingIn(endpoint: number): number {
    return this.inQueue(endpoint).pendingTransfers
  }

  protected inQueue(endpoint: number): InQueue {
    const queue = this.#queues.get(endpoint)
    if (queue === undefined)
      throw new RangeError(`The virtual device has no IN endpoint ${endpoint.toString(16)}h.`)
    return queue
  }

  protected abstract outReceived(endpoint: number, bytes: Uint8Array): 'ok' | 'stall'
  protected abstract classRequest(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall'
  protected abstract wasReset(why: 'bus' | 'configuration' | 'plug' | 'unplug'): void
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

/** bcdUSB and friends as the browser splits them: 0x0210 is major 2, minor 1, subminor 0. */
export function readVersion(bytes: Uint8Array, offset: number): readonly [number, number, number] {
  const bcd = readUint16le(bytes, offset)
  return [bcd >>> 8, (bcd >>> 4) & 0x0f, bcd & 0x0f]
}
