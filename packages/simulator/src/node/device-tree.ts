/** Represents devices as folders, as Linux does under /sys/bus/usb/devices (Documentation/ABI/stable/sysfs-bus-usb). */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readUint16le } from '../bytes.ts'
import type { HidDeviceModel } from '../hid/device.ts'
import { type AlternateFacts, readConfiguration } from '../usb/descriptors.ts'
import type { UsbDeviceModel } from '../usb/device-model.ts'

type Properties = Readonly<Record<string, string>>

/** A folder of the tree with the properties in its `uevent` file. */
export interface TreeEntry {
  readonly path: string
  readonly properties: Properties
}

/** A device in the tree. */
export interface TreeDevice {
  /** The path that programs open, such as /dev/bus/usb/001/002. */
  readonly node: string
  readonly device: TreeEntry
  /** The interfaces of the selected configuration. */
  readonly interfaces: readonly TreeEntry[]
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** Writes and removes the files that libudev and libusb read. */
export class DeviceTree {
  readonly root: string

  constructor(root: string) {
    this.root = root
    for (const folder of ['sys/devices/virtual-host/usb1', 'sys/bus/usb/devices', 'dev/bus/usb/001'])
      mkdirSync(join(root, folder), { recursive: true })
  }

  /**
   * Adds a device at this bus address. The `uevent` file is written last, because its presence makes the folder a
   * device.
   */
  add(model: UsbDeviceModel, address: number, configurationValue: number): TreeDevice {
    const name = `1-${address}`
    const number = String(address).padStart(3, '0')
    const d = model.deviceDescriptor
    const [vendor, product, version] = [readUint16le(d, 8), readUint16le(d, 10), readUint16le(d, 12)]
    const node = `/dev/bus/usb/001/${number}`
    const path = join(this.root, 'sys/devices/virtual-host/usb1', name)
    const properties = {
      SUBSYSTEM: 'usb',
      DEVTYPE: 'usb_device',
      DEVNAME: node,
      DRIVER: 'usb',
      BUSNUM: '001',
      DEVNUM: number,
      PRODUCT: `${vendor.toString(16)}/${product.toString(16)}/${version.toString(16)}`,
    }
    const descriptors = Buffer.concat([d, ...model.configurationDescriptors])
    this.#write(path, properties, {
      descriptors,
      busnum: '1\n',
      devnum: `${address}\n`,
      speed: '480\n',
      idVendor: `${hex(vendor, 4)}\n`,
      idProduct: `${hex(product, 4)}\n`,
      bcdDevice: `${hex(version, 4)}\n`,
      bDeviceClass: `${hex(d[4] ?? 0, 2)}\n`,
      bConfigurationValue: `${configurationValue || ''}\n`,
      ...text('manufacturer', model.strings[d[14] || -1]),
      ...text('product', model.strings[d[15] || -1]),
      ...text('serial', model.strings[d[16] || -1]),
    })
    const device = { path, properties }
    const interfaces = this.#addInterfaces(model, device, configurationValue)
    this.#link(path)
    writeFileSync(join(this.root, 'dev/bus/usb/001', number), '')
    return { node, device, interfaces }
  }

  /** Adds a HID device and its hidraw file. */
  addHid(model: HidDeviceModel, number: number): TreeDevice {
    const path = join(this.root, 'sys/devices/virtual-host/usb1', `hid-${number}`)
    const id = [3, model.vendorId, model.productId].map((value, at) =>
      hex(value, at === 0 ? 4 : 8).toUpperCase(),
    )
    this.#write(
      path,
      {
        SUBSYSTEM: 'hid',
        DRIVER: 'hid-generic',
        HID_ID: id.join(':'),
        HID_NAME: model.product,
        HID_PHYS: `usb-virtual-host-${number}/input0`,
        HID_UNIQ: model.serialNumber,
      },
      { report_descriptor: model.reportDescriptor },
    )
    const node = `/dev/hidraw${number}`
    const own = join(path, 'hidraw', `hidraw${number}`)
    const properties = { SUBSYSTEM: 'hidraw', DEVNAME: node, MAJOR: '240', MINOR: String(number) }
    this.#write(own, properties, {})
    return { node, device: { path: own, properties }, interfaces: [] }
  }

  removeHid(shown: TreeDevice): void {
    rmSync(dirname(dirname(shown.device.path)), { recursive: true, force: true })
  }

  remove(shown: TreeDevice): void {
    for (const entry of [...shown.interfaces, shown.device])
      rmSync(join(this.root, 'sys/bus/usb/devices', basename(entry.path)), { force: true })
    rmSync(shown.device.path, { recursive: true, force: true })
    rmSync(join(this.root, shown.node), { force: true })
  }

  #addInterfaces(model: UsbDeviceModel, device: TreeEntry, configurationValue: number): TreeEntry[] {
    return alternatesOf(model, configurationValue)
      .filter((alternate) => alternate.alternateSetting === 0)
      .map((alternate) => {
        const { interfaceNumber, interfaceClass, interfaceSubclass, interfaceProtocol } = alternate
        const path = join(device.path, `${basename(device.path)}:${configurationValue}.${interfaceNumber}`)
        const properties = {
          SUBSYSTEM: 'usb',
          DEVTYPE: 'usb_interface',
          PRODUCT: device.properties['PRODUCT'] ?? '',
          INTERFACE: `${interfaceClass}/${interfaceSubclass}/${interfaceProtocol}`,
        }
        this.#write(path, properties, {
          bInterfaceNumber: `${hex(interfaceNumber, 2)}\n`,
          bAlternateSetting: ' 0\n',
          bNumEndpoints: `${hex(alternate.endpoints.length, 2)}\n`,
          bInterfaceClass: `${hex(interfaceClass, 2)}\n`,
          bInterfaceSubClass: `${hex(interfaceSubclass, 2)}\n`,
          bInterfaceProtocol: `${hex(interfaceProtocol, 2)}\n`,
          ...text('interface', model.strings[alternate.nameIndex || -1]),
        })
        this.#link(path)
        return { path, properties }
      })
  }

  #link(path: string): void {
    symlinkSync(path, join(this.root, 'sys/bus/usb/devices', basename(path)))
  }

  #write(path: string, properties: Properties, files: Readonly<Record<string, string | Uint8Array>>): void {
    mkdirSync(path, { recursive: true })
    for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content)
    writeFileSync(join(path, 'uevent'), linesOf(properties))
  }
}

/** Encodes properties as KEY=VALUE lines, for `uevent` files and for the frames to monitors. */
export function linesOf(properties: Properties): string {
  // A line break in a string of the device would begin another property.
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value.replace(/[\r\n]/g, ' ')}\n`)
    .join('')
}

/**
 * Returns the alternate settings of a configuration. As in the kernel, there are none if its descriptors are malformed.
 */
export function alternatesOf(model: UsbDeviceModel, configurationValue: number): readonly AlternateFacts[] {
  const bytes = model.configurationDescriptors.find((descriptor) => descriptor[5] === configurationValue)
  if (bytes === undefined) return []
  try {
    return readConfiguration(bytes).alternates
  } catch (error) {
    if (error instanceof RangeError) return []
    throw error
  }
}

function text(name: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: `${value.replace(/[\r\n]/g, ' ')}\n` }
}
