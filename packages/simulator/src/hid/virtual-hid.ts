/** The `navigator.hid` of a page with virtual devices, with the behaviour of Chromium (WebHID, 5 to 8). */
import { copyOf, dataViewOf } from '../bytes.ts'
import type { HidDeviceModel } from './device.ts'
import { type HidCollection, readCollections } from './report-descriptor.ts'

/** WebHID, HIDDeviceFilter. */
export interface HidDeviceFilter {
  readonly vendorId?: number
  readonly productId?: number
  readonly usagePage?: number
  readonly usage?: number
}

/** WebHID, HIDDeviceRequestOptions. */
export interface HidDeviceRequestOptions {
  readonly filters: readonly HidDeviceFilter[]
  readonly exclusionFilters?: readonly HidDeviceFilter[]
}

/** Options of a virtual `navigator.hid`. */
export interface VirtualHidOptions {
  /**
   * True (default) if FIDO, keyboard, mouse, keypad and system control collections are hidden from the page. False for
   * Electron or Node.
   */
  readonly protectedUsages?: boolean
  /** 'all' (default) if the page has permission for all devices from the start, 'none' if it must call requestDevice. */
  readonly granted?: 'all' | 'none'
  /**
   * Simulates the person at the device chooser. Returns a candidate, or undefined to cancel. Default: the first
   * candidate.
   */
  readonly choose?: (candidates: readonly VirtualHidDevice[]) => VirtualHidDevice | undefined
  /** True if open() rejects, as without a udev rule or with another owner. Default false. */
  readonly denyOpen?: boolean
}

/** WebHID, HIDConnectionEvent. */
export class VirtualHidConnectionEvent extends Event {
  readonly device: VirtualHidDevice

  constructor(type: string, device: VirtualHidDevice) {
    super(type)
    this.device = device
  }
}

/** WebHID, HIDInputReportEvent. */
export class VirtualHidInputReportEvent extends Event {
  readonly device: VirtualHidDevice
  readonly reportId: number
  readonly data: DataView

  constructor(device: VirtualHidDevice, reportId: number, data: DataView) {
    super('inputreport')
    this.device = device
    this.reportId = reportId
    this.data = data
  }
}

const FIDO_PAGE = 0xf1d0
const GENERIC_DESKTOP = 0x01
/**
 * Returns true for FIDO, pointer, mouse, keyboard, keypad and the usages 80 to B7, of which Chromium protects the system
 * controls 80 to 8F and A0 to B6:
 * https://github.com/chromium/chromium/blob/098756533733ea50b2dcb1c40d9a9e18d49febbe/services/device/public/cpp/hid/hid_usage_and_page.cc#L9-L37
 */
function isProtected({ usagePage, usage }: HidCollection): boolean {
  if (usagePage === FIDO_PAGE || usagePage === 0x07) return true
  if (usagePage !== GENERIC_DESKTOP) return false
  return [0x01, 0x02, 0x06, 0x07].includes(usage) || (usage >= 0x80 && usage <= 0xb7)
}

/** WebHID, HIDDevice. */
export class VirtualHidDevice extends EventTarget {
  readonly vendorId: number
  readonly productId: number
  readonly productName: string
  /** The collections, without those that are hidden from the page. */
  readonly collections: readonly HidCollection[]
  opened = false
  oninputreport: ((event: VirtualHidInputReportEvent) => unknown) | null = null
  readonly #hid: VirtualHid
  readonly #model: HidDeviceModel

  constructor(hid: VirtualHid, model: HidDeviceModel) {
    super()
    this.#hid = hid
    this.#model = model
    this.vendorId = model.vendorId
    this.productId = model.productId
    this.productName = model.product
    this.collections = hid.visible(model)
  }

