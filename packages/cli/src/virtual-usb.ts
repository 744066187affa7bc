/** `webtoki virtual-usb`: a USB bus of virtual readers, for any program that is started with the environment it prints. */
import { parseOptions } from './arguments.ts'
import { readerNamed, untilToldToStop } from './virtual-cards.ts'

const options = {
  device: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const

/** Serves until it is told to stop. Linux; needs gcc the first time. */
export async function virtualUsb(args: readonly string[], output: (line: string) => void): Promise<void> {
  const { device: names = ['dualiAbcm6:piv'] } = parseOptions(args, options)
  const readers = names.map((name, at) => readerNamed(name, `V${String(at + 1).padStart(7, '0')}`))
  const { startBus } = await import('@webtoki/simulator/node')
  const bus = await startBus()
  try {
    for (const reader of readers) bus.plug(reader)
    for (const [name, value] of Object.entries(bus.environment))
      output(`export ${name}='${value.replaceAll("'", `'\\''`)}'`)
    output('ready')
    await untilToldToStop()
  } finally {
    await bus.close()
  }
}
