// Shared by the scripts: starts programs, finds pnpm, lists the packages and prints the final count. Imports only Node's
// own modules, because the scripts run before anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync, readdirSync, statSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** Lists the packages in packages/ with their folder, path and manifest. */
export function packages() {
  return readdirSync(join(root, 'packages'))
    .filter((folder) => statSync(join(root, 'packages', folder, 'package.json'), { throwIfNoEntry: false }))
    .map((folder) => ({
      folder,
      path: join(root, 'packages', folder),
      manifest: readJson(join(root, 'packages', folder, 'package.json')),
    }))
}

/** Returns the path of a program on the PATH, or undefined. Not every system has `which` or `command -v`. */
export function find(program) {
  const extensions = process.platform === 'win32' ? ['.cmd', '.exe', ''] : ['']
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const extension of extensions) {
      const path = join(folder, program + extension)
      try {
        accessSync(path, constants.X_OK)
        if (statSync(path).isFile()) return path
      } catch {
        // The program is not in this folder.
      }
    }
  }
  return undefined
}

/** This script received a signal while it ran a program. The program received the signal too, and has ended. */
export class InterruptedError extends Error {
  constructor(signal) {
    super(`interrupted by ${signal}`)
    this.name = 'InterruptedError'
  }
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a program with this script's output streams. Its stdin is closed, because nothing here may wait for a person.
 * Resolves to the exit code, or to 127 if the program cannot be started.
 *
 * Forwards SIGINT, SIGTERM and SIGHUP and waits for the program to end. Otherwise a signal to this script alone would leave
 * the program running, such as a server that keeps its port. Rejects with InterruptedError after a signal, unless the
 * program ends with 0.
 */
export function run(program, args, { cwd = root, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
      shell: process.platform === 'win32',
    })
    let received
    const forward = (signal) => {
      received = signal
      child.kill(signal)
    }
    for (const signal of signals) process.on(signal, forward)
    const finish = (code) => {
      for (const signal of signals) process.off(signal, forward)
      if (received !== undefined && code !== 0) reject(new InterruptedError(received))
      else resolve(code)
    }
    child.on('error', () => finish(127))
    child.on('close', (code) => finish(code ?? 1))
  })
}

/** Runs a program and returns its exit code, its stdout as `output`, and stdout, stderr and a start error as `transcript`. */
export function ask(program, args, { cwd = root, env = {}, timeoutMs = 10 * 60_000 } = {}) {
  const result = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    maxBuffer: 64 * 1024 * 1024,
    shell: process.platform === 'win32',
  })
  const transcript = [result.stdout, result.stderr, result.error?.message].filter(Boolean).join('\n')
  return { code: result.status ?? 1, output: result.stdout ?? '', transcript }
}

/** Returns the path of a program that a dependency installs. */
export const installed = (name) => join(root, 'node_modules', '.bin', name)

let pnpmCommand
/**
 * Returns the command of pnpm in the version that package.json names: the installed pnpm if it has that version, otherwise
 * `npm exec`, which downloads it. Nothing is installed globally.
 */
export function pnpm() {
  if (pnpmCommand) return pnpmCommand
  const required = readJson(join(root, 'package.json')).packageManager
  // Runs outside the project, because inside it pnpm reports the version of package.json, not its own.
  const version = find('pnpm') && ask('pnpm', ['--version'], { cwd: dirname(root) }).output.trim()
  pnpmCommand =
    `pnpm@${version}` === required
      ? ['pnpm']
      : ['npm', 'exec', '--yes', `--package=${required}`, '--', 'pnpm']
  return pnpmCommand
}

/** Prints the last line of every script that counts, in the form that .ci/run reads, and sets the exit code. */
export function conclude({ passed, failed, skipped = 0 }) {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = failed > 0 ? 1 : 0
}
