/** A `USBDevice` with the behaviour of Chromium 156, including its exceptions and their messages (WebUSB, 4). */
import { copyOf, dataViewOf } from '../bytes.ts'
import { readConfiguration } from './descriptors.ts'
import type { InResult } from './device-model.ts'
import { readVersion } from './packet-device.ts'
import type { PluggedDevice } from './plugged-device.ts'
import type { UsbContext } from './browser-options.ts'
import type {
  UsbConfiguration,
  UsbControlTransferParameters,
  UsbDeviceShape,
  UsbDirection,
  UsbEndpoint,
  UsbInTransferResult,
  UsbOutTransferResult,
} from './w3c.ts'

// Chromium's GetProtectedInterfaceClasses():
// https://github.com/chromium/chromium/blob/4a02d170a94646b02c6165c1acb1cb27319ce1ac/content/browser/usb/web_usb_service_impl.cc#L241-L248
const protectedClasses: ReadonlySet<number> = new Set([0x01, 0x03, 0x08, 0x0b, 0x0e, 0x10, 0xe0])

const messages = {
  disconnected: 'The device was disconnected.',
  notOpen: 'The device must be opened first.',
  notConfigured: 'The device must have a configuration selected.',
  stateChange: 'An operation that changes the device state is in progress.',
  interfaceChange: 'An operation that changes interface state is in progress.',
  noInterface: 'The interface number provided is not supported by the device in its current configuration.',
  notClaimed: 'The specified interface has not been claimed.',
  noEndpoint: 'The specified endpoint is not part of a claimed and selected alternate interface.',
  endpointRange: 'The specified endpoint number is out of range.',
  protectedClass: 'The requested interface implements a protected class.',
  cannotClaim: 'Unable to claim interface.',
  transferError: 'A transfer error has occurred.',
  cancelled: 'The transfer was cancelled.',
  notAllowed: 'The transfer was not allowed.',
} as const

interface Pending {
  readonly endpoint: number
  readonly method: string
  readonly cancel: () => void
  readonly reject: (error: DOMException) => void
}

interface InterfaceState {
  claimed: boolean
  alternateSetting: number
}

/** WebUSB, USBDevice: the object of one page for one connection of a device. */
export class VirtualUsbDevice implements UsbDeviceShape {
  readonly usbVersionMajor: number
  readonly usbVersionMinor: number
  readonly usbVersionSubminor: number
  readonly deviceClass: number
  readonly deviceSubclass: number
  readonly deviceProtocol: number
  readonly vendorId: number
  readonly productId: number
  readonly deviceVersionMajor: number
  readonly deviceVersionMinor: number
  readonly deviceVersionSubminor: number
  readonly manufacturerName: string | null
  readonly productName: string | null
  readonly serialNumber: string | null
  readonly configurations: UsbConfiguration[]
  readonly #usb: UsbContext
  readonly #plugged: PluggedDevice
  readonly #interfaces = new Map<number, InterfaceState>()
  #opened = false
  #configurationValue: number
  #deviceChanging = false
  #interfaceChanging = new Set<number>()
  #pending = new Set<Pending>()
  #forgotten = false

