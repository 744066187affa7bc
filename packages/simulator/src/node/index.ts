/**
 * Virtual USB devices for other programs on the same machine, such as an unmodified Chromium, pcscd or programs with
 * libusb. For Node on Linux.
 */
export { type ChromiumLaunch, type ChromiumOptions, chromiumOnBus } from './chromium.ts'
export { type Invocation, type Pcscd, type PcscdOptions, startPcscd } from './pcscd.ts'
export { buildPreloadLibrary, cacheFolder } from './preload-library.ts'
export { type BusOptions, startBus, VirtualUsbBus } from './virtual-usb-bus.ts'
export { connectVpcd, defaultVpcdPort, type VpcdConnection, type VpcdOptions } from './vpcd.ts'
