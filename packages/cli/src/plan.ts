/** `webtoki plan`: prints how the driver would use a reader, from its USB descriptors (CCID 1.1, 5.1). */
import { viewOf } from '@webtoki/apdu'
import {
  decodeCcidDescriptor,
  describePlan,
  findCcidInterfaces,
  firmwareOf,
  listQuirks,
  nameOf,
  planFor,
} from '@webtoki/ccid'
import { parseOptions, readerOptions, UsageError } from './arguments.ts'
import { connectUsb } from './connect.ts'

const options = {
  ...readerOptions,
  descriptor: { type: 'string' },
  quirks: { type: 'boolean' },
  reader: { type: 'string', default: '0000:0000' },
} as const

/**
 * Prints one block for each connected reader, or for the reader whose class descriptor is given in hex. With `--quirks` it
 * prints every known deviation of single readers instead. Throws UsageError for a malformed descriptor or reader id.
 */
export async function plan(args: readonly string[], output: (line: string) => void): Promise<void> {
  const parsed = parseOptions(args, options)
  if (parsed.quirks === true) {
    for (const { id, about, why, source } of listQuirks())
      output(`${id.padEnd(10)} ${about.padEnd(8)} ${why} (${source})`)
    return
  }
  if (parsed.descriptor !== undefined) {
    const match = /^([0-9a-f]{4}):([0-9a-f]{4})(?::([0-9a-f]{4}))?$/i.exec(parsed.reader)
    const hex = parsed.descriptor.replaceAll(/\s/g, '')
    if (match === null || !/^([0-9a-f]{2}){54}$/i.test(hex)) {
      throw new UsageError(
        '--descriptor must be 54 bytes in hex, --reader VVVV:PPPP or, with the firmware (bcdDevice), VVVV:PPPP:FFFF.',
      )
    }
    const [vendorId = 0, productId = 0] = match.slice(1, 3).map((part) => Number.parseInt(part, 16))
    const firmware = match[3] === undefined ? undefined : Number.parseInt(match[3], 16)
    const descriptor = decodeCcidDescriptor(Uint8Array.from(Buffer.from(hex, 'hex')))
    for (const line of describePlan(planFor({ vendorId, productId, firmware, usbInterface: { descriptor } })))
      output(line)
    return
  }
  const usb = await connectUsb(parsed)
  let found = 0
  for (const device of await usb.getDevices()) {
    const name = nameOf(device)
    try {
      await device.open()
      const head = await configuration(device, 9)
      const whole = await configuration(device, (head[2] ?? 9) | ((head[3] ?? 0) << 8))
      for (const usbInterface of findCcidInterfaces(whole)) {
        found++
        output(name)
        const { vendorId, productId } = device
        const { interfaceNumber } = usbInterface
        const firmware = firmwareOf(device)
        const planned = { vendorId, productId, firmware, interfaceNumber, usbInterface }
        for (const line of describePlan(planFor(planned))) output(`  ${line}`)
      }
    } catch (error) {
      // A device that another program uses, or that this user may not open, must not hide the other readers.
      if (!(error instanceof DOMException)) throw error
      output(`${name}: cannot read its descriptors: ${error.message}`)
    } finally {
      if (device.opened) await device.close()
    }
  }
  if (found === 0) output('No reader found.')
}

/** Reads up to `bytes` bytes of the configuration descriptor (USB 2.0, 9.4.3). */
async function configuration(device: USBDevice, bytes: number): Promise<Uint8Array> {
  const setup = { requestType: 'standard', recipient: 'device', request: 6, value: 0x200, index: 0 } as const
  const { data } = await device.controlTransferIn(setup, bytes)
  return data === undefined ? new Uint8Array(0) : viewOf(data)
}