  constructor(usb: UsbContext, plugged: PluggedDevice) {
    this.#usb = usb
    this.#plugged = plugged
    const { deviceDescriptor: d, strings, configurationDescriptors } = plugged.model
    ;[this.usbVersionMajor, this.usbVersionMinor, this.usbVersionSubminor] = readVersion(d, 2)
    this.deviceClass = d[4] ?? 0
    this.deviceSubclass = d[5] ?? 0
    this.deviceProtocol = d[6] ?? 0
    this.vendorId = (d[8] ?? 0) | ((d[9] ?? 0) << 8)
    this.productId = (d[10] ?? 0) | ((d[11] ?? 0) << 8)
    ;[this.deviceVersionMajor, this.deviceVersionMinor, this.deviceVersionSubminor] = readVersion(d, 12)
    const text = (index: number | undefined): string | null => (index ? (strings[index] ?? null) : null)
    this.manufacturerName = text(d[14])
    this.productName = text(d[15])
    this.serialNumber = text(d[16])
    this.#configurationValue = plugged.configurationValue
    this.configurations = configurationDescriptors.map((bytes) => this.#shapeOf(bytes))
  }

  get opened(): boolean {
    return this.#opened
  }

  get configuration(): UsbConfiguration | null {
    return this.configurations.find((c) => c.configurationValue === this.#configurationValue) ?? null
  }

  async open(): Promise<void> {
    const method = 'open'
    this.#ensureNoChange(method)
    if (this.#opened) return
    await this.#changeDevice(method, () => {
      if (this.#usb.options.denyOpen) throw fail(method, 'SecurityError', 'Access denied.')
      this.#opened = true
      this.#configurationValue = this.#plugged.configurationValue
    })
  }

  async close(): Promise<void> {
    const method = 'close'
    this.#ensureNoChange(method)
    if (!this.#opened) return
    await this.#changeDevice(method, () => this.#closeNow('AbortError', messages.cancelled))
  }

  async forget(): Promise<void> {
    await Promise.resolve()
    if (this.#opened) this.#closeNow('AbortError', messages.cancelled)
    this.#forgotten = true
    this.#usb.forget(this.#plugged)
  }

  async selectConfiguration(configurationValue: number): Promise<void> {
    const method = 'selectConfiguration'
    this.#ensureNoChange(method)
    if (!this.#opened) throw fail(method, 'InvalidStateError', messages.notOpen)
    if (!this.configurations.some((c) => c.configurationValue === configurationValue))
      throw fail(method, 'NotFoundError', 'The configuration value provided is not supported by the device.')
    // Chromium does not send a request for the active configuration:
    // https://github.com/chromium/chromium/blob/cd82020c471ccfc4b93cf33a3012fe6cdc9269a6/third_party/blink/renderer/modules/webusb/usb_device.cc#L292-L293
    if (configurationValue === this.#configurationValue) return
    await this.#changeDevice(method, () => {
      for (const owner of this.#plugged.claims.values()) {
        if (owner !== this) throw fail(method, 'NetworkError', 'Unable to set device configuration.')
      }
      this.#releaseAll()
      this.#failTransfers([...this.#pending], 'NetworkError', messages.transferError)
      this.#plugged.configurationValue = configurationValue
      this.#configurationValue = configurationValue
      this.#plugged.model.setConfiguration(configurationValue)
    })
  }

  async claimInterface(interfaceNumber: number): Promise<void> {
    const method = 'claimInterface'
    this.#ensureConfigured(method)
    const state = this.#interfaceState(method, interfaceNumber)
    if (state.claimed) return
    await this.#changeInterface(method, interfaceNumber, () => {
      if (this.#usb.options.protectedClasses && this.#isProtected(interfaceNumber))
        throw fail(method, 'SecurityError', messages.protectedClass)
      const owner = this.#plugged.claims.get(interfaceNumber)
      // The message is the same if another page, pcscd or a kernel driver is the owner.
      if (owner !== undefined && owner !== this) throw fail(method, 'NetworkError', messages.cannotClaim)
      this.#plugged.claims.set(interfaceNumber, this)
      state.claimed = true
      state.alternateSetting = 0
      this.#plugged.model.interfaceClaimed?.(interfaceNumber)
    })
  }

  async releaseInterface(interfaceNumber: number): Promise<void> {
    const method = 'releaseInterface'
    this.#ensureConfigured(method)
    const state = this.#interfaceState(method, interfaceNumber)
    if (!state.claimed) return
    await this.#changeInterface(method, interfaceNumber, () => {
      const endpoints = new Set(this.#endpointAddresses(interfaceNumber))
      this.#release(interfaceNumber, state)
      // The kernel kills the transfers of the interface. Chromium itself does not cancel them.
      const killed = [...this.#pending].filter((pending) => endpoints.has(pending.endpoint))
      this.#failTransfers(killed, 'NetworkError', messages.transferError)
    })
  }

  async selectAlternateInterface(interfaceNumber: number, alternateSetting: number): Promise<void> {
    const method = 'selectAlternateInterface'
    this.#ensureClaimed(method, interfaceNumber)
    const usbInterface = this.configuration?.interfaces.find((i) => i.interfaceNumber === interfaceNumber)
    if (!usbInterface?.alternates.some((a) => a.alternateSetting === alternateSetting))
      throw fail(
        method,
        'NotFoundError',
        'The alternate setting provided is not supported by the device in its current configuration.',
      )
    await this.#changeInterface(method, interfaceNumber, () => {
      const endpoints = new Set(this.#endpointAddresses(interfaceNumber))
      const killed = [...this.#pending].filter((pending) => endpoints.has(pending.endpoint))
      this.#failTransfers(killed, 'NetworkError', messages.transferError)
      ;(this.#interfaces.get(interfaceNumber) as InterfaceState).alternateSetting = alternateSetting
      this.#plugged.model.selectAlternate(interfaceNumber, alternateSetting)
    })
  }

  async controlTransferIn(setup: UsbControlTransferParameters, length: number): Promise<UsbInTransferResult> {
    const method = 'controlTransferIn'
    this.#ensureControl(method, setup)
    await Promise.resolve()
    this.#ensureTransfer(method)
    this.#ensureControlAllowed(method, setup)
    const response = this.#plugged.model.control(setupPacket(setup, 0x80, length), new Uint8Array())
    if (response === 'stall') return { status: 'stall' }
    return { status: 'ok', data: dataViewOf(response) }
  }

  async controlTransferOut(
    setup: UsbControlTransferParameters,
    data: BufferSource = new Uint8Array(),
  ): Promise<UsbOutTransferResult> {
    const method = 'controlTransferOut'
    this.#ensureControl(method, setup)
    const bytes = copyOf(data)
    await Promise.resolve()
    this.#ensureTransfer(method)
    if (setup.requestType === 'standard') throw fail(method, 'SecurityError', messages.notAllowed)
    this.#ensureControlAllowed(method, setup)
    const response = this.#plugged.model.control(setupPacket(setup, 0, bytes.length), bytes)
    return response === 'stall'
      ? { status: 'stall', bytesWritten: 0 }
      : { status: 'ok', bytesWritten: bytes.length }
  }

  async clearHalt(direction: UsbDirection, endpointNumber: number): Promise<void> {
    const method = 'clearHalt'
    const endpoint = this.#endpoint(method, direction, endpointNumber)
    await Promise.resolve()
    this.#ensureTransfer(method)
    this.#plugged.model.clearHalt(endpoint)
  }

  async transferIn(endpointNumber: number, length: number): Promise<UsbInTransferResult> {
    const method = 'transferIn'
    const endpoint = this.#endpoint(method, 'in', endpointNumber)
    return await new Promise<UsbInTransferResult>((resolve, reject) => {
      let isDone = false
      let cancel = (): void => {}
      const pending: Pending = {
        endpoint,
        method,
        cancel: () => cancel(),
        reject: (error) => {
          isDone = true
          reject(error)
        },
      }
      this.#pending.add(pending)
      cancel = this.#plugged.model.submitIn(endpoint, length, (result: InResult) => {
        this.#pending.delete(pending)
        if (isDone) return
        resolve(
          result.status === 'stall'
            ? { status: 'stall' }
            : { status: result.status, data: dataViewOf(result.data) },
        )
      })
    })
  }

  async transferOut(endpointNumber: number, data: BufferSource): Promise<UsbOutTransferResult> {
    const method = 'transferOut'
    const endpoint = this.#endpoint(method, 'out', endpointNumber)
    const bytes = copyOf(data)
    const status = this.#plugged.model.out(endpoint, bytes)
    await Promise.resolve()
    if (!this.#plugged.isPlugged) throw this.#unplugError(method)
    return { status, bytesWritten: status === 'ok' ? bytes.length : 0 }
  }

  async isochronousTransferIn(_endpointNumber: number, _packetLengths: number[]): Promise<never> {
    throw fail('isochronousTransferIn', 'NotSupportedError', 'Virtual devices have no isochronous endpoints.')
  }

  async isochronousTransferOut(
    _endpointNumber: number,
    _data: BufferSource,
    _packetLengths: number[],
  ): Promise<never> {
    throw fail(
      'isochronousTransferOut',
      'NotSupportedError',
      'Virtual devices have no isochronous endpoints.',
    )
  }

  async reset(): Promise<void> {
    const method = 'reset'
    this.#ensureNoChange(method)
    if (!this.#opened) throw fail(method, 'InvalidStateError', messages.notOpen)
    await this.#changeDevice(method, () => {
      this.#failTransfers([...this.#pending], 'NetworkError', messages.transferError)
      this.#plugged.model.reset()
    })
  }

  /** Called when the computer is suspended. Pending transfers fail; the page gets no event. */
  slept(): void {
    this.#failTransfers([...this.#pending], 'NetworkError', messages.transferError)
  }

  /** Called when the device is unplugged. `dispatch` sends the `disconnect` event. */
  disconnected(dispatch: () => void): void {
    const pending = [...this.#pending]
    this.#pending.clear()
    this.#opened = false
    this.#interfaces.clear()
    const reject = (): void => {
      for (const transfer of pending) {
        transfer.cancel()
        transfer.reject(this.#unplugError(transfer.method))
      }
    }
    if (this.#usb.options.unplugOrder === 'before-event') {
      reject()
      // The additional microtasks let the rejection handlers run before the event listeners.
      void Promise.resolve()
        .then(() => {})
        .then(() => {})
        .then(dispatch)
    } else {
      dispatch()
      void Promise.resolve()
        .then(() => {})
        .then(() => {})
        .then(reject)
    }
  }

  #unplugError(method: string): DOMException {
    return this.#usb.options.unplugError === 'AbortError'
      ? fail(method, 'AbortError', messages.cancelled)
      : fail(method, 'NetworkError', messages.transferError)
  }

  #closeNow(name: 'AbortError', message: string): void {
    this.#opened = false
    this.#releaseAll()
    this.#failTransfers([...this.#pending], name, message)
  }

  #releaseAll(): void {
    for (const [number, state] of this.#interfaces) if (state.claimed) this.#release(number, state)
  }

  #release(interfaceNumber: number, state: InterfaceState): void {
    state.claimed = false
    state.alternateSetting = 0
    if (this.#plugged.claims.get(interfaceNumber) === this) this.#plugged.claims.delete(interfaceNumber)
    this.#plugged.model.interfaceReleased?.(interfaceNumber)
  }

  #failTransfers(transfers: readonly Pending[], name: 'AbortError' | 'NetworkError', message: string): void {
    for (const transfer of transfers) {
      this.#pending.delete(transfer)
      transfer.cancel()
      transfer.reject(fail(transfer.method, name, message))
    }
  }

  async #changeDevice(method: string, change: () => void): Promise<void> {
    this.#deviceChanging = true
    try {
      await Promise.resolve()
      this.#ensureConnected(method)
      change()
    } finally {
      this.#deviceChanging = false
    }
  }

