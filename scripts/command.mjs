// How the scripts start other programs, find pnpm, and say what came of it. Only Node's own modules: these run before
// anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync, readdirSync, statSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** The workspace's packages that others can install, by folder. */
export function packages() {
  return readdirSync(join(root, 'packages'))
    .filter((folder) => statSync(join(root, 'packages', folder, 'package.json'), { throwIfNoEntry: false }))
    .map((folder) => ({
      folder,
      path: join(root, 'packages', folder),
      manifest: readJson(join(root, 'packages', folder, 'package.json')),
    }))
}

/** Where a program is, or undefined. Asks the PATH ourselves: `which` and `command -v` are not everywhere. */
export function find(program) {
  const endings = process.platform === 'win32' ? ['.cmd', '.exe', ''] : ['']
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const ending of endings) {
      const path = join(folder, program + ending)
      try {
        accessSync(path, constants.X_OK)
        if (statSync(path).isFile()) return path
      } catch {
        // not here
      }
    }
  }
  return undefined
}

/** Somebody told this script to end while a program of its ran; the program was told too, and has ended. */
export class InterruptedError extends Error {
  constructor(signal) {
    super(`interrupted by ${signal}`)
    this.name = 'InterruptedError'
  }
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a program to its end, its output passing through. stdin is closed: nothing here may wait for a person.
 * Gives the exit code; a program that cannot be started counts as 127.
 *
 * Told to end, it passes that on and waits: a signal to this script alone would leave the program behind, a server with
 * its port. A program that answers with 0 has ended in order; else nothing may go on as if it had run.
 */
export function run(program, args, { cwd = root, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
      shell: process.platform === 'win32',
    })
    let told
    const passOn = (signal) => {
      told = signal
      child.kill(signal)
    }
    for (const signal of endings) process.on(signal, passOn)
    const over = (code) => {
      for (const signal of endings) process.off(signal, passOn)
      if (told !== undefined && code !== 0) reject(new InterruptedError(told))
      else resolve(code)
    }
    child.on('error', () => over(127))
    child.on('close', (code) => over(code ?? 1))
  })
}

/** Runs a program and keeps what it says. */
export function ask(program, args, { cwd = root, env = {}, timeoutMs = 10 * 60_000 } = {}) {
  const answer = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    maxBuffer: 64 * 1024 * 1024,
    shell: process.platform === 'win32',
  })
  const said = [answer.stdout, answer.stderr, answer.error?.message].filter(Boolean).join('\n')
  return { code: answer.status ?? 1, output: answer.stdout ?? '', said }
}

/** A program that came with the dependencies. */
export const installed = (name) => join(root, 'node_modules', '.bin', name)

let pnpmCommand
/**
 * The package manager in the version that the lockfile was written by: the machine's own if it is that one, else
 * npm fetches it for the one call. Nothing global is installed.
 */
export function pnpm() {
  if (pnpmCommand) return pnpmCommand
  const wanted = readJson(join(root, 'package.json')).packageManager
  // Asked outside the project: inside, pnpm would answer with the version it is going to fetch.
  const here = find('pnpm') && ask('pnpm', ['--version'], { cwd: dirname(root) }).output.trim()
  pnpmCommand =
    `pnpm@${here}` === wanted ? ['pnpm'] : ['npm', 'exec', '--yes', `--package=${wanted}`, '--', 'pnpm']
  return pnpmCommand
}

/** The last line of every script that counts: one form, so that a machine can read it. */
export function conclude({ passed, failed, skipped = 0 }) {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = failed > 0 ? 1 : 0
}
