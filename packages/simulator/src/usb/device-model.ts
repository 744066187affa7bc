/** What any bus, in-process or behind a socket, asks of a virtual USB device: USB 2.0, chapters 5, 8 and 9. */

/** The eight bytes of a SETUP packet (USB 2.0, 9.3). */
export interface ControlSetup {
  readonly bmRequestType: number
  readonly bRequest: number
  readonly wValue: number
  readonly wIndex: number
  readonly wLength: number
}

/** How an IN transfer ended. */
export interface InResult {
  readonly status: 'ok' | 'stall' | 'babble'
  readonly data: Uint8Array
}

/** The port a device is plugged into: by it a device can leave on its own. */
export interface UsbPort {
  unplug(): void
  /** The computer sleeps and wakes: a bus reset, failed transfers, claims kept. Absent where the bus does not model it. */
  suspend?(): void
}

/** A device, seen from the bus. Endpoint addresses have bit 7 set for IN. */
export interface UsbDeviceModel {
  readonly deviceDescriptor: Uint8Array
  readonly configurationDescriptors: readonly Uint8Array[]
  /** Strings by index; [0] is unused. */
  readonly strings: readonly (string | undefined)[]
  /** An IN request resolves to its data, an OUT request to an empty array. */
  control(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall'
  /** One whole OUT transfer. */
  out(endpoint: number, bytes: Uint8Array): 'ok' | 'stall'
  /** Queues an IN transfer; `complete` is called once, unless the returned function cancels it before. */
  submitIn(endpoint: number, lengthBytes: number, complete: (result: InResult) => void): () => void
  clearHalt(endpoint: number): void
  /** Bus reset: state and queues are lost. */
  reset(): void
  setConfiguration(value: number): void
  selectAlternate(interfaceNumber: number, alternateSetting: number): void
  /** A host program took or gave back the interface; no packet tells a real device. */
  interfaceClaimed?(interfaceNumber: number): void
  interfaceReleased?(interfaceNumber: number): void
  plugged(port: UsbPort): void
  unplugged(): void
}