  async #changeInterface(method: string, interfaceNumber: number, change: () => void): Promise<void> {
    this.#interfaceChanging.add(interfaceNumber)
    try {
      await Promise.resolve()
      this.#ensureConnected(method)
      change()
    } finally {
      this.#interfaceChanging.delete(interfaceNumber)
    }
  }

  #ensureConnected(method: string): void {
    if (!this.#plugged.isPlugged || this.#forgotten)
      throw fail(method, 'NotFoundError', messages.disconnected)
  }

  #ensureNoChange(method: string): void {
    this.#ensureConnected(method)
    if (this.#deviceChanging) throw fail(method, 'InvalidStateError', messages.stateChange)
    if (this.#interfaceChanging.size > 0) throw fail(method, 'InvalidStateError', messages.interfaceChange)
  }

  #ensureConfigured(method: string): void {
    this.#ensureConnected(method)
    if (this.#deviceChanging) throw fail(method, 'InvalidStateError', messages.stateChange)
    if (!this.#opened) throw fail(method, 'InvalidStateError', messages.notOpen)
    if (this.configuration === null) throw fail(method, 'InvalidStateError', messages.notConfigured)
  }

  // The device can be unplugged while the call is on its way to the browser process.
  #ensureTransfer(method: string): void {
    if (!this.#plugged.isPlugged) throw this.#unplugError(method)
  }

  #interfaceState(method: string, interfaceNumber: number): InterfaceState {
    if (!this.configuration?.interfaces.some((i) => i.interfaceNumber === interfaceNumber))
      throw fail(method, 'NotFoundError', messages.noInterface)
    if (this.#interfaceChanging.has(interfaceNumber))
      throw fail(method, 'InvalidStateError', messages.interfaceChange)
    let state = this.#interfaces.get(interfaceNumber)
    if (state === undefined) {
      state = { claimed: false, alternateSetting: 0 }
      this.#interfaces.set(interfaceNumber, state)
    }
    return state
  }

  #ensureClaimed(method: string, interfaceNumber: number): void {
    this.#ensureConfigured(method)
    if (!this.#interfaceState(method, interfaceNumber).claimed)
      throw fail(method, 'InvalidStateError', messages.notClaimed)
  }

  #endpoint(method: string, direction: UsbDirection, endpointNumber: number): number {
    this.#ensureConfigured(method)
    if (!Number.isInteger(endpointNumber) || endpointNumber < 1 || endpointNumber > 15)
      throw fail(method, 'IndexSizeError', messages.endpointRange)
    for (const usbInterface of this.configuration?.interfaces ?? []) {
      if (!usbInterface.claimed || this.#interfaceChanging.has(usbInterface.interfaceNumber)) continue
      const found = usbInterface.alternate.endpoints.some(
        (e) => e.direction === direction && e.endpointNumber === endpointNumber,
      )
      if (found) return endpointNumber | (direction === 'in' ? 0x80 : 0)
    }
    throw fail(method, 'NotFoundError', messages.noEndpoint)
  }

  #ensureControl(method: string, setup: UsbControlTransferParameters): void {
    this.#ensureConnected(method)
    if (this.#deviceChanging) throw fail(method, 'InvalidStateError', messages.stateChange)
    if (!this.#opened) throw fail(method, 'InvalidStateError', messages.notOpen)
    if (setup.recipient === 'interface') this.#ensureClaimed(method, setup.index & 0xff)
    if (setup.recipient === 'endpoint')
      this.#endpoint(method, setup.index & 0x80 ? 'in' : 'out', setup.index & 0x0f)
  }

  // Chromium's WebUsbProtectedClassControlTransferBlock: class requests on endpoint 0 cannot reach a protected interface.
  // https://github.com/chromium/chromium/commit/89b42d2d3326ebad6e0494009d5d92f2dbaf12ef
  #ensureControlAllowed(method: string, setup: UsbControlTransferParameters): void {
    if (!this.#usb.options.protectedClasses) return
    if (
      setup.requestType === 'class' &&
      setup.recipient === 'device' &&
      this.#isProtected(setup.index & 0xff)
    )
      throw fail(method, 'SecurityError', messages.notAllowed)
  }

  #isProtected(interfaceNumber: number): boolean {
    const usbInterface = this.configuration?.interfaces.find((i) => i.interfaceNumber === interfaceNumber)
    return usbInterface?.alternates.some((a) => protectedClasses.has(a.interfaceClass)) ?? false
  }

  #endpointAddresses(interfaceNumber: number): number[] {
    const usbInterface = this.configuration?.interfaces.find((i) => i.interfaceNumber === interfaceNumber)
    return (usbInterface?.alternates ?? []).flatMap((a) =>
      a.endpoints.map((e) => e.endpointNumber | (e.direction === 'in' ? 0x80 : 0)),
    )
  }

  #shapeOf(bytes: Uint8Array): UsbConfiguration {
    const facts = readConfiguration(bytes)
    const numbers = [...new Set(facts.alternates.map((a) => a.interfaceNumber))]
    const interfaces = numbers.map((interfaceNumber) => {
      const alternates = facts.alternates
        .filter((a) => a.interfaceNumber === interfaceNumber)
        .map((a) => ({
          alternateSetting: a.alternateSetting,
          interfaceClass: a.interfaceClass,
          interfaceSubclass: a.interfaceSubclass,
          interfaceProtocol: a.interfaceProtocol,
          interfaceName: this.#plugged.model.strings[a.nameIndex || -1] ?? null,
          endpoints: a.endpoints.map(
            (e): UsbEndpoint => ({
              endpointNumber: e.address & 0x0f,
              direction: e.address & 0x80 ? 'in' : 'out',
              type: e.type === 'control' ? 'bulk' : e.type,
              packetSize: e.packetBytes,
            }),
          ),
        }))
      const states = this.#interfaces
      return {
        interfaceNumber,
        alternates,
        get alternate() {
          const setting = states.get(interfaceNumber)?.alternateSetting ?? 0
          return (
            alternates.find((a) => a.alternateSetting === setting) ??
            (alternates[0] as (typeof alternates)[0])
          )
        },
        get claimed() {
          return states.get(interfaceNumber)?.claimed ?? false
        },
      }
    })
    return { configurationValue: facts.configurationValue, configurationName: null, interfaces }
  }
}

type ExceptionName =
  | 'AbortError'
  | 'IndexSizeError'
  | 'InvalidStateError'
  | 'NetworkError'
  | 'NotFoundError'
  | 'NotSupportedError'
  | 'SecurityError'

function fail(method: string, name: ExceptionName, message: string): DOMException {
  return new DOMException(`Failed to execute '${method}' on 'USBDevice': ${message}`, name)
}

function setupPacket(setup: UsbControlTransferParameters, direction: number, length: number) {
  const type = { standard: 0x00, class: 0x20, vendor: 0x40 }[setup.requestType]
  const recipient = { device: 0, interface: 1, endpoint: 2, other: 3 }[setup.recipient]
  return {
    bmRequestType: direction | type | recipient,
    bRequest: setup.request,
    wValue: setup.value,
    wIndex: setup.index,
    wLength: length,
  }
}
