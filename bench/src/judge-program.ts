/** A judge's program in C, told what to do line by line: compiled, run where its pcscd is, asked. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { VirtualCcidReader } from '@webtoki/simulator'
import { startPcscd, type VirtualUsbBus } from '@webtoki/simulator/node'

/** One program of this repository. */
export interface JudgeSource {
  /** Path of the C file, from this package's folder. */
  readonly file: string
  /** Flags for gcc. */
  readonly flags: readonly string[]
  /** Files without which it cannot be built or run. */
  readonly needs: readonly string[]
  /** What it is called with. */
  readonly args?: readonly string[]
}

/** Sends a line and resolves to the next one that comes; an empty line only waits. */
export type Ask = (line: string) => Promise<string>

/** Runs it beside Debian's pcscd in a mount namespace of their own; undefined where something is missing. */
export async function withJudge<T>(
  { file, flags, needs, args = [] }: JudgeSource,
  bus: VirtualUsbBus,
  reader: VirtualCcidReader,
  work: (ask: Ask) => Promise<T>,
): Promise<T | undefined> {
  const needed = ['/usr/sbin/pcscd', '/usr/bin/gcc', ...needs]
  if (process.getuid?.() !== 0 || !needed.every((each) => existsSync(each))) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'webtoki-bench-'))
  const program = join(folder, 'judge')
  execFileSync('gcc', [
    '-O2',
    '-Wall',
    '-o',
    program,
    fileURLToPath(new URL(`../${file}`, import.meta.url)),
    ...flags,
  ])
  const daemon = await startPcscd({ bus })
  try {
    for (let tries = 0; tries < 500 && !bus.isClaimed(reader, 0); tries++)
      await new Promise((resolve) => setTimeout(resolve, 10))
    const inside = daemon.inside(program, ...args)
    const child = spawn(inside.program, inside.args, { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const result = await work(async (line) => {
      if (line !== '') child.stdin.write(`${line}\n`)
      const { value } = await lines.next()
      if (value === undefined) throw new Error('The judge’s program ended before it was done.')
      return value
    })
    child.stdin.end()
    return result
  } finally {
    await daemon.end()
    rmSync(folder, { recursive: true, force: true })
  }
}
