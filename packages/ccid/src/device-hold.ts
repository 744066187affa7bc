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

/** Closes the device when nobody holds it any more. Never rejects: a device that is gone is closed. */
export function releaseDevice(device: USBDevice): Promise<void> {
  return inOrder(device, async (hold) => {
    hold.holders--
    if (hold.holders > 0 || !device.opened) return
    try {
      await device.close()
    } catch {
      // Unplugged in this moment.
    }
  })
}

/** Resets the device where the caller alone holds it: other interfaces would lose their cards. */
export function resetDevice(device: USBDevice): Promise<void> {
  return inOrder(device, async (hold) => {
    if (hold.holders > 1) return
    try {
      await device.reset()
    } catch {
      // Windows refuses resets of some devices; what follows tells whether it mattered.
    }
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
