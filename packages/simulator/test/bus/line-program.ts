/**
 * Compiles and runs small C programs for tests. A program reads one command per line and writes one response per line.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { cacheFolder } from '../../src/node/index.ts'

/** Longer than the time-outs of the C programs (10 s), so that their own errors come first. */
const maxWaitMs = 40_000

/**
 * Returns which of these programs and libraries is missing, as text, or undefined if none is. Throws Error if one is
 * missing and CI is 'true', so that CI never skips a test.
 */
export function whatIsMissing(
  programs: readonly string[],
  libraries: readonly string[] = [],
): string | undefined {
  const checks = [
    ...programs.map((name) => ['sh', ['-c', `command -v ${name}`], name] as const),
    ...libraries.map((name) => ['pkg-config', ['--exists', name], `the headers of ${name}`] as const),
  ]
  for (const [program, parts, name] of checks) {
    try {
      execFileSync(program, parts, { stdio: 'ignore' })
    } catch {
      if (process.env['CI'] === 'true')
        throw new Error(`${name} is missing, and CI must not skip this test. Install it.`)
      return `${name} is missing`
    }
  }
  return undefined
}

/**
 * Compiles a C file with a library that pkg-config knows, unless it is unchanged. Resolves to the path of the program.
 */
export async function compile(source: string, library: string): Promise<string> {
  const flags = execFileSync('pkg-config', ['--cflags', '--libs', library], { encoding: 'utf8' })
  return await build(source, library, flags.trim().split(/\s+/))
}

/** Compiles a C file that needs only libc. */
export async function compileAlone(source: string): Promise<string> {
  return await build(source, 'alone', [])
}

async function build(source: string, name: string, flags: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const program = join(cacheFolder(), `${name}-${hash}`)
  if (existsSync(program)) return program
  mkdirSync(cacheFolder(), { recursive: true })
  // The file is renamed when it is complete, because several test processes may compile and run it at the same time.
  const unfinished = `${program}.${process.pid}`
  await promisify(execFile)('gcc', ['-Wall', '-o', unfinished, source, ...flags, '-lpthread'])
  renameSync(unfinished, program)
  return program
}

/** A running program. Its output lines are kept by their first word until a test reads them. */
export class LineProgram {
  readonly #child: ChildProcess
  readonly #lines = new Map<string, string[]>()
  #lineArrived: () => void = () => {}

  constructor(program: string, parts: readonly string[], environment: Readonly<Record<string, string>>) {
    this.#child = spawn(program, parts, {
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const [name = '', ...rest] = line.split(' ')
      this.#lines.set(name, [...(this.#lines.get(name) ?? []), rest.join(' ').trim()])
      this.#lineArrived()
    })
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** Resolves to the next line that begins with this word, without the word. Rejects after 40 s. */
  async next(name: string): Promise<string> {
    for (;;) {
      const line = this.#lines.get(name)?.shift()
      if (line !== undefined) return line
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`The program wrote no line "${name}" in ${maxWaitMs} ms.`)),
          maxWaitMs,
        )
        this.#lineArrived = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Sends a command and resolves to the rest of the next line that begins with `answer`. */
  async ask(line: string): Promise<string> {
    ;(this.#child.stdin as NodeJS.WritableStream).write(`${line}\n`)
    return await this.next('answer')
  }

  /** Kills the program and resolves when it has ended. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}

/** Waits until a condition is true. Rejects after 40 s with the description `what`. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = Date.now() + maxWaitMs
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`Still not true after ${maxWaitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