  async open(): Promise<void> {
    await Promise.resolve()
    if (!this.#hid.holds(this.#model))
      throw new DOMException(
        "Failed to execute 'open' on 'HIDDevice': Failed to open the device.",
        'NotAllowedError',
      )
    if (this.#hid.options.denyOpen || this.opened) {
      const why = this.opened ? 'The device is already open.' : 'Failed to open the device.'
      const name = this.opened ? 'InvalidStateError' : 'NotAllowedError'
      throw new DOMException(`Failed to execute 'open' on 'HIDDevice': ${why}`, name)
    }
    this.opened = true
  }

  async close(): Promise<void> {
    await Promise.resolve()
    this.opened = false
  }

  /** Closes the device and revokes the page's permission for it. */
  async forget(): Promise<void> {
    await this.close()
    this.#hid.forget(this.#model)
  }

  async sendReport(reportId: number, data: BufferSource): Promise<void> {
    const bytes = await this.#prepare('sendReport', 'output', reportId, data)
    this.#model.output(reportId, bytes)
  }

  async sendFeatureReport(reportId: number, data: BufferSource): Promise<void> {
    const bytes = await this.#prepare('sendFeatureReport', 'feature', reportId, data)
    if (this.#model.setFeature(reportId, bytes) === 'stall')
      throw refused('sendFeatureReport', 'Failed to write the feature report.')
  }

  /**
   * Resolves to a feature report. As in Chromium, the report ID precedes the data; it is 0 if reports are not numbered.
   */
  async receiveFeatureReport(reportId: number): Promise<DataView> {
    await this.#prepare('receiveFeatureReport', 'feature', reportId, new Uint8Array(0))
    const data = this.#model.getFeature(reportId)
    if (data === 'stall') throw refused('receiveFeatureReport', 'Failed to receive the feature report.')
    return dataViewOf(Uint8Array.of(reportId, ...data))
  }

  /** Checks that a call is permitted and resolves to a copy of its data, made at the time of the call. */
  async #prepare(
    call: string,
    kind: 'output' | 'feature',
    reportId: number,
    data: BufferSource,
  ): Promise<Uint8Array> {
    const bytes = copyOf(data)
    if (!Number.isInteger(reportId) || reportId < 0 || reportId > 255)
      throw new TypeError(
        `Failed to execute '${call}' on 'HIDDevice': Value is outside the 'octet' value range.`,
      )
    await Promise.resolve()
    if (!this.opened)
      throw new DOMException(
        `Failed to execute '${call}' on 'HIDDevice': The device must be opened first.`,
        'InvalidStateError',
      )
    // A call for a report of a hidden collection fails.
    const hasReport = this.collections.some((each) =>
      (kind === 'output' ? each.outputReports : each.featureReports).some(
        (report) => report.reportId === reportId,
      ),
    )
    if (!hasReport) throw refused(call, 'Failed to write the report.')
    return bytes
  }

  /** Called when the device sends an input report. */
  received(reportId: number, data: Uint8Array): void {
    const hasReport = this.collections.some((each) =>
      each.inputReports.some((report) => report.reportId === reportId),
    )
    if (!this.opened || !hasReport) return
    const view = dataViewOf(copyOf(data))
    queueMicrotask(() => {
      const event = new VirtualHidInputReportEvent(this, reportId, view)
      this.oninputreport?.(event)
      this.dispatchEvent(event)
    })
  }
}

function refused(call: string, why: string): DOMException {
  return new DOMException(`Failed to execute '${call}' on 'HIDDevice': ${why}`, 'NotAllowedError')
}

/** WebHID, HID. Virtual devices are plugged in and unplugged here. */
export class VirtualHid extends EventTarget {
  readonly options: Required<VirtualHidOptions>
  onconnect: ((event: VirtualHidConnectionEvent) => unknown) | null = null
  ondisconnect: ((event: VirtualHidConnectionEvent) => unknown) | null = null
  readonly #plugged = new Map<HidDeviceModel, VirtualHidDevice>()
  readonly #grants = new Set<HidDeviceModel>()
  readonly #refusals = new Set<HidDeviceModel>()

  constructor(options: VirtualHidOptions = {}) {
    super()
    this.options = {
      protectedUsages: true,
      granted: 'all',
      choose: (candidates) => candidates[0],
      denyOpen: false,
      ...options,
    }
  }

