/** `webtoki vpcd`: puts a virtual card into the reader that vsmartcard's vpcd presents to pcscd. */
import { parseOptions, UsageError } from './arguments.ts'
import { cardNamed, untilSignal } from './virtual-cards.ts'

const options = {
  card: { type: 'string', default: 'piv' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '35963' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Serves until SIGINT or SIGTERM, or until pcscd closes the connection. Throws UsageError for a wrong port. */
export async function vpcd(args: readonly string[], output: (line: string) => void): Promise<void> {
  const { card: name, host, port: text } = parseOptions(args, options)
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new UsageError(`--port must be from 1 to 65535; got '${text}'.`)
  const card = cardNamed(name)
  const { connectVpcd } = await import('@webtoki/simulator/node')
  const connection = await connectVpcd(card, { host, port })
  output(`${name} card in the reader of vpcd at ${host}:${port}`)
  output('ready')
  const stopped = untilSignal()
  const first = await Promise.race([stopped.then(() => 'stopped' as const), connection.ended])
  if (first === 'stopped') await connection.close()
  else if (first instanceof Error) throw first
  else output('pcscd closed the connection')
}
