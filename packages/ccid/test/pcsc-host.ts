/** Programs that use Debian's pcscd and libccid with one virtual device, for comparison with the driver. */
import { join } from 'node:path'
import type { UsbDeviceModel } from '@webtoki/simulator'
import { startBus, startPcscd } from '@webtoki/simulator/node'
import { compile, LineProgram, whatIsMissing } from '../../simulator/test/bus/line-program.ts'

/** What the comparison lacks on this machine; undefined if it can run. */
export const judgeMissing =
  whatIsMissing(['gcc', 'pkg-config', 'pcscd', 'unshare', 'nsenter'], ['libpcsclite']) ??
  (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')

/** A program with its slot, and the slot's name in pcscd. */
export interface PcscHost {
  readonly host: LineProgram
  readonly name: string
}

/**
 * Starts one program per slot of a device, so that they run at the same time. `ends` collects the functions that end
 * what was started, to be called last first.
 */
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
    // Plugged in while pcscd runs, as a person would do it.
    if (slot === 0) bus.plug(device)
    const name = await host.ask(`reader ${slot}`)
    if (name.startsWith('none')) throw new Error(`pcscd has no reader ${slot}; ${name}`)
    hosts.push({ host, name })
  }
  return hosts
}

/** Starts a program for a device's only or first slot. */
export async function pcscHost(device: UsbDeviceModel, ends: (() => Promise<void>)[]): Promise<LineProgram> {
  const [first] = await pcscHosts(device, 1, ends)
  return (first as PcscHost).host
}
