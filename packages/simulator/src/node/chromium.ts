/** Prepares an unmodified Chromium for virtual devices: environment, flags, and permissions in its profile. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readUint16le } from '../bytes.ts'
import type { HidDeviceModel } from '../hid/device.ts'
import type { UsbDeviceModel } from '../usb/device-model.ts'
import type { VirtualUsbBus } from './virtual-usb-bus.ts'

/** Options of `chromiumOnBus`. */
export interface ChromiumOptions {
  /** A new, empty folder. Pass the same one to `launchPersistentContext`. */
  readonly userDataDir: string
  /**
   * USB devices for which an origin, such as `http://localhost:8080`, has permission. Each device must have a serial
   * number.
   */
  readonly grants?: readonly { readonly origin: string; readonly devices: readonly UsbDeviceModel[] }[]
  /** HID devices for which an origin has permission. */
  readonly hidGrants?: readonly { readonly origin: string; readonly devices: readonly HidDeviceModel[] }[]
}

/** Launch options for Playwright. */
export interface ChromiumLaunch {
  readonly env: Record<string, string>
  readonly args: string[]
}

/**
 * Writes the permissions into the profile and returns the launch options. The headless shell does not work, because it
 * has no USB chooser. Throws Error for a USB device without a serial number.
 */
export function chromiumOnBus(bus: VirtualUsbBus, options: ChromiumOptions): ChromiumLaunch {
  const chosen = <T>(
    grants: readonly { readonly origin: string; readonly devices: readonly T[] }[] = [],
    grant: (device: T) => object,
  ): object =>
    Object.fromEntries(
      grants.map(({ origin, devices }) => [
        `${origin},*`,
        { setting: { 'chosen-objects': devices.map(grant) } },
      ]),
    )
  const exceptions = {
    usb_chooser_data: chosen(options.grants, grantOf),
    hid_chooser_data: chosen(options.hidGrants, hidGrantOf),
  }
  const folder = join(options.userDataDir, 'Default')
  mkdirSync(folder, { recursive: true })
  const preferences = { profile: { content_settings: { exceptions } } }
  writeFileSync(join(folder, 'Preferences'), JSON.stringify(preferences))
  const inherited = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  )
  return {
    env: { ...Object.fromEntries(inherited), ...bus.environment },
    // Chromium's sandbox does not start as root. For an ordinary user it stays on.
    // https://github.com/chromium/chromium/blob/013169fe98195be36a6d68e29417fca2ece3df21/content/browser/zygote_host/zygote_host_impl_linux.cc#L91-L105
    args: [
      '--no-first-run',
      '--disable-gpu',
      '--disable-component-update',
      '--disable-sync',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  }
}

// Chromium identifies the devices of its stored permissions by serial number:
// https://github.com/chromium/chromium/blob/5b83ed465231eb0bb65d444348d89cb5a66501a0/chrome/browser/usb/usb_chooser_context.cc#L63-L65
function grantOf(model: UsbDeviceModel) {
  const d = model.deviceDescriptor
  const serialNumber = model.strings[d[16] || -1]
  if (serialNumber === undefined)
    throw new Error(
      'Chromium cannot store permission for a device without a serial number. Give the device one.',
    )
  return {
    name: model.strings[d[15] || -1] ?? '',
    'vendor-id': readUint16le(d, 8),
    'product-id': readUint16le(d, 10),
    'serial-number': serialNumber,
  }
}

function hidGrantOf({ product, vendorId, productId, serialNumber }: HidDeviceModel) {
  return { name: product, 'vendor-id': vendorId, 'product-id': productId, 'serial-number': serialNumber }
}
