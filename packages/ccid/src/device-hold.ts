/** Who keeps a USB device open: several interfaces share it, the last one closes it, and never two at once. */

interface Hold {
  holders: number
  order: Promise<void>
}

const holds = new WeakMap<USBDevice, Hold>()

/** Opens the device, or joins those who have it open. */
export function holdDevice(device: USBDevice): Promise<void> {
  return inOrder(device, async (hold) => {
    if (!device.opened) await device.open()
    hold.holders++
  })
}

/**
 * Gives the interface back, where one was claimed, and closes the device when nobody holds it any more. Whoever opens it
 * next waits for that: a claim while the interface is being released is refused. Never rejects: a device that is gone is
 * closed.
 */
export function releaseDevice(device: USBDevice, interfaceNumber?: number): Promise<void> {
  return inOrder(device, async (hold) => {
    hold.holders--
    // What fails here was unplugged in this moment.
    if (interfaceNumber !== undefined && device.opened)
      await device.releaseInterface(interfaceNumber).catch(() => {})
    if (hold.holders === 0 && device.opened) await device.close().catch(() => {})
  })
}

/** Resets the device where the caller alone holds it: other interfaces would lose their cards. */
export function resetDevice(device: USBDevice): Promise<void> {
  return inOrder(device, async (hold) => {
    // Windows refuses resets of some devices; what follows tells whether it mattered.
    if (hold.holders === 1) await device.reset().catch(() => {})
  })
}

function inOrder(device: USBDevice, work: (hold: Hold) => Promise<void>): Promise<void> {
  const hold = holds.get(device) ?? { holders: 0, order: Promise.resolve() }
  holds.set(device, hold)
  const run = hold.order.then(() => work(hold))
  hold.order = run.then(
    () => {},
    () => {},
  )
  return run
}
