/**
 * The interface between a bus and a virtual USB device (USB 2.0, 5, 8 and 9). The bus is in the same process or
 * connected by a socket.
 */

/** The eight bytes of a SETUP packet (USB 2.0, 9.3). */
export interface ControlSetup {
  readonly bmRequestType: number
  readonly bRequest: number
  readonly wValue: number
  readonly wIndex: number
  readonly wLength: number
}

/** The result of an IN transfer. 'babble' means that the device sent more than the host requested. */
export interface InResult {
  readonly status: 'ok' | 'stall' | 'babble'
  readonly data: Uint8Array
}

/** The port of a connected device, by which the device can disconnect itself. */
export interface UsbPort {
  unplug(): void
  /**
   * Simulates suspend and resume of the computer: a bus reset, failed transfers, kept claims. Absent if the bus does
   * not model it.
   */
  suspend?(): void
}

/** A virtual USB device, as the bus sees it. Endpoint addresses have bit 7 set for IN. */
export interface UsbDeviceModel {
  readonly deviceDescriptor: Uint8Array
  readonly configurationDescriptors: readonly Uint8Array[]
  /** String descriptors by index. Index 0 is unused. */
  readonly strings: readonly (string | undefined)[]
  /** Executes a control request. Returns the data of an IN request, and an empty array for an OUT request. */
  control(setup: ControlSetup, data: Uint8Array): Uint8Array | 'stall'
  /** Receives one complete OUT transfer. */
  out(endpoint: number, bytes: Uint8Array): 'ok' | 'stall'
  /** Queues an IN transfer. `complete` is called once, unless the returned function cancels the transfer before. */
  submitIn(endpoint: number, lengthBytes: number, complete: (result: InResult) => void): () => void
  clearHalt(endpoint: number): void
  /** Bus reset: the device loses its state and its queues. */
  reset(): void
  setConfiguration(value: number): void
  selectAlternate(interfaceNumber: number, alternateSetting: number): void
  /** Called when a host program claims or releases the interface. A real device cannot notice this. */
  interfaceClaimed?(interfaceNumber: number): void
  interfaceReleased?(interfaceNumber: number): void
  plugged(port: UsbPort): void
  unplugged(): void
}
