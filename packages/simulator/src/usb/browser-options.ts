/** Options of the simulated browser (WebUSB, 3 and 4). */
import type { PluggedDevice } from './plugged-device.ts'
import type { UsbDeviceShape } from './w3c.ts'

/** Options of a virtual `navigator.usb`. */
export interface VirtualUsbOptions {
  /**
   * True (default) if claimInterface rejects the protected classes 0x01, 0x03, 0x08, 0x0B, 0x0E, 0x10 and 0xE0, as on an
   * ordinary page. False for an Isolated Web App, Electron or Node.
   */
  readonly protectedClasses?: boolean
  /** 'all' (default) if the page has permission for all devices from the start, 'none' if it must call requestDevice. */
  readonly granted?: 'all' | 'none'
  /**
   * Simulates the person at the device chooser. Returns a candidate, or undefined to cancel. Default: the first
   * candidate.
   */
  readonly choose?: (candidates: readonly UsbDeviceShape[]) => UsbDeviceShape | undefined
  /**
   * The error with which pending transfers reject when the device is unplugged. Chromium uses either:
   * https://github.com/chromium/chromium/blob/cd82020c471ccfc4b93cf33a3012fe6cdc9269a6/third_party/blink/renderer/modules/webusb/usb_device.cc#L73-L88
   * Default AbortError.
   */
  readonly unplugError?: 'AbortError' | 'NetworkError'
  /** Whether pending transfers reject before or after the `disconnect` event. Default after. */
  readonly unplugOrder?: 'before-event' | 'after-event'
  /** True if open() rejects, as without a udev rule or a driver, or with another owner. Default false. */
  readonly denyOpen?: boolean
}

/** The page's `navigator.usb`, as its USBDevice objects see it. */
export interface UsbContext {
  readonly options: Required<VirtualUsbOptions>
  /** Revokes the page's permission for a device. */
  forget(plugged: PluggedDevice): void
}
