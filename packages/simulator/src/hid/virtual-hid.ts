/** `navigator.hid` of one page over virtual devices, as Chromium behaves (WebHID, sections 5 to 8). */
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

/** How the browser around a page is set up. */
export interface VirtualHidOptions {
  /** FIDO, keyboards, mice, keypads and system controls are kept from pages. Default true; false: Electron or Node. */
  readonly protectedUsages?: boolean
  /** 'all': plugged devices are permitted from the start (default). 'none': only by requestDevice. */
  readonly granted?: 'all' | 'none'
  /** Who plays the person at the chooser; undefined is "cancel". Default: the first one. */
  readonly choose?: (candidates: readonly VirtualHidDevice[]) => VirtualHidDevice | undefined
  /** open() rejects: no udev rule, or another owner. */
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
/** Pointer, mouse, keyboard, keypad, and the system controls 80 to B7 (Chromium, hid_usage_and_page.cc). */
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
  /** Without those that are kept from pages. */
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

  /** The page gives its permission back. */
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

  /** As in Chromium the report's number stands before its data; 0 if reports are not numbered. */
  async receiveFeatureReport(reportId: number): Promise<DataView> {
    await this.#prepare('receiveFeatureReport', 'feature', reportId, new Uint8Array(0))
    const data = this.#model.getFeature(reportId)
    if (data === 'stall') throw refused('receiveFeatureReport', 'Failed to receive the feature report.')
    return dataViewOf(Uint8Array.of(reportId, ...data))
  }

  /** Whether the call may be made; its data, copied at the call. */
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
    // A report of a collection that is kept from pages is not written, and the call fails.
    const hasReport = this.collections.some((each) =>
      (kind === 'output' ? each.outputReports : each.featureReports).some(
        (report) => report.reportId === reportId,
      ),
    )
    if (!hasReport) throw refused(call, 'Failed to write the report.')
    return bytes
  }

  /** An input report came. */
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

/** WebHID, HID: devices are plugged in and out here. */
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

  async getDevices(): Promise<VirtualHidDevice[]> {
    await Promise.resolve()
    return [...this.#plugged].filter(([model]) => this.#isGranted(model)).map(([, device]) => device)
  }

  /** Resolves to no device if the person chose none. */
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
    // A device all of whose collections are protected is not shown.
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

  /** Plugs a device in; `connect` is told to a page that may see it. */
  plug(model: HidDeviceModel): void {
    if (this.#plugged.has(model)) throw new Error('The virtual device is plugged in already.')
    const device = new VirtualHidDevice(this, model)
    this.#plugged.set(model, device)
    model.plugged({ input: (reportId, data) => device.received(reportId, data) })
    if (this.#isGranted(model)) this.#dispatch('connect', device)
  }

  /** Pulls a device: it is closed, and `disconnect` is told. */
  unplug(model: HidDeviceModel): void {
    const device = this.#plugged.get(model)
    if (device === undefined) return
    const isGranted = this.#isGranted(model)
    this.#plugged.delete(model)
    device.opened = false
    model.unplugged()
    if (isGranted) this.#dispatch('disconnect', device)
  }

  /** Whether the page may open it. */
  holds(model: HidDeviceModel): boolean {
    return this.#plugged.has(model) && this.#isGranted(model)
  }

  /** The page gives its permission back. */
  forget(model: HidDeviceModel): void {
    this.#grants.delete(model)
    this.#refusals.add(model)
  }

  /** The collections that this page sees. */
  visible(model: HidDeviceModel): readonly HidCollection[] {
    const all = readCollections(model.reportDescriptor)
    return this.options.protectedUsages ? all.filter((each) => !isProtected(each)) : all
  }

  #isGranted(model: HidDeviceModel): boolean {
    if (this.visible(model).length === 0) return false
    return this.#grants.has(model) || (this.options.granted === 'all' && !this.#refusals.has(model))
  }

  #dispatch(type: 'connect' | 'disconnect', device: VirtualHidDevice): void {
    // Browsers deliver events as tasks of their own; a microtask keeps that a caller's code ends first.
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

/** One page with these devices: the shortest way to a `navigator.hid`. */
export function virtualHid(devices: readonly HidDeviceModel[], options: VirtualHidOptions = {}): VirtualHid {
  const hid = new VirtualHid(options)
  for (const device of devices) hid.plug(device)
  return hid
}
