/** A virtual USB bus in the same process, shared by all pages (contexts) that use its devices. */
import type { UsbDeviceModel } from './device-model.ts'
import { PluggedDevice } from './plugged-device.ts'
import type { VirtualUsbOptions } from './browser-options.ts'
import { VirtualUsb } from './virtual-usb.ts'

/** A virtual USB bus. */
export class VirtualBus {
  readonly #plugged = new Map<UsbDeviceModel, PluggedDevice>()
  readonly #contexts: VirtualUsb[] = []

  /** The connected devices, in the order in which they were plugged in. */
  get devices(): readonly PluggedDevice[] {
    return [...this.#plugged.values()]
  }

  /**
   * Plugs in a device. Each context with permission for it gets a `connect` event. Throws Error if the device is
   * plugged in already.
   */
  plug(model: UsbDeviceModel): void {
    if (this.#plugged.has(model)) throw new Error('The virtual device is already plugged in.')
    const plugged = new PluggedDevice(model)
    this.#plugged.set(model, plugged)
    model.plugged({ unplug: () => this.unplug(model), suspend: () => this.suspend(model) })
    for (const context of this.#contexts) context.deviceArrived(plugged)
  }

  /**
   * Unplugs a device. Pending transfers reject, and each context with permission gets a `disconnect` event. Has no
   * effect if the device is not plugged in.
   */
  unplug(model: UsbDeviceModel): void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined) return
    this.#plugged.delete(model)
    plugged.isPlugged = false
    plugged.claims.clear()
    model.unplugged()
    for (const context of this.#contexts) context.deviceLeft(plugged)
  }

  /** Simulates suspend and resume of the computer: the device is reset, claims stay, pending transfers fail. */
  suspend(model: UsbDeviceModel): void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined) return
    for (const context of this.#contexts) context.deviceSlept(plugged)
    model.reset()
  }

  /** Creates the `navigator.usb` of a page. */
  context(options: VirtualUsbOptions = {}): VirtualUsb {
    const context = new VirtualUsb(this, options)
    this.#contexts.push(context)
    return context
  }

  /**
   * Claims an interface for another program, such as pcscd, until the returned function is called. Throws Error if the
   * interface is claimed.
   */
  occupy(model: UsbDeviceModel, interfaceNumber: number): () => void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined)
      throw new Error('The virtual device is not plugged in. Plug it in before you occupy an interface.')
    const owner = {}
    if (plugged.claims.has(interfaceNumber))
      throw new Error(`Interface ${interfaceNumber} is already claimed.`)
    plugged.claims.set(interfaceNumber, owner)
    return () => {
      if (plugged.claims.get(interfaceNumber) === owner) plugged.claims.delete(interfaceNumber)
    }
  }
}

/**
 * Creates a bus with these devices and returns the `navigator.usb` of one page on it.
 *
 * ```ts
 * const usb = virtualUsb([new VirtualCcidReader(readerProfiles.dualiAbcm6)])
 * const [device] = await usb.getDevices()
 * ```
 */
export function virtualUsb(devices: readonly UsbDeviceModel[], options: VirtualUsbOptions = {}): VirtualUsb {
  const bus = new VirtualBus()
  for (const device of devices) bus.plug(device)
  return bus.context(options)
}
