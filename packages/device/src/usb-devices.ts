/** WebUSB as a `DeviceApi`, and what the browser states about a USB device without opening it. */
// Preserved in the declarations, because they name WebUSB types, which TypeScript does not provide.
/// <reference types="w3c-web-usb" preserve="true" />
import type { DeviceApi } from './device-ports.ts'
import { usbSupport } from './usb-support.ts'

/** Wraps `usb`. Undefined means that the browser does not provide it; `support` then states why. */
export function usbDevices(usb: USB | undefined): DeviceApi<USBDevice, USBDeviceFilter> {
  return {
    name: 'WebUSB',
    support: usbSupport(usb),
    list: () => (usb as USB).getDevices(),
    choose: (filters) => (usb as USB).requestDevice({ filters: [...filters] }),
    watch: (connected, disconnected) => {
      const onConnect = ({ device }: USBConnectionEvent): void => connected(device)
      const onDisconnect = ({ device }: USBConnectionEvent): void => disconnected(device)
      usb?.addEventListener('connect', onConnect)
      usb?.addEventListener('disconnect', onDisconnect)
      return () => {
        usb?.removeEventListener('connect', onConnect)
        usb?.removeEventListener('disconnect', onDisconnect)
      }
    },
    describe: (device) => device,
  }
}

/** True if the device has an interface of one of these classes. */
export function hasInterface({ configurations }: USBDevice, ...classCodes: readonly number[]): boolean {
  return configurations.some(({ interfaces }) =>
    interfaces.some(({ alternates }) =>
      alternates.some(({ interfaceClass }) => classCodes.includes(interfaceClass)),
    ),
  )
}

/** The name of an interface (iInterface); empty if it has none. */
export function interfaceName({ configurations }: USBDevice, interfaceNumber: number): string {
  for (const { interfaces } of configurations) {
    const usbInterface = interfaces.find((each) => each.interfaceNumber === interfaceNumber)
    const name = usbInterface?.alternates[0]?.interfaceName?.trim()
    if (name) return name
  }
  return ''
}
