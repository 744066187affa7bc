/** Opening a device for one of its interfaces, and letting it go again. */
import { holdDevice, releaseDevice, resetDevice } from './device-hold.ts'
import { translateUsbError } from './usb-errors.ts'

/** Opens the device for this work alone, unless somebody has it open already. */
export async function whileOpen<T>(device: USBDevice, work: () => Promise<T>): Promise<T> {
  await opened(device)
  try {
    return await work()
  } catch (error) {
    throw translateUsbError('descriptor', error)
  } finally {
    await releaseDevice(device)
  }
}

/** Which interface of a device is claimed. */
export interface UsbInterfaceChoice {
  readonly configurationValue: number
  readonly interfaceNumber: number
  readonly alternateSetting: number
}

/** Opens, configures and claims. Rejects with a typed error, and then nothing stays claimed. */
export async function claim(device: USBDevice, face: UsbInterfaceChoice, reset: boolean): Promise<void> {
  const { interfaceNumber } = face
  await opened(device, interfaceNumber)
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

async function opened(device: USBDevice, interfaceNumber?: number): Promise<void> {
  try {
    await holdDevice(device, interfaceNumber)
  } catch (error) {
    throw translateUsbError('open', error)
  }
}
