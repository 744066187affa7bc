/** A virtual USB device with several CCID interfaces, each of which is a reader (USB 2.0, 9.6.5). */
import type { ControlSetup, InResult, UsbPort } from '../usb/device-model.ts'
import { PacketDevice } from '../usb/packet-device.ts'
import { addressOf, deviceParts, interfaceOf } from './profiles.ts'
import type { CompositeProfile } from './reader-profile.ts'
import { serialNumberOf, type VirtualReaderOptions } from './reader-options.ts'
import { VirtualCcidReader } from './reader.ts'

/**
 * A device with several CCID interfaces. Cards, faults and counters belong to its `readers`, one for each interface in
 * order.
 */
export class VirtualCompositeReader extends PacketDevice {
  readonly profile: CompositeProfile
  readonly readers: readonly VirtualCcidReader[]

  constructor(profile: CompositeProfile, options: VirtualReaderOptions = {}) {
    super(deviceParts(profile, profile.interfaces, serialNumberOf(options)))
    this.profile = profile
    this.readers = profile.interfaces.map(
      (usbInterface) => new VirtualCcidReader({ ...profile, ...usbInterface }, options),
    )
  }

  /** Returns the reader of an interface. Throws RangeError if the device has no such interface. */
  reader(interfaceNumber: number): VirtualCcidReader {
    const reader = this.readers[interfaceNumber]
    if (reader === undefined) throw new RangeError(`The virtual device has no interface ${interfaceNumber}.`)
    return reader
  }

  protected classRequest(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall' {
    return this.readers[setup.wIndex & 0xff]?.control(setup, data) ?? 'stall'
  }

  override out(endpoint: number, bytes: Uint8Array): 'ok' | 'stall' {
    return this.#route(endpoint, (reader, own) => reader.out(own, bytes))
  }

  override submitIn(endpoint: number, lengthBytes: number, complete: (result: InResult) => void): () => void {
    return this.#route(endpoint, (reader, own) => reader.submitIn(own, lengthBytes, complete))
  }

  override clearHalt(endpoint: number): void {
    this.#route(endpoint, (reader, own) => reader.clearHalt(own))
  }

  override pendingIn(endpoint: number): number {
    return this.#route(endpoint, (reader, own) => reader.pendingIn(own))
  }

  override selectAlternate(interfaceNumber: number, alternateSetting: number): void {
    this.reader(interfaceNumber).selectAlternate(0, alternateSetting)
  }

  override reset(): void {
    for (const reader of this.readers) reader.reset()
  }

  override setConfiguration(value: number): void {
    super.setConfiguration(value)
    for (const reader of this.readers) reader.setConfiguration(value)
  }

  override plugged(port: UsbPort): void {
    super.plugged(port)
    for (const reader of this.readers) reader.plugged(port)
  }

  override unplugged(): void {
    super.unplugged()
    for (const reader of this.readers) reader.unplugged()
  }

  #route<T>(endpoint: number, work: (reader: VirtualCcidReader, own: number) => T): T {
    const interfaceNumber = interfaceOf(endpoint)
    return work(this.reader(interfaceNumber), addressOf(endpoint, -interfaceNumber))
  }

  protected outReceived(): 'stall' {
    return 'stall'
  }

  /** The readers hold all state. */
  protected wasReset(): void {}
}
