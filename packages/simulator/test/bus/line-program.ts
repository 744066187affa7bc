/** A judge's program: compiled from C beside the tests, told what to do line by line, answering line by line. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { cacheFolder } from '../../src/node/index.ts'

/** Longer than the C programs wait themselves (10 s), so that their own word comes first. */
const maxWaitMs = 40_000

/** Why these programs cannot run here, or undefined when nothing is missing. With CI=true a lack is an error. */
export function whatIsMissing(
  programs: readonly string[],
  libraries: readonly string[] = [],
): string | undefined {
  const asks = [
    ...programs.map((name) => ['sh', ['-c', `command -v ${name}`], name] as const),
    ...libraries.map((name) => ['pkg-config', ['--exists', name], `the headers of ${name}`] as const),
  ]
  for (const [program, parts, name] of asks) {
    try {
      execFileSync(program, parts, { stdio: 'ignore' })
    } catch {
      if (process.env['CI'] === 'true') throw new Error(`${name} is missing, and CI must not skip this test.`)
      return `${name} is missing`
    }
  }
  return undefined
}

/** Compiles one C file once for each state it is in, with a library that pkg-config knows. */
export async function compile(source: string, library: string): Promise<string> {
  const flags = execFileSync('pkg-config', ['--cflags', '--libs', library], { encoding: 'utf8' })
  return await build(source, library, flags.trim().split(/\s+/))
}

/** The same with nothing but libc. */
export async function compileAlone(source: string): Promise<string> {
  return await build(source, 'alone', [])
}

async function build(source: string, name: string, flags: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const program = join(cacheFolder(), `${name}-${hash}`)
  if (existsSync(program)) return program
  mkdirSync(cacheFolder(), { recursive: true })
  // Renamed when whole: several test processes may compile at once, and none may run what another still writes.
  const unfinished = `${program}.${process.pid}`
  await promisify(execFile)('gcc', ['-Wall', '-o', unfinished, source, ...flags, '-lpthread'])
  renameSync(unfinished, program)
  return program
}

/** A running program; its lines are kept by their first word until they are asked for. */
export class LineProgram {
  readonly #child: ChildProcess
  readonly #lines = new Map<string, string[]>()
  #told: () => void = () => {}

  constructor(program: string, parts: readonly string[], environment: Readonly<Record<string, string>>) {
    this.#child = spawn(program, parts, {
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const [name = '', ...rest] = line.split(' ')
      this.#lines.set(name, [...(this.#lines.get(name) ?? []), rest.join(' ').trim()])
      this.#told()
    })
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** The next line that begins with the word, without it. */
  async next(name: string): Promise<string> {
    for (;;) {
      const line = this.#lines.get(name)?.shift()
      if (line !== undefined) return line
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`No line "${name}" in ${maxWaitMs} ms.`)), maxWaitMs)
        this.#told = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async ask(line: string): Promise<string> {
    ;(this.#child.stdin as NodeJS.WritableStream).write(`${line}\n`)
    return await this.next('answer')
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}

/** Waits until something is so, looking again as events pass. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + maxWaitMs
  while (!isSo()) {
    if (Date.now() > endMs) throw new Error(`Not so in ${maxWaitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
