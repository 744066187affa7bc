/** A device in its socket, as every page that looks at the bus shares it. */
import type { UsbDeviceModel } from './device-model.ts'

/** One plugging-in of a device: pulled and plugged again, it is another. */
export class PluggedDevice {
  readonly model: UsbDeviceModel
  /** Interface number → who holds it; the kernel lets one program claim an interface. */
  readonly claims: Map<number, object> = new Map()
  configurationValue: number
  isPlugged = true

  constructor(model: UsbDeviceModel) {
    this.model = model
    this.configurationValue = model.configurationDescriptors[0]?.[5] ?? 0
  }
}

/** The sockets, seen by a page. */
export interface PluggedDevices {
  /** In the order they were plugged. */
  readonly devices: readonly PluggedDevice[]
}
