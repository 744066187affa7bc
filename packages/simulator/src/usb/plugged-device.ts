/** A connected device, shared by all pages on the bus (USB 2.0, 9.1). */
import type { UsbDeviceModel } from './device-model.ts'

/** One connection of a device to the bus. A device that is unplugged and plugged in again gets a new one. */
export class PluggedDevice {
  readonly model: UsbDeviceModel
  /** The owner of each claimed interface, by interface number. The kernel allows one owner. */
  readonly claims: Map<number, object> = new Map()
  configurationValue: number
  isPlugged = true

  constructor(model: UsbDeviceModel) {
    this.model = model
    this.configurationValue = model.configurationDescriptors[0]?.[5] ?? 0
  }
}

/** The connected devices, as a page sees them. */
export interface PluggedDevices {
  /** In the order in which they were plugged in. */
  readonly devices: readonly PluggedDevice[]
}
