// Whoever ends `npm run demo` by a signal to it alone (a supervisor, `timeout`, an editor) ends its server too.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

const command = pathToFileURL(join(import.meta.dirname, '..', 'command.mjs')).href

/**
 * Runs a program by `run`, and tells `run`'s own process to end as soon as the program is there. Gives what both said;
 * their output ends when both have ended.
 */
async function told(signal: NodeJS.Signals, program: string): Promise<readonly string[]> {
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

const stays = 'setInterval(() => {}, 1000); console.log(process.pid)'

it.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)(
  'a program that a script runs does not outlive the script that %s ends',
  async (signal) => {
    expect(await told(signal, stays)).toEqual([`interrupted by ${signal}`])
  },
)

it('a server that closes in order when it is told to is no failure', async () => {
  const closes = `process.on('SIGTERM', () => { console.log('closing'); process.exit(0) }); ${stays}`
  expect(await told('SIGTERM', closes)).toEqual(['closing', 'ended with 0'])
})
