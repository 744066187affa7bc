/** What an unmodified Chromium needs to meet virtual devices: environment, flags, and permission seeded in its profile. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readUint16le } from '../bytes.ts'
import type { HidDeviceModel } from '../hid/device.ts'
import type { UsbDeviceModel } from '../usb/device-model.ts'
import type { VirtualUsbBus } from './virtual-usb-bus.ts'

/** A Chromium to be launched on a bus. */
export interface ChromiumOptions {
  /** A new, empty folder; `launchPersistentContext` takes the same. */
  readonly userDataDir: string
  /** Which origins may use which devices without asking: `http://localhost:8080`. A grant needs a serial number. */
  readonly grants?: readonly { readonly origin: string; readonly devices: readonly UsbDeviceModel[] }[]
  /** The same for HID devices. */
  readonly hidGrants?: readonly { readonly origin: string; readonly devices: readonly HidDeviceModel[] }[]
}

/** In the shape of Playwright's launch options. */
export interface ChromiumLaunch {
  readonly env: Record<string, string>
  readonly args: string[]
}

/** Writes the grants into the profile and says how to launch. The headless shell will not do: it has no USB chooser. */
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
    // As root Chromium's own sandbox refuses to start; as an ordinary user it stays on.
    args: [
      '--no-first-run',
      '--disable-gpu',
      '--disable-component-update',
      '--disable-sync',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  }
}

function grantOf(model: UsbDeviceModel) {
  const d = model.deviceDescriptor
  const serialNumber = model.strings[d[16] || -1]
  if (serialNumber === undefined)
    throw new Error('Chromium keeps no permission for a device without a serial number.')
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
