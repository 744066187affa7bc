/** The `navigator.usb` of a page on a virtual bus, with the behaviour of Chromium 156 (WebUSB, 4). */
import { readConfiguration } from './descriptors.ts'
import type { PluggedDevice, PluggedDevices } from './plugged-device.ts'
import type { UsbContext, VirtualUsbOptions } from './browser-options.ts'
import { VirtualUsbDevice } from './virtual-usb-device.ts'
import type {
  UsbConnectionListener,
  UsbDeviceFilter,
  UsbDeviceRequestOptions,
  UsbDeviceShape,
} from './w3c.ts'

/** WebUSB, USBConnectionEvent. */
export class VirtualUsbConnectionEvent extends Event {
  readonly device: UsbDeviceShape

  constructor(type: string, init: EventInit & { device: UsbDeviceShape }) {
    super(type, init)
    this.device = init.device
  }
}

/** WebUSB, USB. An instance is assignable to the type `USB`. */
export class VirtualUsb extends EventTarget implements UsbContext {
  readonly options: Required<VirtualUsbOptions>
  onconnect: UsbConnectionListener | null = null
  ondisconnect: UsbConnectionListener | null = null
  readonly #bus: PluggedDevices
  readonly #devices = new Map<PluggedDevice, VirtualUsbDevice>()
  // As in Chromium, permission survives unplugging only for a device with a serial number:
  // https://github.com/chromium/chromium/blob/5b83ed465231eb0bb65d444348d89cb5a66501a0/chrome/browser/usb/usb_chooser_context.cc#L63-L65
  readonly #grants = new Set<PluggedDevice | string>()
  readonly #refusals = new Set<PluggedDevice | string>()

  constructor(bus: PluggedDevices, options: VirtualUsbOptions) {
    super()
    this.#bus = bus
    this.options = {
      protectedClasses: true,
      granted: 'all',
      choose: (candidates) => candidates[0],
      unplugError: 'AbortError',
      unplugOrder: 'after-event',
      denyOpen: false,
      ...options,
    }
  }

  /** Resolves to the devices for which the page has permission. */
  async getDevices(): Promise<VirtualUsbDevice[]> {
    await Promise.resolve()
    return this.#bus.devices
      .filter((plugged) => this.#isGranted(plugged))
      .map((plugged) => this.#deviceOf(plugged))
  }

  /**
   * Shows the chooser and resolves to the chosen device. Rejects with NotFoundError if none is chosen, and TypeError
   * for invalid filters.
   */
  async requestDevice(options?: UsbDeviceRequestOptions): Promise<VirtualUsbDevice> {
    const prefix = "Failed to execute 'requestDevice' on 'USB': "
    if (options === undefined) throw new TypeError(`${prefix}1 argument required, but only 0 present.`)
    if (!Array.isArray(options.filters))
      throw new TypeError(
        `${prefix}Failed to read the 'filters' property from 'USBDeviceRequestOptions': Required member is undefined.`,
      )
    for (const filter of [...options.filters, ...(options.exclusionFilters ?? [])])
      checkFilter(filter, prefix)
    await Promise.resolve()
    const candidates = this.#bus.devices.filter(
      (plugged) =>
        (options.filters.length === 0 || options.filters.some((filter) => matches(plugged, filter))) &&
        !options.exclusionFilters?.some((filter) => matches(plugged, filter)),
    )
    const shown = candidates.map((plugged) => this.#deviceOf(plugged))
    const chosen = shown.indexOf(this.options.choose(shown) as VirtualUsbDevice)
    const plugged = candidates[chosen]
    if (plugged === undefined) throw new DOMException(`${prefix}No device selected.`, 'NotFoundError')
    this.#grants.add(grantKey(plugged))
    this.#refusals.delete(grantKey(plugged))
    return this.#deviceOf(plugged)
  }

  override addEventListener(
    type: 'connect' | 'disconnect',
    listener: UsbConnectionListener,
    options?: boolean | AddEventListenerOptions,
  ): void
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void
  override addEventListener(
    type: string,
    listener: UsbConnectionListener | EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options)
  }

  override removeEventListener(
    type: 'connect' | 'disconnect',
    listener: UsbConnectionListener,
    options?: boolean | EventListenerOptions,
  ): void
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void
  override removeEventListener(
    type: string,
    listener: UsbConnectionListener | EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options)
  }

