/** Opening a device for one of its interfaces, and letting it go again. */
import { holdDevice, releaseDevice, resetDevice } from './device-hold.ts'
import { translateUsbError } from './usb-errors.ts'

/** Which interface of a device is claimed. */
export interface UsbInterfaceChoice {
  readonly configurationValue: number
  readonly interfaceNumber: number
  readonly alternateSetting: number
}

/** Opens, configures and claims. Rejects with a typed error, and then nothing stays claimed. */
export async function claim(device: USBDevice, face: UsbInterfaceChoice, reset: boolean): Promise<void> {
  const { interfaceNumber } = face
  try {
    await holdDevice(device, interfaceNumber)
  } catch (error) {
    throw translateUsbError('open', error)
  }
  try {
    if (reset) await resetDevice(device)
    if (device.configuration?.configurationValue !== face.configurationValue) {
      await device.selectConfiguration(face.configurationValue)
    }
    await device.claimInterface(interfaceNumber)
    if (face.alternateSetting !== 0) {
      await device.selectAlternateInterface(interfaceNumber, face.alternateSetting)
    }
  } catch (error) {
    await releaseDevice(device, interfaceNumber)
    throw translateUsbError('claim', error)
  }
}
