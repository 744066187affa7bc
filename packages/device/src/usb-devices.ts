/** WebUSB as a source of devices, and what the browser knows of a USB device without asking it. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
/// <reference types="w3c-web-usb" preserve="true" />
import type { DeviceApi } from './device-ports.ts'
import { usbSupport } from './usb-support.ts'

/** `usb` as it is, or undefined where the browser has none: then `support` says why. */
export function usbDevices(usb: USB | undefined): DeviceApi<USBDevice, USBDeviceFilter> {
  return {
    name: 'WebUSB',
    support: usbSupport(usb),
    list: () => (usb as USB).getDevices(),
    choose: (filters) => (usb as USB).requestDevice({ filters: [...filters] }),
    watch: (connected, disconnected) => {
      const plugged = ({ device }: USBConnectionEvent): void => connected(device)
      const unplugged = ({ device }: USBConnectionEvent): void => disconnected(device)
      usb?.addEventListener('connect', plugged)
      usb?.addEventListener('disconnect', unplugged)
      return () => {
        usb?.removeEventListener('connect', plugged)
        usb?.removeEventListener('disconnect', unplugged)
      }
    },
    describe: (device) => device,
  }
}

/** Whether an interface of one of these classes is among those of the device. */
export function hasInterface({ configurations }: USBDevice, ...classCodes: readonly number[]): boolean {
  return configurations.some(({ interfaces }) =>
    interfaces.some(({ alternates }) =>
      alternates.some(({ interfaceClass }) => classCodes.includes(interfaceClass)),
    ),
  )
}

/** What the maker calls an interface; empty if it has no name. */
export function interfaceName({ configurations }: USBDevice, interfaceNumber: number): string {
  for (const { interfaces } of configurations) {
    const face = interfaces.find((each) => each.interfaceNumber === interfaceNumber)
    const name = face?.alternates[0]?.interfaceName?.trim()
    if (name) return name
  }
  return ''
}
