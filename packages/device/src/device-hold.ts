/**
 * Shares an open USB device between its interfaces: the first user opens it, the last one closes it, one step at a
 * time.
 */

import { ReaderInUseError } from '@webtoki/apdu'

interface DeviceState {
  /**
   * One entry per user: the number of its interface, or undefined if it uses none. A permanent undefined entry keeps
   * a device open that other code of the page had opened.
   */
  readonly holders: (number | undefined)[]
  queue: Promise<void>
}

const states = new WeakMap<USBDevice, DeviceState>()

/**
 * Opens the device, or joins the users that have it open. An interface has at most one user: the browser would grant
 * the page the same claim repeatedly, and whichever loop reads first would take the response of the other. Rejects
 * with ReaderInUseError.
 */
export function holdDevice(device: USBDevice, interfaceNumber?: number): Promise<void> {
  return enqueue(device, async ({ holders }) => {
    if (holders.includes(interfaceNumber ?? -1)) throw new ReaderInUseError({ by: 'page' })
    if (!device.opened) await device.open()
    else if (holders.length === 0) holders.push(undefined)
    holders.push(interfaceNumber)
  })
}

/**
 * Releases the interface, if one is given, and closes the device after its last user. The next `holdDevice` waits for
 * this, because the browser refuses a claim while the interface is being released. Never rejects: an unplugged device
 * counts as closed.
 */
export function releaseDevice(device: USBDevice, interfaceNumber?: number): Promise<void> {
  return enqueue(device, async ({ holders }) => {
    holders.splice(holders.indexOf(interfaceNumber), 1)
    // A failure here means that the device was unplugged at this moment.
    if (interfaceNumber !== undefined && device.opened)
      await device.releaseInterface(interfaceNumber).catch(() => {})
    if (holders.length === 0 && device.opened) await device.close().catch(() => {})
  })
}

/** Resets the device if the caller is its only user. With other users a reset would cut the power of their cards. */
export function resetDevice(device: USBDevice): Promise<void> {
  return enqueue(device, async ({ holders }) => {
    // Windows refuses to reset some devices. If the reset was needed, the next step fails.
    if (holders.length === 1) await device.reset().catch(() => {})
  })
}

function enqueue(device: USBDevice, work: (state: DeviceState) => Promise<void>): Promise<void> {
  const hold = states.get(device) ?? { holders: [], queue: Promise.resolve() }
  states.set(device, hold)
  const run = hold.queue.then(() => work(hold))
  hold.queue = run.then(
    () => {},
    () => {},
  )
  return run
}
