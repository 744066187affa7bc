/** `webtoki virtual-usb`: serves a USB bus of virtual readers to programs started with the environment that it prints. */
import { parseOptions } from './arguments.ts'
import { readerNamed, untilSignal } from './virtual-cards.ts'

const options = {
  device: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const

/** Serves until SIGINT or SIGTERM. Linux only; the first run compiles a library with gcc. */
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
    await untilSignal()
  } finally {
    await bus.close()
  }
}
