// Tests that a signal to a script, such as `npm run demo`, also ends the program that it runs. A supervisor, `timeout` or an
// editor sends the signal to the script alone.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

const command = pathToFileURL(join(import.meta.dirname, '..', 'command.mjs')).href

/**
 * Runs a program with `run` in a child process, and sends the signal to that process after the program has started. Resolves to
 * the output of both, which ends when both have ended.
 */
async function interrupt(signal: NodeJS.Signals, program: string): Promise<readonly string[]> {
  const script = `
    const { run } = await import(${JSON.stringify(command)})
    await run(process.execPath, ['--eval', ${JSON.stringify(program)}]).then(
      (code) => console.log('ended with', code),
      (error) => console.log(error.message),
    )`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const lines: string[] = []
  let pid: number | undefined
  onTestFinished(() => {
    if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL')
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (pid === undefined) {
      pid = Number(line)
      child.kill(signal)
      continue
    }
    lines.push(line)
  }
  await ended
  return lines
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const server = 'setInterval(() => {}, 1000); console.log(process.pid)'

it.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)(
  'a program that a script runs ends with the script at %s',
  async (signal) => {
    expect(await interrupt(signal, server)).toEqual([`interrupted by ${signal}`])
  },
)

it('a script succeeds if the server that it runs ends with 0 at SIGTERM', async () => {
  const closing = `process.on('SIGTERM', () => { console.log('closing'); process.exit(0) }); ${server}`
  expect(await interrupt('SIGTERM', closing)).toEqual(['closing', 'ended with 0'])
})
