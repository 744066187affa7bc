/** Tests the message of the demo's server if it cannot start. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const main = fileURLToPath(new URL('../../demo/dist/server/main.js', import.meta.url))

/** Starts the server, which must end with 1, and returns its standard error. */
function refusal(port: string): string {
  const { status, stderr } = spawnSync(process.execPath, [main], {
    encoding: 'utf8',
    env: { ...process.env, PORT: port },
    timeout: 30_000,
  })
  expect(status).toBe(1)
  return stderr
}

it('the demo’s server reports in one line that its port is in use, and what to do', async () => {
  const other = createServer().listen(0, 'localhost')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  expect(refusal(String(port))).toMatch(
    new RegExp(`^The demo cannot start: .*EADDRINUSE.*:${port}\\. Set PORT to another port.*\\n$`),
  )
  other.close()
})

it('the demo’s server reports in one line that PORT is not a number, and what to do', () => {
  expect(refusal('eighty')).toMatch(/^The demo cannot start: .*Set PORT to another port.*\n$/)
})