  /** Resolves to the devices for which the page has permission. */
  async getDevices(): Promise<VirtualHidDevice[]> {
    await Promise.resolve()
    return [...this.#plugged].filter(([model]) => this.#isGranted(model)).map(([, device]) => device)
  }

  /**
   * Shows the chooser and resolves to the chosen device in an array, which is empty if none is chosen. Rejects with
   * TypeError for invalid filters.
   */
  async requestDevice(options?: HidDeviceRequestOptions): Promise<VirtualHidDevice[]> {
    const prefix = "Failed to execute 'requestDevice' on 'HID': "
    if (!Array.isArray(options?.filters))
      throw new TypeError(`${prefix}Required member 'filters' is undefined.`)
    const { filters, exclusionFilters = [] } = options
    for (const filter of [...filters, ...exclusionFilters]) {
      if (Object.keys(filter).length === 0) throw new TypeError(`${prefix}A filter must not be empty.`)
      if (filter.productId !== undefined && filter.vendorId === undefined)
        throw new TypeError(`${prefix}A filter containing a productId must also contain a vendorId.`)
      if (filter.usage !== undefined && filter.usagePage === undefined)
        throw new TypeError(`${prefix}A filter containing a usage must also contain a usagePage.`)
    }
    await Promise.resolve()
    const fits = (device: VirtualHidDevice, all: readonly HidDeviceFilter[]): boolean =>
      all.some((filter) => matches(device, filter))
    // The chooser does not show a device whose collections are all protected.
    const candidates = [...this.#plugged.entries()].filter(
      ([, device]) =>
        device.collections.length > 0 &&
        (filters.length === 0 || fits(device, filters)) &&
        !fits(device, exclusionFilters),
    )
    const chosen = this.options.choose(candidates.map(([, device]) => device))
    const found = candidates.find(([, device]) => device === chosen)
    if (found === undefined) return []
    this.#grants.add(found[0])
    this.#refusals.delete(found[0])
    return [found[1]]
  }

  /**
   * Plugs in a device. A page with permission gets a `connect` event. Throws Error if the device is plugged in already.
   */
  plug(model: HidDeviceModel): void {
    if (this.#plugged.has(model)) throw new Error('The virtual device is already plugged in.')
    const device = new VirtualHidDevice(this, model)
    this.#plugged.set(model, device)
    model.plugged({ input: (reportId, data) => device.received(reportId, data) })
    if (this.#isGranted(model)) this.#dispatch('connect', device)
  }

  /** Unplugs a device. It is closed, and a page with permission gets a `disconnect` event. */
  unplug(model: HidDeviceModel): void {
    const device = this.#plugged.get(model)
    if (device === undefined) return
    const isGranted = this.#isGranted(model)
    this.#plugged.delete(model)
    device.opened = false
    model.unplugged()
    if (isGranted) this.#dispatch('disconnect', device)
  }

  /** Returns true if the device is plugged in and the page has permission for it. */
  holds(model: HidDeviceModel): boolean {
    return this.#plugged.has(model) && this.#isGranted(model)
  }

  /** Revokes the page's permission for a device. */
  forget(model: HidDeviceModel): void {
    this.#grants.delete(model)
    this.#refusals.add(model)
  }

  /** Returns the collections of a device that are visible to the page. */
  visible(model: HidDeviceModel): readonly HidCollection[] {
    const all = readCollections(model.reportDescriptor)
    return this.options.protectedUsages ? all.filter((each) => !isProtected(each)) : all
  }

  #isGranted(model: HidDeviceModel): boolean {
    if (this.visible(model).length === 0) return false
    return this.#grants.has(model) || (this.options.granted === 'all' && !this.#refusals.has(model))
  }

  #dispatch(type: 'connect' | 'disconnect', device: VirtualHidDevice): void {
    // Browsers dispatch events in separate tasks. A microtask is enough to let the caller's code finish first.
    queueMicrotask(() => {
      const event = new VirtualHidConnectionEvent(type, device)
      if (type === 'connect') this.onconnect?.(event)
      else this.ondisconnect?.(event)
      this.dispatchEvent(event)
    })
  }
}

function matches(device: VirtualHidDevice, filter: HidDeviceFilter): boolean {
  const { vendorId, productId, usagePage, usage } = filter
  if (vendorId !== undefined && vendorId !== device.vendorId) return false
  if (productId !== undefined && productId !== device.productId) return false
  if (usagePage === undefined) return true
  return device.collections.some(
    (each) => each.usagePage === usagePage && (usage === undefined || each.usage === usage),
  )
}

/**
 * Returns the `navigator.hid` of a page with these devices.
 *
 * ```ts
 * const hid = virtualHid([new EchoHidDevice({ productId: 0x4100, serialNumber: 'H1' })])
 * ```
 */
export function virtualHid(devices: readonly HidDeviceModel[], options: VirtualHidOptions = {}): VirtualHid {
  const hid = new VirtualHid(options)
  for (const device of devices) hid.plug(device)
  return hid
}
