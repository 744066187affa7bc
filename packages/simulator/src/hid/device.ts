/**
 * Virtual HID devices: input, output and feature reports and a report descriptor (Device Class Definition for HID
 * 1.11).
 */
import { copyOf } from '../bytes.ts'

/** Receives the input reports of a device for the host. */
export interface HidPort {
  /** Delivers an input report. `reportId` is 0 if reports are not numbered. */
  input(reportId: number, data: Uint8Array): void
}

/** A virtual HID device, as the bus sees it. */
export interface HidDeviceModel {
  readonly vendorId: number
  readonly productId: number
  readonly product: string
  readonly serialNumber: string
  readonly reportDescriptor: Uint8Array
  plugged(port: HidPort): void
  unplugged(): void
  /** Receives an output report. `data` does not include the report ID. */
  output(reportId: number, data: Uint8Array): void
  /** Executes SET_REPORT for a feature report. Returns 'stall' if the report does not exist. */
  setFeature(reportId: number, data: Uint8Array): 'ok' | 'stall'
  /**
   * Executes GET_REPORT for a feature report. Returns its data without the report ID, or 'stall' if the report
   * does not exist.
   */
  getFeature(reportId: number): Uint8Array | 'stall'
}

/** Returns true if reports are numbered, which means that the descriptor has a Report ID item (6.2.2.7). */
export function hasNumberedReports(reportDescriptor: Uint8Array): boolean {
  for (let at = 0; at < reportDescriptor.length; ) {
    const head = reportDescriptor[at] as number
    // A long item contains its own length (6.2.2.3).
    if (head === 0xfe) {
      at += 3 + (reportDescriptor[at + 1] ?? 0)
      continue
    }
    if ((head & 0xfc) === 0x84) return true
    at += 1 + ([0, 1, 2, 4][head & 3] as number)
  }
  return false
}

/** A device that returns the complement of each output report as an input report, and stores feature reports. */
export class EchoHidDevice implements HidDeviceModel {
  readonly vendorId: number
  readonly productId: number
  readonly product: string
  readonly serialNumber: string
  readonly reportDescriptor: Uint8Array
  readonly #features = new Map<number, Uint8Array>()
  #port: HidPort | undefined

  /** `reportId` is the ID of all reports. Without it, reports are not numbered. */
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

/**
 * Builds a report descriptor with usage page FF00, input and output reports of 64 bytes and a feature report of 8
 * bytes.
 */
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
