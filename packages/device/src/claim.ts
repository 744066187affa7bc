/** Opens a USB device, claims one of its interfaces and cleans up if a step fails (WebUSB). */
import { holdDevice, releaseDevice, resetDevice } from './device-hold.ts'
import { translateUsbError } from './usb-errors.ts'

/**
 * Runs `work` with the device open, and closes the device afterwards unless another part of the page also has it
 * open. Rejects with the typed error of `work`; an error of the browser is translated as one of the step
 * `descriptor`.
 */
export async function withOpenDevice<T>(device: USBDevice, work: () => Promise<T>): Promise<T> {
  await open(device)
  try {
    return await work()
  } catch (error) {
    throw translateUsbError('descriptor', error)
  } finally {
    await releaseDevice(device)
  }
}

/** The configuration, interface and alternate setting to claim. */
export interface UsbInterfaceChoice {
  readonly configurationValue: number
  readonly interfaceNumber: number
  readonly alternateSetting: number
}

/**
 * Opens the device, selects the configuration, claims the interface and selects the alternate setting. `reset`:
 * resets the device first. Rejects with a typed error, and then leaves nothing claimed.
 */
export async function claim(device: USBDevice, choice: UsbInterfaceChoice, reset: boolean): Promise<void> {
  const { interfaceNumber } = choice
  await open(device, interfaceNumber)
  try {
    if (reset) await resetDevice(device)
    if (device.configuration?.configurationValue !== choice.configurationValue) {
      await device.selectConfiguration(choice.configurationValue)
    }
    await device.claimInterface(interfaceNumber)
    if (choice.alternateSetting !== 0) {
      await device.selectAlternateInterface(interfaceNumber, choice.alternateSetting)
    }
  } catch (error) {
    await releaseDevice(device, interfaceNumber)
    throw translateUsbError('claim', error)
  }
}

async function open(device: USBDevice, interfaceNumber?: number): Promise<void> {
  try {
    await holdDevice(device, interfaceNumber)
  } catch (error) {
    throw translateUsbError('open', error)
  }
}
