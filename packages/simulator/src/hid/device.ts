/** A virtual HID device: reports in and out, feature reports, and a report descriptor (Device Class Definition for HID 1.11). */
import { copyOf } from '../bytes.ts'

/** How a host is told of input reports. */
export interface HidPort {
  /** `reportId` is 0 where reports are not numbered. */
  input(reportId: number, data: Uint8Array): void
}

/** What a bus drives. */
export interface HidDeviceModel {
  readonly vendorId: number
  readonly productId: number
  readonly product: string
  readonly serialNumber: string
  readonly reportDescriptor: Uint8Array
  plugged(port: HidPort): void
  unplugged(): void
  /** An output report, without its number. */
  output(reportId: number, data: Uint8Array): void
  /** SET_REPORT of a feature report; 'stall' where there is none of that number. */
  setFeature(reportId: number, data: Uint8Array): 'ok' | 'stall'
  /** GET_REPORT of a feature report, without its number. */
  getFeature(reportId: number): Uint8Array | 'stall'
}

/** Whether reports carry a number: the descriptor has a Report ID item (6.2.2.7). */
export function hasNumberedReports(reportDescriptor: Uint8Array): boolean {
  for (let at = 0; at < reportDescriptor.length; ) {
    const head = reportDescriptor[at] as number
    // A long item says its own length (6.2.2.3).
    if (head === 0xfe) {
      at += 3 + (reportDescriptor[at + 1] ?? 0)
      continue
    }
    if ((head & 0xfc) === 0x84) return true
    at += 1 + ([0, 1, 2, 4][head & 3] as number)
  }
  return false
}

/** Gives each output report back as an input report, complemented, and keeps feature reports. */
export class EchoHidDevice implements HidDeviceModel {
  readonly vendorId: number
  readonly productId: number
  readonly product: string
  readonly serialNumber: string
  readonly reportDescriptor: Uint8Array
  readonly #features = new Map<number, Uint8Array>()
  #port: HidPort | undefined

  /** `reportId`: reports are numbered so; absent: they are not. */
  constructor(options: {
    readonly productId: number
    readonly serialNumber: string
    readonly reportId?: number
  }) {
    this.vendorId = 0xcafe
    this.productId = options.productId
    this.product = 'Webtoki echo HID'
    this.serialNumber = options.serialNumber
    this.reportDescriptor = echoReportDescriptor(options.reportId)
  }

  plugged(port: HidPort): void {
    this.#port = port
  }

  unplugged(): void {
    this.#port = undefined
  }

  output(reportId: number, data: Uint8Array): void {
    this.#port?.input(
      reportId,
      Uint8Array.from(data, (byte) => byte ^ 0xff),
    )
  }

  setFeature(reportId: number, data: Uint8Array): 'ok' | 'stall' {
    this.#features.set(reportId, copyOf(data))
    return 'ok'
  }

  getFeature(reportId: number): Uint8Array | 'stall' {
    return this.#features.get(reportId) ?? new Uint8Array(FEATURE_BYTES)
  }
}

const REPORT_BYTES = 64
const FEATURE_BYTES = 8

/** Usage page FF00: input and output reports of 64 bytes, a feature report of 8. */
function echoReportDescriptor(reportId: number | undefined): Uint8Array {
  return Uint8Array.of(
    ...[0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01],
    ...(reportId === undefined ? [] : [0x85, reportId]),
    ...[0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08],
    ...[0x95, REPORT_BYTES, 0x09, 0x20, 0x81, 0x02],
    ...[0x95, REPORT_BYTES, 0x09, 0x21, 0x91, 0x02],
    ...[0x95, FEATURE_BYTES, 0x09, 0x22, 0xb1, 0x02],
    0xc0,
  )
}
