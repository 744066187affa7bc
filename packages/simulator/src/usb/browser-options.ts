/** How the browser around a page is set up, and what its devices know of it. */
import type { PluggedDevice } from './plugged-device.ts'
import type { UsbDeviceShape } from './w3c.ts'

/** How the browser around a page is set up. */
export interface VirtualUsbOptions {
  /** Interface classes 0x01, 0x03, 0x08, 0x0B, 0x0E, 0x10, 0xE0 are refused at claim. Default true, as on a plain page; false: an Isolated Web App, Electron, Node. */
  readonly protectedClasses?: boolean
  /** 'all': plugged devices are permitted from the start (default). 'none': only by requestDevice. */
  readonly granted?: 'all' | 'none'
  /** Who plays the person at the chooser; undefined is "cancel". Default: the first one. */
  readonly choose?: (candidates: readonly UsbDeviceShape[]) => UsbDeviceShape | undefined
  /** With what a pending transfer rejects when its device is unplugged; Chromium does either. Default AbortError. */
  readonly unplugError?: 'AbortError' | 'NetworkError'
  /** Whether pending transfers reject before or after `disconnect` is told. Default after. */
  readonly unplugOrder?: 'before-event' | 'after-event'
  /** open() rejects: no udev rule, no driver, or another owner. */
  readonly denyOpen?: boolean
}

/** The page's `navigator.usb`, as its devices see it. */
export interface UsbContext {
  readonly options: Required<VirtualUsbOptions>
  /** The page gives its permission back. */
  forget(plugged: PluggedDevice): void
}
