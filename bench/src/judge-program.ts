/** Compiles and runs a C program that uses Debian's pcscd, and exchanges lines with it. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { VirtualCcidReader } from '@webtoki/simulator'
import { startPcscd, type VirtualUsbBus } from '@webtoki/simulator/node'

/** A C program of this repository. */
export interface JudgeSource {
  /** The path of the C file, relative to this package's folder. */
  readonly file: string
  /** Additional arguments of gcc. */
  readonly flags: readonly string[]
  /** The files that it needs to build or run. */
  readonly needs: readonly string[]
  /** The arguments of the program. */
  readonly args?: readonly string[]
}

/** Sends a line to the program and resolves to the next line of its output. An empty line is not sent. */
export type Exchange = (line: string) => Promise<string>

/**
 * Runs the program and Debian's pcscd in their own mount namespace. Resolves to the result of `work`, or to undefined if a
 * needed file is missing or the process does not run as root.
 */
export async function withJudge<T>(
  { file, flags, needs, args = [] }: JudgeSource,
  bus: VirtualUsbBus,
  reader: VirtualCcidReader,
  work: (exchange: Exchange) => Promise<T>,
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
      if (value === undefined) throw new Error(`${file} ended without printing the expected line.`)
      return value
    })
    child.stdin.end()
    return result
  } finally {
    await daemon.end()
    rmSync(folder, { recursive: true, force: true })
  }
}