  /** Called by the bus when a device is plugged in. */
  deviceArrived(plugged: PluggedDevice): void {
    if (this.#isGranted(plugged)) this.#dispatch('connect', this.#deviceOf(plugged))
  }

  /** Called by the bus when a device is unplugged. */
  deviceLeft(plugged: PluggedDevice): void {
    const isGranted = this.#isGranted(plugged)
    const device = this.#deviceOf(plugged)
    this.#devices.delete(plugged)
    this.#grants.delete(plugged)
    device.disconnected(() => {
      if (isGranted) this.#dispatch('disconnect', device)
    })
  }

  /** Called by the bus when the computer is suspended. */
  deviceSlept(plugged: PluggedDevice): void {
    this.#devices.get(plugged)?.slept()
  }

  /** Revokes the page's permission for a device. */
  forget(plugged: PluggedDevice): void {
    this.#grants.delete(grantKey(plugged))
    this.#refusals.add(grantKey(plugged))
    this.#devices.delete(plugged)
  }

  #isGranted(plugged: PluggedDevice): boolean {
    const key = grantKey(plugged)
    return this.#grants.has(key) || (this.options.granted === 'all' && !this.#refusals.has(key))
  }

  #deviceOf(plugged: PluggedDevice): VirtualUsbDevice {
    let device = this.#devices.get(plugged)
    if (device === undefined) {
      device = new VirtualUsbDevice(this, plugged)
      this.#devices.set(plugged, device)
    }
    return device
  }

  #dispatch(type: 'connect' | 'disconnect', device: VirtualUsbDevice): void {
    // Browsers dispatch events in separate tasks. A microtask is enough to let the caller's code finish first.
    queueMicrotask(() => {
      const event = new VirtualUsbConnectionEvent(type, { device })
      if (type === 'connect') this.onconnect?.(event)
      else this.ondisconnect?.(event)
      this.dispatchEvent(event)
    })
  }
}

function grantKey(plugged: PluggedDevice): PluggedDevice | string {
  const d = plugged.model.deviceDescriptor
  const serial = plugged.model.strings[d[16] || -1]
  return serial === undefined ? plugged : `${d.slice(8, 12).join('.')} ${serial}`
}

function checkFilter(filter: UsbDeviceFilter, prefix: string): void {
  if (filter.productId !== undefined && filter.vendorId === undefined)
    throw new TypeError(`${prefix}A filter containing a productId must also contain a vendorId.`)
  if (filter.subclassCode !== undefined && filter.classCode === undefined)
    throw new TypeError(`${prefix}A filter containing a subclassCode must also contain a classCode.`)
  if (filter.protocolCode !== undefined && filter.subclassCode === undefined)
    throw new TypeError(`${prefix}A filter containing a protocolCode must also contain a subclassCode.`)
}

// WebUSB, "matches a device filter": a class matches the device class or the class of any interface.
function matches(plugged: PluggedDevice, filter: UsbDeviceFilter): boolean {
  const d = plugged.model.deviceDescriptor
  const at16 = (offset: number): number => (d[offset] ?? 0) | ((d[offset + 1] ?? 0) << 8)
  if (filter.vendorId !== undefined && filter.vendorId !== at16(8)) return false
  if (filter.productId !== undefined && filter.productId !== at16(10)) return false
  if (filter.serialNumber !== undefined && filter.serialNumber !== plugged.model.strings[d[16] || -1])
    return false
  if (filter.classCode === undefined) return true
  const fits = (code: number, subclass: number, protocol: number): boolean =>
    code === filter.classCode &&
    (filter.subclassCode === undefined || filter.subclassCode === subclass) &&
    (filter.protocolCode === undefined || filter.protocolCode === protocol)
  if (fits(d[4] ?? 0, d[5] ?? 0, d[6] ?? 0)) return true
  return plugged.model.configurationDescriptors.some((bytes) =>
    readConfiguration(bytes).alternates.some((a) =>
      fits(a.interfaceClass, a.interfaceSubclass, a.interfaceProtocol),
    ),
  )
}
