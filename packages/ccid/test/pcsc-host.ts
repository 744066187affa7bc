/** A program on Debian's pcscd and libccid, at a bus with one virtual reader: the judge of what we send and say. */
import { join } from 'node:path'
import type { UsbDeviceModel } from '@webtoki/simulator'
import { startBus, startPcscd } from '@webtoki/simulator/node'
import { compile, LineProgram, whatIsMissing } from '../../simulator/test/bus/line-program.ts'

/** Why the judge cannot sit; undefined: it can. */
export const judgeMissing =
  whatIsMissing(['gcc', 'pkg-config', 'pcscd', 'unshare', 'nsenter'], ['libpcsclite']) ??
  (process.getuid?.() === 0 ? undefined : 'a private mount namespace needs root')

/** The program, once it has seen the reader; what it started is ended by `ends`, last first. */
export async function pcscHost(reader: UsbDeviceModel, ends: (() => Promise<void>)[]): Promise<LineProgram> {
  const bus = await startBus()
  ends.push(() => bus.close())
  const daemon = await startPcscd({ bus })
  ends.push(() => daemon.end())
  const source = join(import.meta.dirname, '../../simulator/test/bus/pcsc-host.c')
  const { program, args } = daemon.inside(await compile(source, 'libpcsclite'))
  const host = new LineProgram(program, args, {})
  ends.push(() => host.end())
  await host.next('answer')
  bus.plug(reader)
  await host.ask('reader')
  return host
}
