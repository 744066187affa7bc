/** The sockets that virtual devices are plugged into, shared by every page (context) that looks at them. */
import type { UsbDeviceModel } from './device-model.ts'
import { PluggedDevice } from './plugged-device.ts'
import type { VirtualUsbOptions } from './browser-options.ts'
import { VirtualUsb } from './virtual-usb.ts'

/** A bus: devices come and go, contexts watch. */
export class VirtualBus {
  readonly #plugged = new Map<UsbDeviceModel, PluggedDevice>()
  readonly #contexts: VirtualUsb[] = []

  /** Devices in the order they were plugged. */
  get devices(): readonly PluggedDevice[] {
    return [...this.#plugged.values()]
  }

  /** Plugs the device in; `connect` is told to every context that may see it. */
  plug(model: UsbDeviceModel): void {
    if (this.#plugged.has(model)) throw new Error('The virtual device is plugged in already.')
    const plugged = new PluggedDevice(model)
    this.#plugged.set(model, plugged)
    model.plugged({ unplug: () => this.unplug(model), suspend: () => this.suspend(model) })
    for (const context of this.#contexts) context.deviceArrived(plugged)
  }

  /** Pulls the device; pending transfers reject, `disconnect` is told. Nothing happens if it is out already. */
  unplug(model: UsbDeviceModel): void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined) return
    this.#plugged.delete(model)
    plugged.isPlugged = false
    plugged.claims.clear()
    model.unplugged()
    for (const context of this.#contexts) context.deviceLeft(plugged)
  }

  /** The computer sleeps and wakes: the device forgets all as at a bus reset, claims stay, pending transfers fail. */
  suspend(model: UsbDeviceModel): void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined) return
    for (const context of this.#contexts) context.deviceSlept(plugged)
    model.reset()
  }

  /** A page's own view: its `navigator.usb`. */
  context(options: VirtualUsbOptions = {}): VirtualUsb {
    const context = new VirtualUsb(this, options)
    this.#contexts.push(context)
    return context
  }

  /** Another program, pcscd for one, holds the interface until the returned function is called. */
  occupy(model: UsbDeviceModel, interfaceNumber: number): () => void {
    const plugged = this.#plugged.get(model)
    if (plugged === undefined) throw new Error('The virtual device is not plugged in.')
    const owner = {}
    if (plugged.claims.has(interfaceNumber)) throw new Error('The interface is claimed already.')
    plugged.claims.set(interfaceNumber, owner)
    return () => {
      if (plugged.claims.get(interfaceNumber) === owner) plugged.claims.delete(interfaceNumber)
    }
  }
}

/** One bus with these devices and one page on it: the shortest way to a `navigator.usb`. */
export function virtualUsb(devices: readonly UsbDeviceModel[], options: VirtualUsbOptions = {}): VirtualUsb {
  const bus = new VirtualBus()
  for (const device of devices) bus.plug(device)
  return bus.context(options)
}
