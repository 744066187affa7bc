/** Programs on Debian's pcscd and libccid, at a bus with one virtual device: the judge of what we send and say. */
import { join } from 'node:path'
import type { UsbDeviceModel } from '@webtoki/simulator'
import { startBus, startPcscd } from '@webtoki/simulator/node'
import { compile, LineProgram, whatIsMissing } from '../../simulator/test/bus/line-program.ts'

/** Why the judge cannot sit; undefined: it can. */
export const judgeMissing =
  whatIsMissing(['gcc', 'pkg-config', 'pcscd', 'unshare', 'nsenter'], ['libpcsclite']) ??
  (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')

/** A program that has seen its slot, and the name that pcscd has for the slot. */
export interface PcscHost {
  readonly host: LineProgram
  readonly name: string
}

/** A program for each slot of a device, so that they work at the same time; what was started is ended by `ends`, last first. */
export async function pcscHosts(
  device: UsbDeviceModel,
  count: number,
  ends: (() => Promise<void>)[],
): Promise<readonly PcscHost[]> {
  const bus = await startBus()
  ends.push(() => bus.close())
  const daemon = await startPcscd({ bus })
  ends.push(() => daemon.end())
  const compiled = await compile(
    join(import.meta.dirname, '../../simulator/test/bus/pcsc-host.c'),
    'libpcsclite',
  )
  const { program, args } = daemon.inside(compiled)
  const hosts: PcscHost[] = []
  for (let slot = 0; slot < count; slot++) {
    const host = new LineProgram(program, args, {})
    ends.push(() => host.end())
    await host.next('answer')
    // Plugged in while pcscd runs, as a person does it.
    if (slot === 0) bus.plug(device)
    const name = await host.ask(`reader ${slot}`)
    if (name.startsWith('none')) throw new Error(`pcscd has no reader ${slot}; ${name}`)
    hosts.push({ host, name })
  }
  return hosts
}

/** The same of a device with one slot, or of its first. */
export async function pcscHost(device: UsbDeviceModel, ends: (() => Promise<void>)[]): Promise<LineProgram> {
  const [first] = await pcscHosts(device, 1, ends)
  return (first as PcscHost).host
}
