/** Who keeps a USB device open: several interfaces share it, the last one closes it, and never two at once. */

import { ReaderInUseError } from '@webtoki/apdu'

interface Hold {
  /** Each by its interface; undefined who wants none, and for good where other code of the page had the device open. */
  readonly holders: (number | undefined)[]
  order: Promise<void>
}

const holds = new WeakMap<USBDevice, Hold>()

/**
 * Opens the device, or joins those who have it open. An interface has one holder: the browser grants a page the same claim
 * again and again, and an answer would go to whoever reads first. Rejects with ReaderInUseError.
 */
export function holdDevice(device: USBDevice, interfaceNumber?: number): Promise<void> {
  return inOrder(device, async ({ holders }) => {
    if (holders.includes(interfaceNumber ?? -1)) throw new ReaderInUseError({ by: 'page' })
    if (!device.opened) await device.open()
    else if (holders.length === 0) holders.push(undefined)
    holders.push(interfaceNumber)
  })
}

/**
 * Gives the interface back, where one was claimed, and closes the device when nobody holds it any more. Whoever opens it
 * next waits for that: a claim while the interface is being released is refused. Never rejects: a device that is gone is
 * closed.
 */
export function releaseDevice(device: USBDevice, interfaceNumber?: number): Promise<void> {
  return inOrder(device, async ({ holders }) => {
    holders.splice(holders.indexOf(interfaceNumber), 1)
    // What fails here was unplugged in this moment.
    if (interfaceNumber !== undefined && device.opened)
      await device.releaseInterface(interfaceNumber).catch(() => {})
    if (holders.length === 0 && device.opened) await device.close().catch(() => {})
  })
}

/** Resets the device where the caller alone holds it: other interfaces would lose their cards. */
export function resetDevice(device: USBDevice): Promise<void> {
  return inOrder(device, async ({ holders }) => {
    // Windows refuses resets of some devices; what follows tells whether it mattered.
    if (holders.length === 1) await device.reset().catch(() => {})
  })
}

function inOrder(device: USBDevice, work: (hold: Hold) => Promise<void>): Promise<void> {
  const hold = holds.get(device) ?? { holders: [], order: Promise.resolve() }
  holds.set(device, hold)
  const run = hold.order.then(() => work(hold))
  hold.order = run.then(
    () => {},
    () => {},
  )
  return run
}
